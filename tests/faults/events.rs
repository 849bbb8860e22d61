//! What the selector reports, and what must not be made of it.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use crate::common::*;

/// The RealPython multi-connection server asks for writability all the time and so keeps a core busy for each idle
/// client. Nothing may happen here in a third of a second of nothing.
#[test]
fn idle_clients_cause_no_wake_ups() {
    let server = Embedded::start();
    let clients: Vec<_> = (0..50).map(|_| connect(server.address)).collect();
    for client in &clients {
        ping(client, b"hello");
    }
    let before = server.stats().polls;
    thread::sleep(Duration::from_millis(300));
    let polls = server.stats().polls - before;
    // On the poll(2) selector the last ping's `WouldBlock` re-arms a writability that is reported once.
    assert!(polls <= 1, "{polls} polls while nothing happened");
}

/// The same with output pending and input waiting: the readiness that is not waited for must not wake anybody either.
/// Where a `WouldBlock` re-arms both directions (poll(2), Windows), trying the wrong one would spin.
#[test]
fn a_stalled_client_with_more_to_say_causes_no_wake_ups() {
    let server = Embedded::start();
    let client = connect_narrow(server.address);
    send_until_stopped(&client, &vec![7; 256 << 20], Duration::from_millis(300));
    assert!(server.stats().pending_bytes > 0);
    let before = server.stats().polls;
    thread::sleep(Duration::from_millis(300));
    let polls = server.stats().polls - before;
    // The peer's kernel probes the closed window now and then, and a probe may be an event.
    assert!(polls <= 10, "{polls} polls while nothing could be done");
}

/// Fault 30. TCP's reads stop in front of an urgent byte however much follows it, so a short read is no proof that the
/// queue is drained; and without `SO_OOBINLINE` the byte would be missing from the stream.
#[test]
fn an_urgent_byte_keeps_its_place_and_holds_up_nothing() {
    let bound = Bound::new(&config());
    let client = connect(bound.address);
    (&client).write_all(b"before ").unwrap();
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    (&client).write_all(b" after").unwrap();
    // Only now does the server run, so it finds all three at once, and no further edge will come.
    let server = bound.run();
    let mut echo = [0; 14];
    (&client).read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"before ! after");
    let before = server.stats().polls;
    thread::sleep(Duration::from_millis(100));
    let polls = server.stats().polls - before;
    assert!(polls <= 1, "{polls} polls after the urgent byte");
    ping(&client, b"and on");
}

/// The same on a Unix-domain socket, whose accepted streams do not inherit the option.
#[test]
fn an_urgent_byte_keeps_its_place_on_a_unix_socket_too() {
    use rustix::net::{SendFlags, send};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let mut command = mio_echo();
    command.arg("serve").arg(format!("unix:{}", path.display()));
    let _server = Process::start(command, 1);
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"before ").unwrap();
    send(&client, b"!", SendFlags::OOB).unwrap();
    client.write_all(b" after").unwrap();
    let mut echo = [0; 14];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"before ! after");
}

/// tokio #5866, mio #1612, and frevib's epoll echo (one `recv` per edge, then silence): messages of every size around
/// the read buffer's, one after the other on one connection.
#[test]
fn messages_around_the_size_of_a_read_do_not_hang() {
    let server = Embedded::with(&mio_echo::Config {
        read_buffer: 1024,
        ..config()
    });
    let client = connect(server.address);
    for length in [1, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 70_000, 1] {
        ping(&client, &pattern(length));
    }
}

/// The kernel buffers of the poll's own kind: a whole pipeline of small messages.
#[test]
fn a_pipeline_of_small_messages_is_echoed_in_order() {
    let server = Embedded::start();
    let client = connect(server.address);
    let sent = pattern(1 << 20);
    let mut sender = client.try_clone().unwrap();
    let bytes = sent.clone();
    let sending = thread::spawn(move || {
        for message in bytes.chunks(37) {
            sender.write_all(message).unwrap();
        }
    });
    let mut echo = vec![0; sent.len()];
    (&client).read_exact(&mut echo).unwrap();
    sending.join().unwrap();
    assert_same(&echo, &sent);
}

/// Fault 19, second half; and mio #494, quiche #1798, where `EINTR` ends the poll: a storm of signals neither ends the loop nor moves its timers.
#[test]
fn a_storm_of_signals_ends_nothing_and_delays_no_timer() {
    let mut server = Process::serve(&["--idle-timeout", "300ms", "--json"]);
    let client = connect(server.address());
    let idle = connect(server.address());
    // `idle` closes after 300 ms, in the middle of the storm.
    let storm = std::time::Instant::now();
    let mut signals = 0;
    while storm.elapsed() < Duration::from_secs(1) {
        server.signal(Signal::USR1);
        ping(&client, b"through the storm");
        signals += 1;
    }
    assert_eq!(read_to_end(&idle), b"");
    assert!(server.is_running());
    drop(client);
    server.until_it_says("accepted");
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["idle"], 1, "{signals} signals: {stats}");
}

/// Several listeners on one loop, of both families and both kinds.
#[test]
fn one_loop_serves_every_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let mut command = mio_echo();
    command.args(["serve", "127.0.0.1:auto", "[::1]:auto"]);
    command.arg(format!("unix:{}", path.display()));
    let server = Process::start(command, 3);
    for address in &server.addresses[..2] {
        ping(&connect(address.parse().unwrap()), address.as_bytes());
    }
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.write_all(b"unix").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut echo = String::new();
    client.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "unix");
    server.signal(Signal::TERM);
    assert!(server.wait().status.success());
    assert!(!path.exists(), "the socket file goes with the server");
}

/// A loop that polls without sleeping has to come to an end with it: an idle server costs nothing.
#[test]
fn a_busy_poll_sleeps_when_nobody_says_more() {
    let server = Embedded::with(&mio_echo::Config {
        busy_poll: Some(Duration::from_millis(200)),
        ..config()
    });
    let client = connect(server.address);
    ping(&client, b"and then?");
    server.until("polls without an event", |stats| {
        stats.polls > stats.events + 20
    });
    eventually("it to sleep", || {
        let before = server.stats().polls;
        thread::sleep(Duration::from_millis(50));
        let polls = server.stats().polls - before;
        if polls == 0 { Ok(()) } else { Err(polls) }
    });
    ping(&client, b"awake again");
}

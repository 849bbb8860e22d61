//! Events of the selector: which ones the server may wake up for, and what it may conclude from them.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use crate::common::*;

/// RealPython's multi-connection server is always registered for writable events, so one idle client keeps a core
/// busy. Here an idle server must not poll for 0.3 s.
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
    // On the poll(2) selector the `WouldBlock` after the last ping re-arms writable events, and one is reported.
    assert!(polls <= 1, "{polls} polls although no client sent anything");
}

/// The same with a pending write and unread input: input must not wake up a server that waits until it can write.
/// Where a `WouldBlock` re-arms both directions (poll(2), Windows), a read in this state would make the loop spin.
#[test]
fn a_stalled_client_with_unread_input_causes_no_wake_ups() {
    let server = Embedded::start();
    let client = connect_narrow(server.address);
    send_until_stopped(&client, &vec![7; 256 << 20], Duration::from_millis(300));
    assert!(server.stats().pending_bytes > 0);
    let before = server.stats().polls;
    thread::sleep(Duration::from_millis(300));
    let polls = server.stats().polls - before;
    // Sometimes the kernel probes the closed window, and a probe may cause an event.
    assert!(
        polls <= 10,
        "{polls} polls although the server could do nothing"
    );
}

/// Fault 30. A TCP read stops before an urgent byte even if more bytes follow, so a short read does not mean that the
/// queue is empty. Without `SO_OOBINLINE` (socket(7)) the urgent byte would be missing from the stream.
#[test]
fn an_urgent_byte_keeps_its_place_and_holds_up_nothing() {
    let bound = Bound::new(&config());
    let client = connect(bound.address);
    (&client).write_all(b"before ").unwrap();
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    (&client).write_all(b" after").unwrap();
    // The server starts only now: one edge reports all bytes, and no further edge comes.
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

/// The same on a Unix-domain socket: its accepted streams do not inherit `SO_OOBINLINE` from the listener.
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

/// Messages whose size is near that of the read buffer, one after the other on one connection. They hang in tokio
/// #5866, in mio #1612, and in frevib's epoll echo, which calls `recv` only once for each edge.
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

/// The client sends 1 MiB in messages of 37 bytes without waiting for an echo.
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

/// Fault 19, second half: a storm of signals neither ends the loop nor delays its timers. In mio #494 and quiche
/// #1798 an `EINTR` from the poll ends the program.
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

/// Three listeners on one event loop: IPv4, IPv6 and a Unix-domain socket.
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
    assert!(!path.exists(), "the server must remove its socket file");
}

/// Busy polling must stop after its time, so that an idle server uses no processor time.
#[test]
fn busy_polling_stops_when_no_events_come() {
    let server = Embedded::with(&mio_echo::Config {
        busy_poll: Some(Duration::from_millis(200)),
        ..config()
    });
    let client = connect(server.address);
    ping(&client, b"and then?");
    server.until("polls without an event", |stats| {
        stats.polls > stats.events + 20
    });
    eventually("the server to sleep", || {
        let before = server.stats().polls;
        thread::sleep(Duration::from_millis(50));
        let polls = server.stats().polls - before;
        if polls == 0 { Ok(()) } else { Err(polls) }
    });
    ping(&client, b"awake again");
}

//! Signals, and draining: the shutdown that echoes all received bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::Config;
use rustix::process::Signal;

use crate::common::*;

/// Fault 21: SIGTERM or SIGINT without clients.
#[test]
fn sigterm_when_idle_ends_at_once_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Process::serve(&[]);
        let start = Instant::now();
        server.signal(signal);
        let ended = server.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(start.elapsed() < Duration::from_secs(1), "{ended:?}");
        assert!(
            ended.stderr.contains("served: "),
            "the log has no summary: {ended:?}"
        );
        assert_eq!(
            ended.stdout, "",
            "standard output must have no line after the address"
        );
    }
}

/// The same with idle clients that keep their connections open: they get the end of the stream, and the server does
/// not wait for them to close.
#[test]
fn sigterm_does_not_wait_for_idle_clients() {
    let server = Process::serve(&["--drain-timeout", "20s"]);
    let clients: Vec<_> = (0..10).map(|_| connect(server.address())).collect();
    for client in &clients {
        ping(client, b"hello");
    }
    let start = Instant::now();
    server.signal(Signal::TERM);
    for client in &clients {
        assert_eq!(read_to_end(client), b"");
    }
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

/// For a client that has sent nothing there is no echo that a reset could destroy. So the server skips the lingering
/// close, which takes a second of silence.
#[test]
fn a_shutdown_with_a_client_that_has_sent_nothing_ends_at_once() {
    let server = Embedded::start();
    let client = connect(server.address);
    server.until("the client", |stats| stats.open == 1);
    let start = Instant::now();
    let stats = server.stop();
    let took = start.elapsed();
    assert_eq!(read_to_end(&client), b"");
    assert_eq!(stats.closed.drained, 1, "{stats}");
    assert!(took < Duration::from_millis(900), "{took:?}");
}

/// Fault 22: a slow client reads its echo before the drain timeout.
#[test]
fn draining_writes_out_what_was_received() {
    let server = Embedded::with(&Config {
        drain_timeout: Duration::from_secs(20),
        ..config()
    });
    let client = connect_narrow(server.address);
    let bytes = pattern(32 << 20);
    let sent = send_until_stopped(&client, &bytes, Duration::from_millis(300));
    // The server's kernel has received the bytes that are no longer in the client's send queue: it acknowledged them.
    let received_before = sent - kernel_sockets(client.local_addr().unwrap().port())[0].send_queue;
    let read_before = server.stats().bytes_in as usize;
    assert!(
        read_before < received_before,
        "the server has no unread input: {sent} bytes sent, {read_before} read"
    );
    server.handle.shutdown();
    eventually("the listener to close", || {
        match TcpStream::connect(server.address) {
            Err(_) => Ok(()),
            Ok(_) => Err("a new client could connect"),
        }
    });
    // All these bytes come back, and then the end of the stream, although the client has not shut down writing.
    let mut echo = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = (&client).read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        echo.extend_from_slice(&buffer[..n]);
    }
    let back = echo.len();
    assert_same(&echo, &bytes[..back]);
    assert!(
        back >= received_before,
        "{received_before} bytes had been received, and {back} came back"
    );
    let stats = server.stats();
    assert_eq!(back as u64, stats.bytes_out, "{stats}");
    drop(client);
    let stats = server.stop();
    // Connections that tested above whether the listener is closed may have been accepted from the backlog.
    assert_eq!(
        stats.closed.drained + stats.closed.reset,
        stats.accepted,
        "{stats}"
    );
}

/// Fault 22, second half: for a client that never reads, the server waits until the drain timeout and no longer.
#[test]
fn draining_ends_at_the_deadline() {
    let server = Process::serve(&["--drain-timeout", "500ms", "--json"]);
    let client = connect_narrow(server.address());
    send_until_stopped(&client, &vec![7; 256 << 20], Duration::from_millis(300));
    let start = Instant::now();
    let stats = server.stop_and_count();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(450),
        "it did not wait for the drain timeout: {took:?}"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(stats["closed"]["abandoned"], 1, "{stats}");
    assert_eq!(stats["pending_bytes"], 0, "{stats}");
}

/// Fault 36: at SIGTERM the backlog holds established connections whose clients have sent bytes.
#[test]
fn the_backlog_is_echoed_before_the_end() {
    let server = Process::serve(&["--json", "--drain-timeout", "20s"]);
    let (accepted, clients) = in_the_backlog(&server, || connect(server.address()));
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(
            read_to_end(client),
            b"sent before SIGTERM",
            "client {n} of {}",
            clients.len()
        );
    }
    drop((accepted, clients));
    let stats = server.counts();
    assert_eq!(
        (&stats["accepted"], &stats["left_in_backlog"]),
        (&21.into(), &0.into()),
        "{stats}"
    );
}

/// The same on a Unix-domain socket.
#[test]
fn the_backlog_of_a_unix_socket_is_echoed_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let mut command = mio_echo();
    command
        .arg("serve")
        .arg(format!("unix:{}", path.display()))
        .arg("--json");
    let server = Process::start(command, 1);
    let (accepted, clients) = in_the_backlog(&server, || {
        let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    });
    for (n, mut client) in clients.iter().enumerate() {
        let mut echo = Vec::new();
        let end = client.read_to_end(&mut echo);
        assert!(
            end.is_ok() && echo == b"sent before SIGTERM",
            "client {n}: {end:?}, {}",
            echo.escape_ascii()
        );
    }
    drop((accepted, clients));
    assert_eq!(server.counts()["accepted"], 21);
}

/// The server first closes clients that have sent nothing, so that the cap leaves room for the clients in the backlog.
#[test]
fn a_shutdown_at_the_cap_serves_the_backlog_instead_of_silent_clients() {
    let server = Process::serve(&["--max-connections", "21", "--json"]);
    let silent: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    let (accepted, clients) = in_the_backlog(&server, || connect(server.address()));
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(read_to_end(client), b"sent before SIGTERM", "client {n}");
    }
    drop((accepted, clients, silent));
    let stats = server.counts();
    assert_eq!(
        (&stats["accepted"], &stats["rejected"]),
        (&41.into(), &0.into()),
        "{stats}"
    );
}

/// Without free descriptors the server cannot accept the backlog. It counts those connections and logs their number.
#[test]
fn a_backlog_that_cannot_be_accepted_is_counted_and_logged() {
    let server = Process::serve(&["--json"]);
    server.leave_room_for(6);
    let (accepted, clients) = in_the_backlog(&server, || connect(server.address()));
    let served = clients.iter().filter(|client| {
        let (mut client, mut echo) = (*client, Vec::new());
        client.read_to_end(&mut echo).is_ok() && echo == b"sent before SIGTERM"
    });
    assert_eq!(served.count(), 5, "{}", server.stderr());
    drop((accepted, clients));
    let said = server.stderr.clone();
    let stats = server.counts();
    assert_eq!(stats["left_in_backlog"], 15, "{stats}");
    let said = said.lock().unwrap();
    assert!(said.contains("without an echo: 15"), "{said}");
}

/// Stops the server (SIGSTOP), connects 20 clients that send, sends SIGTERM and continues the server (SIGCONT).
/// Returns a client that was accepted before the stop, and the 20 clients.
fn in_the_backlog<C: Read + Write>(server: &Process, connect: impl Fn() -> C) -> (C, Vec<C>) {
    let mut accepted = connect();
    accepted.write_all(b"!").unwrap();
    accepted.read_exact(&mut [0]).unwrap();
    server.signal(Signal::STOP);
    eventually("the process to stop", || match server.state() {
        'T' => Ok(()),
        state => Err(state),
    });
    let mut clients: Vec<_> = (0..20).map(|_| connect()).collect();
    for client in &mut clients {
        client.write_all(b"sent before SIGTERM").unwrap();
    }
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    (accepted, clients)
}

/// Fault 37: the kernel holds megabytes of the echo for a slow reader. The client sends nothing for longer than a
/// lingering close waits, and then one more byte.
#[test]
fn a_slow_reader_that_still_sends_at_shutdown_gets_everything() {
    let server = Process::serve(&["--json", "--drain-timeout", "20s"]);
    let mut client = connect(server.address());
    let bytes = pattern(2_800_000);
    client.write_all(&bytes).unwrap();
    let port = server.address().port();
    eventually("the kernel to hold the whole echo", || {
        let held = kernel_sockets(port);
        let is_echoed = held.iter().all(|socket| socket.receive_queue == 0);
        is_echoed.then_some(()).ok_or(held)
    });
    server.signal(Signal::TERM);
    server.until_it_says("shutting down");
    thread::sleep(Duration::from_millis(1500));
    client.write_all(b"!").unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut echo = Vec::new();
    let end = client.read_to_end(&mut echo);
    assert!(end.is_ok(), "after {} bytes: {end:?}", echo.len());
    // The byte arrived after the final echo, so the server does not echo it.
    assert_same(&echo, &bytes);
    drop(client);
    let stats = server.counts();
    assert_eq!(stats["closed"]["drained"], 1, "{stats}");
}

/// Fault 23: a second SIGTERM while the server drains.
#[test]
fn a_second_signal_ends_at_once_and_not_with_success() {
    let server = Process::serve(&["--drain-timeout", "1h"]);
    let client = connect_narrow(server.address());
    send_until_stopped(&client, &vec![7; 256 << 20], Duration::from_millis(300));
    server.signal(Signal::TERM);
    server.until_it_says("shutting down");
    server.signal(Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(128 + 15), "{ended:?}");
}

/// Fault 24. A close with unread input makes the kernel reset the connection. The reset overtakes the end of the
/// echo, and the client loses bytes that the server has written. A test of turmoil shows the same.
#[test]
fn shutdown_while_a_client_still_sends_loses_no_echo() {
    let server = Embedded::start();
    let client = connect(server.address);
    let bytes = pattern(8 << 20);
    let mut sender = client.try_clone().unwrap();
    let endless = bytes.clone();
    let sending = thread::spawn(move || {
        // The server closes only after the client has read the end of the stream, so the writes succeed until then.
        while sender.write_all(&endless).is_ok() {}
    });
    server.until("the transfer", |stats| stats.bytes_out > 1 << 20);
    server.handle.shutdown();
    let echo = read_to_end(&client);
    let cycle: Vec<u8> = bytes.iter().copied().cycle().take(echo.len()).collect();
    assert_same(&echo, &cycle);
    let stats = server.stats();
    assert_eq!(
        echo.len() as u64,
        stats.bytes_out,
        "the end of the echo is missing: {stats}"
    );
    client.shutdown(Shutdown::Both).unwrap();
    sending.join().unwrap();
    server.stop();
}

/// The shortest and the longest duration work for every timer.
#[test]
fn extreme_durations_are_accepted() {
    for extreme in [Duration::MAX, Duration::ZERO] {
        let server = Bound::new(&Config {
            idle_timeout: Some(extreme.max(Duration::from_secs(1))),
            stall_timeout: Some(extreme),
            drain_timeout: extreme,
            stats_every: Some(extreme),
            ..config()
        })
        .run();
        let client = connect(server.address);
        ping(&client, b"hello");
        drop(client);
        server.until("the close", |stats| stats.accepted == 1 && stats.open == 0);
        server.stop();
    }
}

/// A handle still works after its server has ended.
#[test]
fn a_handle_may_be_used_after_the_end() {
    let server = Embedded::start();
    let mut client = connect(server.address);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), b"hello");
    let handle = server.handle.clone();
    let last = server.stop();
    handle.shutdown();
    assert_eq!(handle.stats(), last);
}

//! Ends of connections: the end of the stream, a half-close, a reset.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use crate::common::*;

/// Fault 1. In muduo #130, libuv's documented example, rustls' mio example and RealPython's multi-connection server
/// the end of the stream drops the pending bytes.
#[test]
fn echoes_what_is_left_after_half_close() {
    let server = Embedded::start();
    let client = connect_narrow(server.address);
    let sent = pattern(4 << 20);
    let sending = send_and_finish(&client, sent.clone());
    server.until("output to be pending", |stats| stats.pending_bytes > 0);
    let echo = read_to_end(&client);
    sending.join().unwrap();
    assert_same(&echo, &sent);
    let stats = server.until("the close", |stats| stats.open == 0);
    assert_eq!(stats.closed.end_of_stream, 1, "{stats}");
}

/// miri #5106: the end of the stream arrives in the same event as the last bytes. A short read must not mean that the
/// queue is empty here: the end would never be read, because no further edge announces it.
#[test]
fn sees_the_end_that_came_with_the_last_bytes() {
    let bound = Bound::new(&config());
    let client = connect(bound.address);
    (&client).write_all(b"bye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // The server starts only now, so that one event reports both.
    let server = bound.run();
    assert_eq!(read_to_end(&client), b"bye");
    let stats = server.stop();
    assert_eq!(stats.closed.end_of_stream, 1, "{stats}");
}

/// Fault 2. In mio's tcp_server example, evio and tokio's echo example one peer's reset ends the process.
#[test]
fn reset_by_an_idle_peer_frees_its_slot_alone() {
    let server = Embedded::start();
    let other = connect(server.address);
    ping(&other, b"before");
    let client = connect(server.address);
    ping(&client, b"hello");
    reset(client);
    let stats = server.until("the reset", |stats| stats.closed.reset == 1);
    assert_eq!(stats.open, 1, "{stats}");
    ping(&other, b"after");
}

/// Fault 3: a reset while bytes are on their way in both directions.
#[test]
fn reset_in_mid_transfer_frees_its_slot_and_its_memory() {
    let server = Embedded::start();
    let other = connect(server.address);
    let client = connect_narrow(server.address);
    let mut sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || while sender.write_all(&[7; 65536]).is_ok() {});
    server.until("output to be pending", |stats| stats.pending_bytes > 0);
    ping(&other, b"meanwhile");
    // The reset needs the last handle of the socket. The shutdown ends the sender's thread, which drops its clone.
    client.shutdown(Shutdown::Both).unwrap();
    sending.join().unwrap();
    reset(client);
    let stats = server.until("the reset", |stats| stats.open == 1);
    assert_eq!(stats.closed.reset, 1, "{stats}");
    ping(&other, b"after");
    server.until("the pending write to be released", |stats| {
        stats.pending_bytes == 0
    });
}

/// Fault 4. The server starts after all clients are closed, so each connection was reset before accept(2).
#[test]
fn a_thousand_resets_before_accept_leave_an_empty_table() {
    let bound = Bound::new(&config());
    for _ in 0..1000 {
        let mut client = connect(bound.address);
        client.write_all(b"and away").unwrap();
        reset(client);
    }
    let server = bound.run();
    let aborted = |stats: &mio_echo::Stats| stats.closed.reset + stats.accept_errors.aborted;
    let stats = server.until("the table to be empty", |stats| {
        stats.open == 0 && aborted(stats) == 1000
    });
    assert_eq!(stats.closed_in_all(), stats.accepted, "{stats}");
    ping(&connect(server.address), b"still here");
}

/// Fault 25. A write to a closed Unix-domain peer fails with `EPIPE` and raises SIGPIPE (write(2)). The server must
/// see the error, and must not get the signal.
#[test]
fn a_write_to_a_peer_that_is_gone_is_one_close_and_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("echo.sock").display());
    let mut command = mio_echo();
    command.args(["serve", "127.0.0.1:auto", &path, "--json", "-v"]);
    let server = Process::start(command, 2);
    let mut client = UnixStream::connect(&path["unix:".len()..]).unwrap();
    client.set_nonblocking(true).unwrap();
    // Writes until the kernel has accepted nothing for 100 ms, and reads nothing: the server has a pending write when
    // the client closes.
    let mut still = 0;
    while still < 100 {
        still = match client.write(&[7; 65536]) {
            Ok(_) => 0,
            Err(_) => {
                thread::sleep(std::time::Duration::from_millis(1));
                still + 1
            }
        };
    }
    drop(client);
    ping(&connect(server.address()), b"still here");
    eventually("two closes", || {
        let log = server.stderr();
        let closes = log.matches("closed after").count();
        if closes == 2 { Ok(()) } else { Err(log) }
    });
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["reset"], 1, "{stats}");
    assert_eq!(stats["closed"]["end_of_stream"], 1, "{stats}");
}

/// A client that shuts down writing and keeps reading still gets its whole echo.
#[test]
fn many_clients_that_half_close_at_once_all_get_their_echo() {
    let server = Embedded::start();
    let clients: Vec<_> = (0..100)
        .map(|n: u32| {
            let client = connect(server.address);
            let message = n.to_string().into_bytes();
            (&client).write_all(&message).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            (client, message)
        })
        .collect();
    for (client, message) in clients {
        assert_eq!(read_to_end(&client), message);
    }
    let stats = server.stop();
    assert_eq!(stats.closed.end_of_stream, 100, "{stats}");
}

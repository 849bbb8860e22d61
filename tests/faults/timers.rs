//! Timers: connections that make progress stay open, and the kernel frees the queues of connections that do not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::{Config, Stats};
use rustix::process::Signal;

use crate::common::*;

/// Fault 33: a debugger or a suspended machine stops the server for longer than its idle timeout, and its clients send
/// meanwhile. When the event loop continues, the timers have expired before it has read any socket.
fn clients_that_send_to_a_stopped_server_are_served(clients: usize, args: &[&str]) {
    // 4 s: on a busy machine the last of 1,500 clients gets its first echo after more than a second.
    let server = Process::serve(&[&["--idle-timeout", "4s", "--json"], args].concat());
    let clients: Vec<_> = (0..clients).map(|_| connect(server.address())).collect();
    for client in &clients {
        ping(client, b"hello");
    }
    server.stop_for(Duration::from_secs(5), || {
        for mut client in &clients {
            client.write_all(b"in time").unwrap();
        }
    });
    let served = clients.iter().filter(|client| {
        let (mut client, mut echo) = (*client, [0; 7]);
        client.read_exact(&mut echo).is_ok() && echo == *b"in time"
    });
    let served = served.count();
    assert_eq!(served, clients.len(), "{}", server.stop_and_count());
}

#[test]
fn a_stop_longer_than_the_idle_timeout_closes_no_client_that_has_sent() {
    clients_that_send_to_a_stopped_server_are_served(300, &[]);
}

/// A poll returns at most 1,024 events.
#[test]
fn a_long_stop_with_more_events_than_one_poll_returns_closes_no_client_that_has_sent() {
    clients_that_send_to_a_stopped_server_are_served(1500, &[]);
}

#[test]
fn a_long_stop_with_busy_polling_closes_no_client_that_has_sent() {
    clients_that_send_to_a_stopped_server_are_served(300, &["--busy-poll", "50us"]);
}

/// Fault 33 with a pending write: while the server is stopped the client reads all bytes that the kernel has.
#[test]
fn a_stop_longer_than_the_stall_timeout_closes_no_client_that_has_read() {
    let server = Process::serve(&["--stall-timeout", "1s", "--json"]);
    let client = connect(server.address());
    let bytes = pattern(10 << 20);
    // Until neither the client nor the server can write.
    let sent = send_until_stopped(&client, &bytes, Duration::from_millis(50));
    let mut echo = Vec::new();
    server.stop_for(Duration::from_millis(1500), || {
        read_what_is_there(&client, &mut echo);
    });
    let sending = send_and_finish(&client, bytes[sent..].to_vec());
    let end = (&client).read_to_end(&mut echo);
    assert!(end.is_ok(), "{end:?}: {}", server.stop_and_count());
    sending.join().unwrap();
    assert_same(&echo, &bytes);
}

/// Faults 33 and 34: the kernel's own timer (`TCP_USER_TIMEOUT`) ignores acknowledgements while the window is small.
/// The event loop extends that timer for a client that has read something, by more than a stop of many stall
/// timeouts.
///
/// `poll(2)` does not report the last acknowledgement, so there the kernel alone ends a half-closed connection.
#[cfg_attr(
    mio_unsupported_force_poll_poll,
    ignore = "the last acknowledgement is not reported"
)]
#[test]
fn a_long_stop_resets_no_slow_reader_with_a_small_buffer() {
    let server = Process::serve(&["--stall-timeout", "1s", "--json"]);
    let reader = SlowReader {
        name: "small buffer, 10 KB a second",
        client: connect_narrow(server.address()),
        step: 1000,
        pause: Duration::from_millis(100),
    };
    let bytes = pattern(300_000);
    (&reader.client).write_all(&bytes).unwrap();
    reader.client.shutdown(Shutdown::Write).unwrap();
    let mut echo = Vec::new();
    // By then the event loop has checked the connection twice, and it was reading.
    let end = reader.read_for(Duration::from_millis(3500), &mut echo);
    assert_eq!(end, Ok(()), "before the stop");
    server.stop_for(Duration::from_secs(6), || {
        let end = reader.read_for(Duration::from_secs(6), &mut echo);
        assert_eq!(end, Ok(()), "during the stop, after {} bytes", echo.len());
    });
    let end = (&reader.client).read_to_end(&mut echo);
    assert!(end.is_ok(), "{end:?}: {}", server.stop_and_count());
    assert_same(&echo, &bytes);
}

/// The client sends nothing more, and its kernel acknowledges the last bytes of its echo shortly before the idle
/// timeout.
#[test]
fn a_client_that_has_just_read_its_echo_is_not_idle() {
    for stall in ["off", "1s", "1m"] {
        let server = Process::serve(&["--idle-timeout", "2s", "--stall-timeout", stall, "--json"]);
        let client = connect_narrow(server.address());
        let bytes = pattern(100_000);
        (&client).write_all(&bytes).unwrap();
        thread::sleep(Duration::from_millis(1500));
        let mut echo = vec![0; bytes.len()];
        (&client).read_exact(&mut echo).unwrap();
        let read_all = Instant::now();
        assert_same(&echo, &bytes);
        assert_eq!(read_to_end(&client), b"");
        let idle = read_all.elapsed();
        let expected = Duration::from_millis(1500)..Duration::from_secs(5);
        let stats = server.stop_and_count();
        assert!(expected.contains(&idle), "{stall}: {idle:?}: {stats}");
        assert_eq!(stats["closed"]["idle"], 1, "{stall}: {stats}");
    }
}

/// Without a stall timeout only the idle timeout closes clients that read nothing.
///
/// `poll(2)` does not report the last acknowledgement, so there the kernel alone ends a half-closed connection.
#[cfg_attr(
    mio_unsupported_force_poll_poll,
    ignore = "the last acknowledgement is not reported"
)]
#[test]
fn without_a_stall_timeout_clients_that_read_nothing_are_idle() {
    let server = Embedded::with(&Config {
        stall_timeout: None,
        idle_timeout: Some(Duration::from_secs(1)),
        ..config()
    });
    let [pending, half_closed] = [(); 2].map(|()| connect_narrow(server.address));
    send_until_stopped(&pending, &vec![7; 64 << 20], Duration::from_millis(100));
    (&half_closed).write_all(&pattern(100_000)).unwrap();
    half_closed.shutdown(Shutdown::Write).unwrap();
    let start = Instant::now();
    let stats = server.until("both to be closed", |stats| stats.open == 0);
    assert_eq!(stats.closed.idle, 2, "{stats}");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
}

/// Reads until no byte has come for 0.1 s.
fn read_what_is_there(mut client: &TcpStream, into: &mut Vec<u8>) {
    let still = Some(Duration::from_millis(100));
    client.set_read_timeout(still).unwrap();
    let end = client.read_to_end(into).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::WouldBlock, "{end}");
    client.set_read_timeout(Some(LIMIT)).unwrap();
}

/// A client that reads `step` bytes every `pause`, while its echo fills all queues.
struct SlowReader {
    name: &'static str,
    client: TcpStream,
    step: usize,
    pause: Duration,
}

impl SlowReader {
    /// Reads for this time.
    ///
    /// # Errors
    /// The error of a read before that, and when it came.
    fn read_for(&self, time: Duration, echo: &mut Vec<u8>) -> Result<(), (Duration, ErrorKind)> {
        let start = Instant::now();
        let mut piece = vec![0; self.step];
        while start.elapsed() < time {
            match (&self.client).read(&mut piece) {
                Ok(n) => echo.extend_from_slice(&piece[..n]),
                Err(error) => return Err((start.elapsed(), error.kind())),
            }
            thread::sleep(self.pause);
        }
        Ok(())
    }
}

/// Fault 34: each client's kernel acknowledges bytes at least once in a stall timeout of 2 s. The receive window
/// opens in steps: 64 to 128 KiB with a receive buffer of the default size, the size of the buffer with a small one.
#[test]
fn a_reader_above_the_bound_is_never_reset() {
    let server = serve_with_stall_timeout(2);
    let at = |name, client, step, ms| SlowReader {
        name,
        client,
        step,
        pause: Duration::from_millis(ms),
    };
    let readers = [
        at(
            "default buffer, 10 KB every 0.1 s",
            connect(server.address),
            10_000,
            100,
        ),
        at(
            "small buffer, 10 KB every 0.1 s",
            connect_narrow(server.address),
            10_000,
            100,
        ),
        at(
            "small buffer, 2 KB every 0.5 s",
            connect_narrow(server.address),
            2000,
            500,
        ),
    ];
    thread::scope(|scope| {
        for reader in &readers {
            let server = &server;
            scope.spawn(move || {
                let bytes = pattern(6 << 20);
                let sending = send_and_finish(&reader.client, bytes.clone());
                let mut echo = Vec::new();
                // Five stall timeouts.
                let end = reader.read_for(Duration::from_secs(10), &mut echo);
                assert_eq!(end, Ok(()), "{}: {}", reader.name, server.stats());
                (&reader.client).read_to_end(&mut echo).unwrap();
                assert_same(&echo, &bytes);
                sending.join().unwrap();
            });
        }
    });
    let stats = server.until("all connections to be closed", |stats| stats.open == 0);
    assert_eq!(stats.closed.end_of_stream, 3, "{stats}");
}

/// Clients that read so slowly that the receive window opens less often than once in two stall timeouts.
#[test]
fn a_reader_below_the_bound_is_reset_as_stalled() {
    let server = serve_with_stall_timeout(1);
    let at = |name, client, step| SlowReader {
        name,
        client,
        step,
        pause: Duration::from_millis(100),
    };
    let readers = [
        at(
            "default buffer, 5 KB a second",
            connect(server.address),
            500,
        ),
        at(
            "small buffer, 100 bytes a second",
            connect_narrow(server.address),
            10,
        ),
    ];
    thread::scope(|scope| {
        for reader in &readers {
            scope.spawn(|| {
                send_until_stopped(
                    &reader.client,
                    &vec![7; 32 << 20],
                    Duration::from_millis(50),
                );
                // After the reset the client can still read the bytes that its kernel has received.
                let end = reader.read_for(Duration::from_secs(6), &mut Vec::new());
                assert_eq!(end, Ok(()), "{}", reader.name);
                let stats = server.stats();
                let socket = kernel_sockets(reader.client.local_addr().unwrap().port());
                assert!(socket.is_empty(), "{}: {socket:?}: {stats}", reader.name);
            });
        }
    });
    assert_eq!(server.stats().closed.stalled, 2, "{}", server.stats());
}

/// Fault 35: the kernel's queues hold the whole echo, and the server has no pending write. Seconds after twice the
/// stall timeout the connection is closed, and the kernel has freed its queues.
///
/// `poll(2)` does not report the last acknowledgement, so there the kernel alone ends a half-closed connection.
#[cfg_attr(
    mio_unsupported_force_poll_poll,
    ignore = "the last acknowledgement is not reported"
)]
#[test]
fn a_reader_that_never_reads_is_gone_from_the_kernel_after_two_stall_timeouts() {
    for half_closes in [false, true] {
        let server = serve_with_stall_timeout(1);
        let client = connect(server.address);
        send_unread(&server, &client, 1 << 20);
        if half_closes {
            client.shutdown(Shutdown::Write).unwrap();
            server.until("the end of stream", |stats| stats.bytes_in == 1 << 20);
        }
        let held = kernel_sockets(server.address.port());
        assert!(
            held.iter().any(|socket| socket.send_queue > 0),
            "the kernel holds no bytes: {held:?}"
        );
        let start = Instant::now();
        let stats = server.until("the stall timeout to close it", |stats| stats.open == 0);
        until_the_kernel_holds_nothing(server.address.port());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}: {stats}");
        assert_eq!(stats.closed.stalled, 1, "{stats}");
        let end = (&client).read_to_end(&mut Vec::new()).map_err(|e| e.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{half_closes}");
    }
}

/// After the end of the process only the kernel can end the connection (`TCP_USER_TIMEOUT`).
#[test]
fn the_kernel_frees_its_queues_after_the_server_was_killed() {
    let server = Process::serve(&["--stall-timeout", "1s"]);
    let port = server.address().port();
    let mut client = connect(server.address());
    client.write_all(&[7; 1 << 20]).unwrap();
    eventually("the kernel to hold the whole echo", || {
        let held = kernel_sockets(port);
        let echoed =
            |socket: &KernelSocket| socket.send_queue > 100_000 && socket.receive_queue == 0;
        held.iter().any(echoed).then_some(()).ok_or(held)
    });
    drop(server);
    let start = Instant::now();
    let held = kernel_sockets(port);
    assert!(
        held.iter().any(|socket| socket.send_queue > 0),
        "the kernel holds no bytes: {held:?}"
    );
    until_the_kernel_holds_nothing(port);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// A slow reader also gets its whole echo after it has shut down writing. The event loop keeps the connection until
/// then, because the kernel's own timer (`TCP_USER_TIMEOUT`) would ignore the acknowledgements.
///
/// `poll(2)` does not report the last acknowledgement, so there the kernel alone ends a half-closed connection.
#[cfg_attr(
    mio_unsupported_force_poll_poll,
    ignore = "the last acknowledgement is not reported"
)]
#[test]
fn a_slow_reader_that_has_half_closed_gets_everything() {
    let server = serve_with_stall_timeout(1);
    let reader = SlowReader {
        name: "after its end of stream",
        client: connect_narrow(server.address),
        step: 2000,
        pause: Duration::from_millis(200),
    };
    let bytes = pattern(60_000);
    (&reader.client).write_all(&bytes).unwrap();
    reader.client.shutdown(Shutdown::Write).unwrap();
    server.until("the whole echo to be written", |stats| {
        stats.bytes_out == 60_000
    });
    let mut echo = Vec::new();
    let end = reader.read_for(Duration::from_secs(5), &mut echo);
    assert_eq!(end, Ok(()), "{}", server.stats());
    (&reader.client).read_to_end(&mut echo).unwrap();
    assert_same(&echo, &bytes);
    let stats = server.until("the close", |stats| stats.open == 0);
    assert_eq!(stats.closed.end_of_stream, 1, "{stats}");
}

/// The server closes the connection. Bytes in the queue of a Unix-domain socket stay there after the close (unix(7)).
#[test]
fn a_reader_that_never_reads_on_a_unix_socket_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let config = Config {
        addresses: vec![format!("unix:{}", path.display()).parse().unwrap()],
        stall_timeout: Some(Duration::from_secs(1)),
        ..config()
    };
    let server = mio_echo::Server::bind(&config).unwrap();
    let handle = server.handle();
    let running = thread::spawn(|| server.run());
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let stats = eventually("the stall timeout to close it", || {
        // Writes more than all queues hold.
        let _ = (&client).write(&[7; 65536]);
        let stats = handle.stats();
        match stats.closed.stalled {
            0 => Err(Box::new(stats)),
            _ => Ok(stats),
        }
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}: {stats}");
    handle.shutdown();
    running.join().unwrap().unwrap();
}

/// Without a stall timeout a client may start to read late.
#[test]
fn without_a_stall_timeout_a_reader_that_reads_late_gets_everything() {
    let server = Embedded::with(&Config {
        stall_timeout: None,
        idle_timeout: Some(Duration::from_millis(500)),
        ..config()
    });
    let client = connect_narrow(server.address);
    let bytes = pattern(4 << 20);
    let sent = send_until_stopped(&client, &bytes, Duration::from_secs(3));
    let sending = send_and_finish(&client, bytes[sent..].to_vec());
    assert_same(&read_to_end(&client), &bytes);
    sending.join().unwrap();
}

/// Starts a server with this stall timeout, in seconds.
fn serve_with_stall_timeout(seconds: u64) -> Embedded {
    Embedded::with(&Config {
        stall_timeout: Some(Duration::from_secs(seconds)),
        ..config()
    })
}

/// Sends bytes and reads nothing, until the server has written the whole echo into the kernel's queues.
fn send_unread(server: &Embedded, mut client: &TcpStream, length: u64) -> Stats {
    client.write_all(&pattern(length as usize)).unwrap();
    server.until("the kernel to hold the whole echo", |stats| {
        stats.bytes_out == length
    })
}

#[track_caller]
fn until_the_kernel_holds_nothing(port: u16) {
    eventually("the kernel to hold nothing", || {
        let held = kernel_sockets(port);
        if held.is_empty() { Ok(()) } else { Err(held) }
    });
}

impl Process {
    /// Stops the process (SIGSTOP) for at least this time, and calls `meanwhile` during the stop.
    fn stop_for(&self, time: Duration, meanwhile: impl FnOnce()) {
        self.signal(Signal::STOP);
        eventually("the process to stop", || match self.state() {
            'T' => Ok(()),
            state => Err(state),
        });
        let start = Instant::now();
        meanwhile();
        thread::sleep(time.saturating_sub(start.elapsed()));
        self.signal(Signal::CONT);
    }
}

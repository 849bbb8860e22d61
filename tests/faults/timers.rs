//! Timers, and what the kernel holds for a peer: what still moves is not cut off, and what does not is freed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::{Config, Stats};
use rustix::process::Signal;

use crate::common::*;

/// Fault 33: a debugger or a suspended machine stops the server for longer than its idle timeout, and its clients send
/// meanwhile. The timers have expired before the loop has looked at one socket.
fn clients_that_send_to_a_stopped_server_are_served(clients: usize, args: &[&str]) {
    // On a busy machine it takes more than a second until the last of 1,500 clients has its first echo.
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

/// One batch of events holds 1,024.
#[test]
fn nor_with_more_events_than_one_batch_holds() {
    clients_that_send_to_a_stopped_server_are_served(1500, &[]);
}

#[test]
fn nor_with_busy_polling() {
    clients_that_send_to_a_stopped_server_are_served(300, &["--busy-poll", "50us"]);
}

/// Fault 33 with output pending: the client reads all that the kernel has while the server is stopped.
#[test]
fn a_stop_longer_than_the_stall_timeout_closes_no_client_that_has_read() {
    let server = Process::serve(&["--stall-timeout", "1s", "--json"]);
    let client = connect(server.address());
    let bytes = pattern(10 << 20);
    // Until neither the client's write nor the server's finds room.
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

/// Fault 33 and 34: the kernel's own timer does not look at acknowledgements. The loop puts it off for a peer that it has seen
/// to read, far enough for a stop of many stall timeouts.
/// `poll(2)` does not report the last acknowledgement, so there a half-closed connection is left to the kernel.
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
    // Two looks have seen it read by then.
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

/// The client sends nothing, and its kernel acknowledges the last of its echo shortly before the idle timeout.
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

/// Without a stall timeout the idle timeout is the only one that reaches clients which read nothing.
/// `poll(2)` does not report the last acknowledgement, so there a half-closed connection is left to the kernel.
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

/// Reads until nothing has come for a tenth of a second.
fn read_what_is_there(mut client: &TcpStream, into: &mut Vec<u8>) {
    let still = Some(Duration::from_millis(100));
    client.set_read_timeout(still).unwrap();
    let end = client.read_to_end(into).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::WouldBlock, "{end}");
    client.set_read_timeout(Some(LIMIT)).unwrap();
}

/// A client that reads `step` bytes every `pause` while its echo fills every queue.
struct SlowReader {
    name: &'static str,
    client: TcpStream,
    step: usize,
    pause: Duration,
}

impl SlowReader {
    /// Reads for so long. Returns the error that ends it before, and when.
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

/// Fault 34: the kernel of each of these acknowledges bytes at least once in a stall timeout of two seconds. With a receive
/// buffer of the default size its window opens in steps of 64 to 128 KiB, with a small one in steps of its size.
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
    let stats = server.until("the ends", |stats| stats.open == 0);
    assert_eq!(stats.closed.end_of_stream, 3, "{stats}");
}

/// The other side of the bound: so slow that the window opens more seldom than once in two stall timeouts.
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
                // What its kernel has received it can still read after the reset.
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

/// Fault 35: what the server has written lies in the kernel's queues, where no write waits for room. Seconds after twice the
/// stall timeout the connection is gone, and what the kernel held of it too.
/// `poll(2)` does not report the last acknowledgement, so there a half-closed connection is left to the kernel.
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
            "nothing lies in the kernel: {held:?}"
        );
        let start = Instant::now();
        let stats = server.until("the reaper", |stats| stats.open == 0);
        until_the_kernel_holds_nothing(server.address.port());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}: {stats}");
        assert_eq!(stats.closed.stalled, 1, "{stats}");
        let end = (&client).read_to_end(&mut Vec::new()).map_err(|e| e.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{half_closes}");
    }
}

/// The kernel alone is left to end it when the process has ended.
#[test]
fn what_the_kernel_holds_goes_when_the_server_was_killed() {
    let server = Process::serve(&["--stall-timeout", "1s"]);
    let port = server.address().port();
    let mut client = connect(server.address());
    client.write_all(&[7; 1 << 20]).unwrap();
    eventually("the echo to lie in the kernel", || {
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
        "nothing lies in the kernel: {held:?}"
    );
    until_the_kernel_holds_nothing(port);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// After its end of stream, too, a peer has its echo, however slowly it reads: it is not the kernel's alone, whose timer does
/// not look at acknowledgements.
/// `poll(2)` does not report the last acknowledgement, so there a half-closed connection is left to the kernel.
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
    server.until("all of it", |stats| stats.bytes_out == 60_000);
    let mut echo = Vec::new();
    let end = reader.read_for(Duration::from_secs(5), &mut echo);
    assert_eq!(end, Ok(()), "{}", server.stats());
    (&reader.client).read_to_end(&mut echo).unwrap();
    assert_same(&echo, &bytes);
    let stats = server.until("the close", |stats| stats.open == 0);
    assert_eq!(stats.closed.end_of_stream, 1, "{stats}");
}

/// What a Unix-domain socket's queue holds outlives the close (unix(7)), but the connection does not stay.
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
    let stats = eventually("the reaper", || {
        // More than all queues hold.
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

/// Without a stall timeout a peer may take its time.
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

fn serve_with_stall_timeout(seconds: u64) -> Embedded {
    Embedded::with(&Config {
        stall_timeout: Some(Duration::from_secs(seconds)),
        ..config()
    })
}

/// Sends and reads nothing, until the server has echoed all of it into the kernel's queues.
fn send_unread(server: &Embedded, mut client: &TcpStream, length: u64) -> Stats {
    client.write_all(&pattern(length as usize)).unwrap();
    server.until("the echo to be in the kernel", |stats| {
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
    /// Stops the process (SIGSTOP) for at least so long, and does this meanwhile.
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

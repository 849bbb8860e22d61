//! Bulk: on Linux it goes from socket to socket through a pipe in the kernel (splice(2)).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use mio_echo::Config;
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::SockRef;

use crate::common::{Embedded, config, connect, eventually, pattern};

/// Sends all bytes from another thread, and returns as many bytes of echo.
fn through(client: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut echo = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(|| (&*client).write_all(bytes).unwrap());
        (&*client).read_exact(&mut echo).unwrap();
    });
    echo
}

/// Sends bulk and checks its echo until the server has spliced some of it. The server splices only for a client on
/// another processor, so the caller must have pinned both (`on_two_processors`).
fn until_bulk_is_spliced(server: &Embedded, client: &TcpStream, bulk: &[u8]) {
    let before = server.stats().bytes_spliced;
    eventually("bulk to be spliced", || {
        assert!(through(client, bulk) == bulk);
        let stats = server.stats();
        match stats.bytes_spliced > before {
            true => Ok(()),
            false => Err(Box::new(stats)),
        }
    });
}

/// Pins this thread, and all threads that it starts later, to one processor.
fn keep_to_processor(n: usize) {
    let mut processors = CpuSet::new();
    processors.set(n);
    sched_setaffinity(None, &processors).unwrap();
}

/// Starts a server on processor 0, and pins the caller to processor 1.
fn on_two_processors(config: &Config) -> Embedded {
    keep_to_processor(0);
    let server = Embedded::with(config);
    keep_to_processor(1);
    server
}

/// The server splices bulk where it can, and never with `splice: false`.
#[test]
fn bulk_is_spliced_and_comes_back_whole() {
    let bulk = pattern(1 << 20);
    if PIPED {
        let server = on_two_processors(&config());
        let client = connect(server.address);
        until_bulk_is_spliced(&server, &client, &bulk);
    }
    let server = on_two_processors(&Config {
        splice: false,
        ..config()
    });
    let client = connect(server.address);
    for _ in 0..20 {
        assert!(through(&client, &bulk) == bulk);
    }
    let stats = server.stop();
    assert_eq!(stats.bytes_spliced, 0, "{stats:?}");
    assert_eq!((stats.bytes_in, stats.bytes_out), (20 << 20, 20 << 20));
}

/// If server and client share a processor, splicing only moves the cost of the copy from the server to the client.
#[test]
fn bulk_from_the_servers_own_processor_is_not_spliced() {
    keep_to_processor(0);
    let server = Embedded::start();
    let client = connect(server.address);
    let bulk = pattern(1 << 20);
    for _ in 0..20 {
        assert!(through(&client, &bulk) == bulk);
    }
    let stats = server.stop();
    assert_eq!(stats.bytes_spliced, 0, "{stats:?}");
}

/// splice(2) returns `EAGAIN` while an urgent byte is the next one, even if more bytes follow.
#[test]
fn an_urgent_byte_behind_bulk_holds_up_nothing() {
    let server = on_two_processors(&config());
    let client = connect(server.address);
    let bulk = pattern(1 << 20);
    for round in 0..20 {
        if PIPED {
            until_bulk_is_spliced(&server, &client, &bulk);
        }
        // Few enough bytes for the kernel to accept them in one write. The connection may still be splicing.
        let mut sent = bulk[..32 * 1024].to_vec();
        (&client).write_all(&sent).unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        (&client).write_all(b"after").unwrap();
        sent.extend_from_slice(b"!after");
        let mut echo = vec![0; sent.len()];
        (&client).read_exact(&mut echo).unwrap();
        assert!(echo == sent, "round {round}");
    }
}

/// A reset while output is pending. The simulator tests a reset between the splice into the pipe and the splice out
/// of it, which happens here only by chance.
#[test]
fn a_reset_during_bulk_leaves_no_bytes_for_the_next_connection() {
    let server = Embedded::start();
    let bulk = pattern(1 << 20);
    for round in 0..20_u8 {
        let rude = connect(server.address);
        SockRef::from(&rude).set_nonblocking(true).unwrap();
        // Until both directions are full: then the server has moved the pipe's bytes to a pending write once.
        let mut sent = 0;
        let spills = server.stats().spills;
        while server.stats().spills == spills {
            match (&rude).write(&bulk) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        SockRef::from(&rude)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(rude);
        let polite = connect(server.address);
        let message: Vec<u8> = bulk.iter().map(|byte| byte ^ round).collect();
        assert!(through(&polite, &message) == message, "round {round}");
    }
    server.until("all to be closed without a pending write", |stats| {
        stats.open == 0 && stats.pending_bytes == 0
    });
}

/// True if the server splices here: on Linux with epoll. With poll(2) a short read does not mean that the queue is
/// empty.
const PIPED: bool = cfg!(all(
    target_os = "linux",
    not(mio_unsupported_force_poll_poll)
));

//! Bulk, which goes from socket to socket through a pipe in the kernel on Linux.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use mio_echo::Config;
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::SockRef;

use crate::common::{Embedded, config, connect, eventually, pattern};

/// Sends all of it from a thread of its own and reads as much as it has sent.
fn through(client: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut echo = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(|| (&*client).write_all(bytes).unwrap());
        (&*client).read_exact(&mut echo).unwrap();
    });
    echo
}

/// Sends bulk and checks its echo until the server has spliced some of it. Where the client runs on the server's processor
/// it does not, and the scheduler decides that: so the client keeps to another one.
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

/// Keeps this thread, and those that it starts from here on, to one of the processors.
fn keep_to_processor(n: usize) {
    let mut processors = CpuSet::new();
    processors.set(n);
    sched_setaffinity(None, &processors).unwrap();
}

/// A server on one processor; the caller is on another from here on.
fn on_two_processors(config: &Config) -> Embedded {
    keep_to_processor(0);
    let server = Embedded::with(config);
    keep_to_processor(1);
    server
}

/// The pipe is used where there is one, and not where it is turned off.
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

/// On one processor with its peer the server would save copies that the peer then pays for.
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

/// splice(2) says `EAGAIN` in front of an urgent byte for as long as that stands there, whatever follows it.
#[test]
fn an_urgent_byte_behind_bulk_holds_up_nothing() {
    let server = on_two_processors(&config());
    let client = connect(server.address);
    let bulk = pattern(1 << 20);
    for round in 0..20 {
        if PIPED {
            until_bulk_is_spliced(&server, &client, &bulk);
        }
        // Little enough for the kernel to take it at once. The connection may still be with the pipe.
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

/// That nothing is left in the pipe for the next when a peer is reset between a splice in and a splice out needs luck
/// here: the simulator has it. A reset with output pending needs none.
#[test]
fn a_reset_in_mid_bulk_leaves_nothing_to_the_next() {
    let server = Embedded::start();
    let bulk = pattern(1 << 20);
    for round in 0..20_u8 {
        let rude = connect(server.address);
        SockRef::from(&rude).set_nonblocking(true).unwrap();
        // Until both directions are full: the pipe has been emptied into a spill once.
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
    let stats = server.until("all to be closed", |stats| stats.open == 0);
    assert_eq!(stats.pending_bytes, 0, "{stats:?}");
}

/// On Linux, and where a short read proves something.
const PIPED: bool = cfg!(all(
    target_os = "linux",
    not(mio_unsupported_force_poll_poll)
));

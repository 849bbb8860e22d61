//! Bulk, which goes from socket to socket through a pipe in the kernel on Linux.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use mio_echo::Config;
use socket2::SockRef;

use crate::common::{Bound, Embedded, config, connect, pattern};

/// Sends all of it from a thread of its own and reads as much as it has sent.
fn through(client: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut echo = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(|| (&*client).write_all(bytes).unwrap());
        (&*client).read_exact(&mut echo).unwrap();
    });
    echo
}

/// The pipe is used where there is one, and not where nobody wants it.
#[test]
fn bulk_is_spliced_and_comes_back_whole() {
    let sent = pattern(16 << 20);
    for splice in [true, false] {
        let server = Bound::new(&Config { splice, ..config() }).run();
        let client = connect(server.address);
        assert!(through(&client, &sent) == sent, "splice: {splice}");
        let stats = server.stop();
        let expected = splice && PIPED;
        assert_eq!(stats.bytes_spliced > 0, expected, "{stats:?}");
        assert_eq!(stats.bytes_in, sent.len() as u64);
        assert_eq!(stats.bytes_out, sent.len() as u64);
    }
}

/// splice(2) says `EAGAIN` in front of an urgent byte for as long as that stands there, whatever follows it.
#[test]
fn an_urgent_byte_behind_bulk_holds_up_nothing() {
    let server = Embedded::start();
    let client = connect(server.address);
    let bulk = pattern(1 << 20);
    for round in 0..20 {
        assert!(through(&client, &bulk) == bulk);
        // Little enough for the kernel to take it at once, enough for the connection to stay with the pipe.
        let mut sent = bulk[..32 * 1024].to_vec();
        (&client).write_all(&sent).unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        (&client).write_all(b"after").unwrap();
        sent.extend_from_slice(b"!after");
        let mut echo = vec![0; sent.len()];
        (&client).read_exact(&mut echo).unwrap();
        assert!(echo == sent, "round {round}");
    }
    assert_eq!(server.stats().bytes_spliced > 0, PIPED);
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

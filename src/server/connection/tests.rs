//! Tests of the state machine with scripted sockets. The script of a test is the list of its system calls.

use std::io::ErrorKind::{self, BrokenPipe, ConnectionReset, Interrupted, TimedOut, WouldBlock};

use std::sync::Arc;

use super::*;
use crate::server::quota::Quota;
use crate::server::scripted::{Bytes, Scripted};

/// The size of a read, in bytes: small, so that a short script can fill it.
const READ: usize = 8;

/// The budget of a turn, in bytes: two reads.
const TURN: usize = 2 * LEAST_CHARGE;

/// The answer of a blocked connection. [`TestedConnection::pump`] always sets `moved`.
const BLOCKED: Answer = Answer::Blocked { moved: true };

mod bulk;
mod delivering;

/// One connection, its buffers and its turn.
struct TestedConnection {
    connection: Connection,
    buffers: Buffers<Bytes>,
    events: Events,
    /// The budget of each turn, in bytes.
    turn: usize,
    /// The value of [`PumpLimits::continues`].
    continues: bool,
    /// Whether the last pump with the answer `Blocked` moved a byte.
    moved: bool,
}

/// The log lines of the trace events, in order.
#[derive(Default)]
struct Events(Vec<String>);

impl Tracer for Events {
    fn record(&mut self, event: TraceEvent<'_>) {
        self.0.push(event.to_string());
    }
}

impl TestedConnection {
    /// Makes a connection with an edge-triggered selector.
    fn edge() -> TestedConnection {
        TestedConnection::new(true, usize::MAX)
    }

    /// Makes a connection with a selector that re-arms only on `WouldBlock`.
    fn rearming() -> TestedConnection {
        TestedConnection::new(false, usize::MAX)
    }

    /// Makes a connection whose memory budget allows no pending write.
    fn without_memory() -> TestedConnection {
        TestedConnection::new(true, 0)
    }

    fn new(short_read_means_empty: bool, memory: usize) -> TestedConnection {
        TestedConnection {
            connection: Connection::new(short_read_means_empty),
            buffers: Buffers::new(READ, Arc::new(Quota::new(memory / READ))),
            events: Events::default(),
            turn: TURN,
            continues: true,
            moved: false,
        }
    }

    /// Pumps once. The answer `Blocked` becomes [`BLOCKED`]; the field `moved` has the real value.
    fn pump(&mut self, socket: &mut Scripted) -> Answer {
        let turn = PumpLimits {
            budget: self.turn,
            continues: self.continues,
        };
        let answer = self
            .connection
            .pump(socket, &mut self.buffers, turn, &mut self.events);
        match answer {
            Answer::Blocked { moved } => {
                self.moved = moved;
                BLOCKED
            }
            answer => answer,
        }
    }

    /// Returns the number of bytes in pending writes.
    fn pending(&self) -> usize {
        self.buffers.pending_writes.pending().0
    }
}

fn readable() -> Readiness {
    Readiness {
        readable: true,
        ..Readiness::default()
    }
}

fn writable() -> Readiness {
    Readiness {
        writable: true,
        ..Readiness::default()
    }
}

// The system calls of a message.

#[test]
fn a_small_message_costs_one_read_and_one_write() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new().reads(b"ping").takes(4);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"ping");
    assert_eq!(tested.connection.awaits(), Direction::Read);
}

#[test]
fn the_answer_tells_whether_a_byte_moved() {
    let mut tested = TestedConnection::edge();
    let mut moved = |socket: Scripted| {
        let mut socket = socket;
        assert_eq!(tested.pump(&mut socket), BLOCKED);
        tested.moved
    };
    assert!(!moved(Scripted::new().read_fails(WouldBlock)), "no read");
    assert!(moved(Scripted::new().reads(b"ping").takes(4)), "an echo");
    let pending = Scripted::new().reads(b"ping").write_fails(WouldBlock);
    assert!(moved(pending), "a read");
    assert!(!moved(Scripted::new().write_fails(WouldBlock)), "no write");
    let partly = Scripted::new().takes(1).write_fails(WouldBlock);
    assert!(moved(partly), "a byte of the pending write");
    let rest = Scripted::new().takes(3).read_fails(WouldBlock);
    assert!(moved(rest), "the rest of the pending write");
}

#[test]
fn a_short_read_does_not_mean_empty_where_only_would_block_re_arms() {
    let mut tested = TestedConnection::rearming();
    let mut socket = Scripted::new()
        .reads(b"ping")
        .takes(4)
        .read_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn a_read_that_fills_the_buffer_is_followed_by_another_read() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .read_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn an_interrupted_call_is_repeated() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new()
        .read_fails(Interrupted)
        .reads(b"ping")
        .write_fails(Interrupted)
        .takes(4);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"ping");
}

// The end of the stream.

#[test]
fn a_short_read_does_not_mean_empty_after_a_hint_of_the_end_of_stream() {
    let mut tested = TestedConnection::edge();
    tested.connection.on_readiness(Readiness {
        readable: true,
        read_on: true,
        ..Readiness::default()
    });
    let mut socket = Scripted::new().reads(b"bye").takes(3).reads(b"");
    let progress = tested.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
}

#[test]
fn the_hint_stays_valid_in_the_next_turn() {
    // The turn ends before `WouldBlock`. The next turn starts without an event, and so without a new hint.
    let mut tested = TestedConnection::edge();
    tested.connection.on_readiness(Readiness {
        readable: true,
        read_on: true,
        ..Readiness::default()
    });
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"12345678")
        .takes(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().reads(b"bye").takes(3).reads(b"");
    let progress = tested.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
}

#[test]
fn a_hint_alone_does_not_close_a_connection() {
    // The event is about an earlier connection, whose key this connection has now.
    let mut tested = TestedConnection::edge();
    tested.connection.on_readiness(Readiness {
        readable: true,
        writable: true,
        read_on: true,
    });
    let mut socket = Scripted::new().read_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    // The `WouldBlock` has cleared the hint, so the next message costs only two calls.
    let mut socket = Scripted::new().reads(b"ping").takes(4);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn the_pending_write_goes_out_before_the_end_of_stream_is_read() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(3)
        .write_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    tested.connection.on_readiness(Readiness {
        readable: true,
        writable: true,
        read_on: true,
    });
    let mut socket = Scripted::new().takes(5).reads(b"");
    let progress = tested.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
    assert_eq!(socket.written, b"45678");
    assert_eq!(tested.connection.echoed(), 8);
}

// Partial writes and back-pressure.

#[test]
fn a_partial_write_is_finished_and_in_order() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new().reads(b"abcdef").takes(2).takes(1).takes(3);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"abcdef");
    assert_eq!(tested.pending(), 0);
}

#[test]
fn a_connection_waits_for_room_only_after_would_block() {
    // A short write alone proves nothing: some selectors report that there is room only after a `WouldBlock`.
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new()
        .reads(b"abcdef")
        .takes(2)
        .write_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(tested.connection.awaits(), Direction::Write);
    assert_eq!(tested.pending(), 4);
}

#[test]
fn the_peer_is_not_read_while_a_write_is_pending() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    tested.pump(&mut socket);
    // A read would fail the test, because the script has none.
    let mut socket = Scripted::new().takes(1).write_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(tested.pending(), 2);
}

#[test]
fn older_bytes_go_out_before_newer_ones() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(3)
        .write_fails(WouldBlock);
    tested.pump(&mut socket);
    let mut socket = Scripted::new().takes(5).reads(b"new").takes(3);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"45678new");
}

#[test]
fn a_pending_write_is_released_when_it_is_written() {
    let mut tested = TestedConnection::new(true, READ);
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    tested.pump(&mut socket);
    assert!(
        !tested.buffers.pending_writes.has_room(),
        "the only buffer is in use"
    );
    let mut socket = Scripted::new().takes(3).read_fails(WouldBlock);
    tested.pump(&mut socket);
    assert!(tested.buffers.pending_writes.has_room());
    assert_eq!(tested.buffers.pending_writes.pending(), (0, 3));
}

#[test]
fn an_event_for_the_other_direction_causes_no_call() {
    let mut tested = TestedConnection::edge();
    assert!(
        !tested.connection.on_readiness(writable()),
        "no write is pending"
    );
    assert!(tested.connection.on_readiness(readable()));
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    tested.pump(&mut socket);
    assert!(
        !tested.connection.on_readiness(readable()),
        "a write is pending"
    );
    assert!(tested.connection.on_readiness(writable()));
}

// The memory budget is used up.

#[test]
fn without_memory_only_written_bytes_are_consumed() {
    let mut tested = TestedConnection::without_memory();
    let mut socket = Scripted::new()
        .peeks(b"abcdef")
        .takes(2)
        .reads(b"ab")
        .peeks(b"cdef")
        .write_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(tested.connection.awaits(), Direction::Write);
    assert_eq!((tested.pending(), &*socket.written), (0, &b"ab"[..]));

    let mut socket = Scripted::new().peeks(b"cdef").takes(4).reads(b"cdef");
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(tested.connection.awaits(), Direction::Read);
    assert_eq!(socket.written, b"cdef");
}

#[test]
fn without_memory_the_end_of_the_stream_is_seen() {
    let mut tested = TestedConnection::without_memory();
    let mut socket = Scripted::new().peeks(b"");
    let progress = tested.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
}

#[test]
fn without_memory_a_reset_after_the_peek_ends_the_connection() {
    let mut tested = TestedConnection::without_memory();
    let mut socket = Scripted::new()
        .peeks(b"abc")
        .takes(3)
        .read_fails(ConnectionReset);
    assert_eq!(tested.pump(&mut socket), Answer::Finished(Reason::Reset));
    let mut tested = TestedConnection::without_memory();
    let mut socket = Scripted::new().peek_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

// The turn.

#[test]
fn a_turn_ends_when_its_budget_is_used_up() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"12345678")
        .takes(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    assert!(tested.events.0.last().unwrap().starts_with("yielded"));
}

#[test]
fn a_turn_of_tiny_reads_uses_up_its_budget_too() {
    let mut tested = TestedConnection::rearming();
    let mut socket = Scripted::new().reads(b"1").takes(1).reads(b"2").takes(1);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
}

#[test]
fn discarded_bytes_count_against_the_budget() {
    let mut tested = TestedConnection::edge();
    tested.connection.drain(0);
    let mut socket = Scripted::new()
        .shuts_down()
        .reads(b"12345678")
        .reads(b"12345678");
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
}

// The shutdown of the server.

#[test]
fn draining_echoes_received_bytes_and_discards_later_ones() {
    let mut tested = TestedConnection::edge();
    tested.connection.drain(3);
    let mut socket = Scripted::new()
        .reads(b"abc")
        .takes(3)
        .shuts_down()
        .reads(b"too late");
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    assert_eq!(socket.written, b"abc");
    assert!(tested.connection.is_lingering());
    let mut socket = Scripted::new().reads(b"");
    assert_eq!(tested.pump(&mut socket), Answer::Finished(Reason::Drained));
}

#[test]
fn draining_starts_with_the_pending_write() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    tested.pump(&mut socket);
    tested.connection.drain(0);
    let mut socket = Scripted::new().takes(1).write_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(tested.connection.awaits(), Direction::Write);
    let mut socket = Scripted::new().takes(2).shuts_down().read_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert!(tested.connection.is_lingering());
}

/// A drain starts without an event, so no hint has announced the urgent byte in front of which the read stops.
#[test]
fn the_final_echo_continues_after_an_urgent_byte() {
    let mut tested = TestedConnection::edge();
    tested.connection.drain(5);
    let mut socket = Scripted::new()
        .reads(b"abc")
        .takes(3)
        .reads(b"de")
        .takes(2)
        .shuts_down()
        .read_fails(WouldBlock);
    tested.pump(&mut socket);
    tested.pump(&mut socket);
    assert_eq!(socket.written, b"abcde");
    assert!(tested.connection.is_lingering());
}

/// The kernel reported 100 received bytes, but a reset has discarded them.
#[test]
fn the_final_echo_ends_when_the_receive_queue_is_empty() {
    let mut tested = TestedConnection::edge();
    tested.connection.drain(100);
    let mut socket = Scripted::new()
        .read_fails(WouldBlock)
        .shuts_down()
        .read_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert!(tested.connection.is_lingering());
}

// Errors.

#[test]
fn each_error_ends_the_connection_with_its_reason() {
    let failed = |kind| Reason::Failed(kind);
    for (kind, reason) in [
        (ConnectionReset, Reason::Reset),
        (BrokenPipe, Reason::Reset),
        (TimedOut, failed(TimedOut)),
        (
            ErrorKind::HostUnreachable,
            failed(ErrorKind::HostUnreachable),
        ),
    ] {
        let mut socket = Scripted::new().read_fails(kind);
        let progress = TestedConnection::edge().pump(&mut socket);
        assert_eq!(progress, Answer::Finished(reason), "reading: {kind}");

        let mut socket = Scripted::new().reads(b"abc").write_fails(kind);
        let progress = TestedConnection::edge().pump(&mut socket);
        assert_eq!(progress, Answer::Finished(reason), "writing: {kind}");
    }
}

#[test]
fn a_write_that_returns_0_ends_the_connection() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new().reads(b"abc").takes(0);
    let reason = Reason::Failed(ErrorKind::WriteZero);
    assert_eq!(tested.pump(&mut socket), Answer::Finished(reason));
}

#[test]
fn a_broken_connection_releases_its_pending_write() {
    let mut tested = TestedConnection::edge();
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    tested.pump(&mut socket);
    let mut socket = Scripted::new().write_fails(BrokenPipe);
    assert_eq!(tested.pump(&mut socket), Answer::Finished(Reason::Reset));
    tested
        .connection
        .release(&mut tested.buffers.pending_writes);
    assert_eq!(tested.pending(), 0);
}

// Unix-domain sockets of the system: a script could not show how the kernel behaves.

/// A read of a Unix-domain socket stops after a message with descriptors (`SCM_RIGHTS`, unix(7)), although more bytes
/// are in the receive queue. If this short read meant an empty queue, the rest would wait for an edge that never comes.
#[cfg(unix)]
#[test]
fn a_unix_socket_is_read_on_after_a_message_with_descriptors() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::{IoSlice, Read, Write};
    use std::os::fd::AsFd;

    use net::poller::{MioPoller, Poller};
    use net::stream::Stream;

    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let stdin = std::io::stdin();
    let descriptors = [stdin.as_fd()];
    assert!(rights.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(
        &theirs,
        &[IoSlice::new(b"abc")],
        &mut rights,
        SendFlags::empty(),
    )
    .unwrap();
    theirs.write_all(b"def").unwrap();

    let mut stream = Stream::Unix(mio::net::UnixStream::from_std(ours));
    let poller = MioPoller::new().unwrap();
    let mut connection = Connection::new(poller.short_read_means_empty(&stream));
    let mut buffers = Buffers::new(64, Arc::new(Quota::new(1)));
    let turn = PumpLimits {
        budget: TURN * 8,
        continues: false,
    };
    let progress = connection.pump(&mut stream, &mut buffers, turn, &mut Events::default());
    assert_eq!(progress, BLOCKED);
    let mut echo = [0; 6];
    theirs.set_nonblocking(true).unwrap();
    theirs.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"abcdef");
}

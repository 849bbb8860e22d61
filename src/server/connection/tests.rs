//! The state machine over scripted sockets: each test names a fact, and its script is the list of system calls.

use std::io::ErrorKind::{self, BrokenPipe, ConnectionReset, Interrupted, TimedOut, WouldBlock};

use super::*;
use crate::server::scripted::{Bytes, Scripted};

/// Reads are of 8 bytes, so that short scripts can fill one.
const READ: usize = 8;

/// A turn of two reads.
const TURN: usize = 2 * LEAST_CHARGE;

const BLOCKED: Answer = Answer::Blocked { moved: true };

mod bulk;
mod delivering;

struct World {
    connection: Connection,
    buffers: Buffers<Bytes>,
    events: Events,
    turn: usize,
    continues: bool,
    /// Whether the last pump that was blocked had moved anything.
    moved: bool,
}

/// The sentences of the trace events, in order.
#[derive(Default)]
struct Events(Vec<String>);

impl Tracer for Events {
    fn record(&mut self, event: TraceEvent<'_>) {
        self.0.push(event.to_string());
    }
}

impl World {
    /// On an edge-triggered selector.
    fn edge() -> World {
        World::new(true, usize::MAX)
    }

    /// On a selector that re-arms only on `WouldBlock`.
    fn rearming() -> World {
        World::new(false, usize::MAX)
    }

    fn without_memory() -> World {
        World::new(true, 0)
    }

    fn new(short_read_means_empty: bool, memory: usize) -> World {
        World {
            connection: Connection::new(short_read_means_empty),
            buffers: Buffers::new(READ, memory),
            events: Events::default(),
            turn: TURN,
            continues: true,
            moved: false,
        }
    }

    /// Pumps once, and leaves out of the answer whether anything moved: see `moved`.
    fn pump(&mut self, socket: &mut Scripted) -> Answer {
        let turn = Turn {
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

// What a message costs.

#[test]
fn a_small_message_costs_one_read_and_one_write() {
    let mut world = World::edge();
    let mut socket = Scripted::new().reads(b"ping").takes(4);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"ping");
    assert_eq!(world.connection.awaits(), Direction::Read);
}

#[test]
fn the_answer_says_whether_anything_moved() {
    let mut world = World::edge();
    let mut moved = |socket: Scripted| {
        let mut socket = socket;
        assert_eq!(world.pump(&mut socket), BLOCKED);
        world.moved
    };
    assert!(!moved(Scripted::new().read_fails(WouldBlock)), "nothing");
    assert!(moved(Scripted::new().reads(b"ping").takes(4)), "an echo");
    let pending = Scripted::new().reads(b"ping").write_fails(WouldBlock);
    assert!(moved(pending), "a read");
    assert!(!moved(Scripted::new().write_fails(WouldBlock)), "no room");
    let partly = Scripted::new().takes(1).write_fails(WouldBlock);
    assert!(moved(partly), "a byte of the pending write");
    let rest = Scripted::new().takes(3).read_fails(WouldBlock);
    assert!(moved(rest), "the rest of it");
}

#[test]
fn a_short_read_is_not_drained_where_only_would_block_re_arms() {
    let mut world = World::rearming();
    let mut socket = Scripted::new()
        .reads(b"ping")
        .takes(4)
        .read_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn a_full_read_may_have_left_something_behind() {
    let mut world = World::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .read_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn an_interrupted_call_is_made_again() {
    let mut world = World::edge();
    let mut socket = Scripted::new()
        .read_fails(Interrupted)
        .reads(b"ping")
        .write_fails(Interrupted)
        .takes(4);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"ping");
}

// The end of the stream.

#[test]
fn a_short_read_is_not_drained_when_the_end_of_the_stream_was_hinted() {
    let mut world = World::edge();
    world.connection.on_readiness(Readiness {
        readable: true,
        read_on: true,
        ..Readiness::default()
    });
    let mut socket = Scripted::new().reads(b"bye").takes(3).reads(b"");
    let progress = world.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
}

#[test]
fn the_hint_outlives_the_turn() {
    // The turn ends in the middle; the next one begins without an event, and so without the hint.
    let mut world = World::edge();
    world.connection.on_readiness(Readiness {
        readable: true,
        read_on: true,
        ..Readiness::default()
    });
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"12345678")
        .takes(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().reads(b"bye").takes(3).reads(b"");
    let progress = world.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
}

#[test]
fn a_hint_alone_closes_nothing() {
    // The event belonged to a peer that is gone, whose key this one has.
    let mut world = World::edge();
    world.connection.on_readiness(Readiness {
        readable: true,
        writable: true,
        read_on: true,
    });
    let mut socket = Scripted::new().read_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    // And it is forgotten with the `WouldBlock`: the next message costs two calls again.
    let mut socket = Scripted::new().reads(b"ping").takes(4);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn what_is_pending_goes_out_before_the_end_of_the_stream_is_read() {
    let mut world = World::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(3)
        .write_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    world.connection.on_readiness(Readiness {
        readable: true,
        writable: true,
        read_on: true,
    });
    let mut socket = Scripted::new().takes(5).reads(b"");
    let progress = world.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
    assert_eq!(socket.written, b"45678");
    assert_eq!(world.connection.echoed(), 8);
}

// Partial writes and back-pressure.

#[test]
fn a_partial_write_is_finished_and_in_order() {
    let mut world = World::edge();
    let mut socket = Scripted::new().reads(b"abcdef").takes(2).takes(1).takes(3);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"abcdef");
    assert_eq!(world.pending(), 0);
}

#[test]
fn blocked_on_writing_means_that_the_kernel_said_so() {
    // A short write alone proves nothing: only `WouldBlock` makes every selector call again.
    let mut world = World::edge();
    let mut socket = Scripted::new()
        .reads(b"abcdef")
        .takes(2)
        .write_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(world.connection.awaits(), Direction::Write);
    assert_eq!(world.pending(), 4);
}

#[test]
fn a_peer_is_not_read_while_its_output_is_pending() {
    let mut world = World::edge();
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    world.pump(&mut socket);
    // Were it read, the script would say so.
    let mut socket = Scripted::new().takes(1).write_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(world.pending(), 2);
}

#[test]
fn older_bytes_go_out_before_newer_ones() {
    let mut world = World::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(3)
        .write_fails(WouldBlock);
    world.pump(&mut socket);
    let mut socket = Scripted::new().takes(5).reads(b"new").takes(3);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(socket.written, b"45678new");
}

#[test]
fn a_pending_write_is_released_when_it_is_written() {
    let mut world = World::new(true, READ);
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    world.pump(&mut socket);
    assert!(
        !world.buffers.pending_writes.has_room(),
        "the only one is in use"
    );
    let mut socket = Scripted::new().takes(3).read_fails(WouldBlock);
    world.pump(&mut socket);
    assert!(world.buffers.pending_writes.has_room());
    assert_eq!(world.buffers.pending_writes.pending(), (0, 3));
}

#[test]
fn an_event_for_the_direction_not_waited_for_is_not_worth_a_call() {
    let mut world = World::edge();
    assert!(
        !world.connection.on_readiness(writable()),
        "nothing to write"
    );
    assert!(world.connection.on_readiness(readable()));
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    world.pump(&mut socket);
    assert!(!world.connection.on_readiness(readable()), "not read now");
    assert!(world.connection.on_readiness(writable()));
}

// No memory left.

#[test]
fn without_memory_only_what_was_written_is_consumed() {
    let mut world = World::without_memory();
    let mut socket = Scripted::new()
        .peeks(b"abcdef")
        .takes(2)
        .reads(b"ab")
        .peeks(b"cdef")
        .write_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(world.connection.awaits(), Direction::Write);
    assert_eq!((world.pending(), &*socket.written), (0, &b"ab"[..]));

    let mut socket = Scripted::new().peeks(b"cdef").takes(4).reads(b"cdef");
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(world.connection.awaits(), Direction::Read);
    assert_eq!(socket.written, b"cdef");
}

#[test]
fn without_memory_the_end_of_the_stream_is_seen() {
    let mut world = World::without_memory();
    let mut socket = Scripted::new().peeks(b"");
    let progress = world.pump(&mut socket);
    assert_eq!(progress, Answer::Finished(Reason::EndOfStream));
}

#[test]
fn without_memory_a_reset_between_looking_and_consuming_is_a_reset() {
    let mut world = World::without_memory();
    let mut socket = Scripted::new()
        .peeks(b"abc")
        .takes(3)
        .read_fails(ConnectionReset);
    assert_eq!(world.pump(&mut socket), Answer::Finished(Reason::Reset));
    let mut world = World::without_memory();
    let mut socket = Scripted::new().peek_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

// The turn.

#[test]
fn a_turn_ends_on_its_budget() {
    let mut world = World::edge();
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"12345678")
        .takes(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    assert!(world.events.0.last().unwrap().starts_with("yielded"));
}

#[test]
fn a_turn_of_tiny_reads_ends_too() {
    let mut world = World::rearming();
    let mut socket = Scripted::new().reads(b"1").takes(1).reads(b"2").takes(1);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
}

#[test]
fn discarding_is_no_way_around_the_budget() {
    let mut world = World::edge();
    world.connection.drain(0);
    let mut socket = Scripted::new()
        .shuts_down()
        .reads(b"12345678")
        .reads(b"12345678");
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
}

// The server's own end.

#[test]
fn draining_echoes_what_had_been_received_and_discards_the_rest() {
    let mut world = World::edge();
    world.connection.drain(3);
    let mut socket = Scripted::new()
        .reads(b"abc")
        .takes(3)
        .shuts_down()
        .reads(b"too late");
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    assert_eq!(socket.written, b"abc");
    assert!(world.connection.is_lingering());
    let mut socket = Scripted::new().reads(b"");
    assert_eq!(world.pump(&mut socket), Answer::Finished(Reason::Drained));
}

#[test]
fn draining_writes_out_what_is_pending_first() {
    let mut world = World::edge();
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    world.pump(&mut socket);
    world.connection.drain(0);
    let mut socket = Scripted::new().takes(1).write_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(world.connection.awaits(), Direction::Write);
    let mut socket = Scripted::new().takes(2).shuts_down().read_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert!(world.connection.is_lingering());
}

/// A drain begins without an event, so the urgent byte in front of which the read stops has not been hinted at.
#[test]
fn a_final_echo_goes_on_behind_an_urgent_byte() {
    let mut world = World::edge();
    world.connection.drain(5);
    let mut socket = Scripted::new()
        .reads(b"abc")
        .takes(3)
        .reads(b"de")
        .takes(2)
        .shuts_down()
        .read_fails(WouldBlock);
    world.pump(&mut socket);
    world.pump(&mut socket);
    assert_eq!(socket.written, b"abcde");
    assert!(world.connection.is_lingering());
}

#[test]
fn a_final_echo_that_a_reset_took_away_is_not_waited_for() {
    let mut world = World::edge();
    world.connection.drain(100);
    let mut socket = Scripted::new()
        .read_fails(WouldBlock)
        .shuts_down()
        .read_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert!(world.connection.is_lingering());
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
        let progress = World::edge().pump(&mut socket);
        assert_eq!(progress, Answer::Finished(reason), "reading: {kind}");

        let mut socket = Scripted::new().reads(b"abc").write_fails(kind);
        let progress = World::edge().pump(&mut socket);
        assert_eq!(progress, Answer::Finished(reason), "writing: {kind}");
    }
}

#[test]
fn a_write_that_takes_nothing_is_not_tried_for_ever() {
    let mut world = World::edge();
    let mut socket = Scripted::new().reads(b"abc").takes(0);
    let reason = Reason::Failed(ErrorKind::WriteZero);
    assert_eq!(world.pump(&mut socket), Answer::Finished(reason));
}

#[test]
fn a_broken_peer_releases_its_pending_write() {
    let mut world = World::edge();
    let mut socket = Scripted::new().reads(b"abc").write_fails(WouldBlock);
    world.pump(&mut socket);
    let mut socket = Scripted::new().write_fails(BrokenPipe);
    assert_eq!(world.pump(&mut socket), Answer::Finished(Reason::Reset));
    world.connection.release(&mut world.buffers.pending_writes);
    assert_eq!(world.pending(), 0);
}

// Unix-domain sockets, for real: what a script would only repeat.

/// A read of a Unix-domain socket stops behind a message that carried descriptors, although more is queued: were a
/// short read taken for drained there, the rest would wait for an edge that never comes.
#[cfg(unix)]
#[test]
fn a_unix_read_that_stops_at_descriptors_is_read_on() {
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
    let mut buffers = Buffers::new(64, 64);
    let turn = Turn {
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

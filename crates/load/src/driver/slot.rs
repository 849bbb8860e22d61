//! A slot: the place of one connection in the driver's table, and all changes of its state. After a connection ends,
//! a new one may use the same slot.

use std::io::Write;
use std::ops::{Index, IndexMut};

use crate::exchange::Exchange;
use crate::payload::Payload;
use crate::schedule::Schedule;
use net::outcome::{IoOutcome, attempt};

/// One entry of the driver's table.
#[derive(Debug)]
pub(super) struct Slot<S> {
    /// The state of the slot's connection.
    pub(super) state: State<S>,
    /// The token under which the slot's stream is registered. Each stream has another one.
    pub(super) token: usize,
    /// The messages of the connection; empty while the slot has no connection.
    pub(super) exchange: Exchange,
    /// The slot's part of the schedule. It continues when a connection fails. `None` in a closed loop.
    pub(super) schedule: Option<Schedule>,
    /// The time from which the connection could begin another message.
    pub(super) free_ns: u64,
    /// When to diagnose unexpected bytes at the latest; `u64::MAX` if there are none.
    pub(super) diagnose_ns: u64,
    /// The start of the last silence that was reported as an error; `u64::MAX` if there is none.
    pub(super) reported_silence_ns: u64,
    /// When the current silence began, if a message timed out in it. A silence ends with the first byte on any
    /// connection of the slot. `u64::MAX` if no message timed out in the current silence.
    pub(super) unanswered_since_ns: u64,
    /// When connect(2) of the open connection was called.
    pub(super) connect_ns: u64,
    /// Messages that were due within the window and came back.
    pub(super) ok: u64,
}

/// The state of a slot's connection.
#[derive(Debug)]
pub(super) enum State<S> {
    /// Not dialled yet.
    New,
    /// connect(2) was called at `since_ns`. An event will report that the attempt has ended.
    Connecting {
        stream: S,
        since_ns: u64,
        replaces: Replaces,
    },
    /// The connection is established: messages and echoes move.
    Open { stream: S, sending: Sending },
    /// The connection or the attempt failed. The next attempt follows at `until_ns`.
    Backoff { until_ns: u64, replaces: Replaces },
    /// The slot has no connection and makes no further attempt.
    Gone,
}

/// The kind of connection that the next connection of a slot replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// No connection, or one that sent all its messages.
    Nothing,
    /// A connection that failed while it was open. The slot counts as down until the new connection is open.
    Failed,
}

/// Whether an open connection can write bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// The kernel accepts bytes.
    Writable,
    /// The send buffer is full. An event will report that it has room again.
    Full,
    /// A write failed. No more bytes are written, and the end of the stream counts as a reset.
    Broken,
}

/// An attempt that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// When connect(2) was called.
    pub(super) since_ns: u64,
    /// The kind of connection that the new connection replaces.
    pub(super) replaces: Replaces,
}

impl<S> Slot<S> {
    /// Makes a slot without a connection.
    pub(super) fn new(schedule: Option<Schedule>) -> Slot<S> {
        Slot {
            state: State::New,
            token: usize::MAX,
            exchange: Exchange::new(0, 0, 0),
            schedule,
            free_ns: 0,
            diagnose_ns: u64::MAX,
            reported_silence_ns: u64::MAX,
            unanswered_since_ns: u64::MAX,
            connect_ns: 0,
            ok: 0,
        }
    }

    #[inline(always)]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether a message may begin: the connection is open and can write.
    #[inline(always)]
    pub(super) fn is_writable(&self) -> bool {
        let writable = Sending::Writable;
        matches!(self.state, State::Open { sending, .. } if sending == writable)
    }

    /// Whether a write failed on this connection.
    pub(super) fn is_broken(&self) -> bool {
        let broken = Sending::Broken;
        matches!(self.state, State::Open { sending, .. } if sending == broken)
    }

    /// Whether the run may start without waiting for this slot.
    pub(super) fn is_ready_for_the_start(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Gone)
    }

    /// Begins an attempt: connect(2) was called at `since_ns`.
    pub(super) fn connecting(&mut self, stream: S, since_ns: u64) {
        self.state = State::Connecting {
            stream,
            since_ns,
            replaces: self.replaces(),
        };
    }

    /// Makes the slot open, because its attempt succeeded. Returns `None` if the slot has no attempt.
    pub(super) fn opened(&mut self, now_ns: u64) -> Option<Opened> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Connecting {
                stream,
                since_ns,
                replaces,
            } => {
                let sending = Sending::Writable;
                self.state = State::Open { stream, sending };
                self.free_ns = now_ns;
                self.connect_ns = since_ns;
                Some(Opened { since_ns, replaces })
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Handles an event that reports room in the send buffer. Returns true if the slot waited for room.
    #[inline(always)]
    pub(super) fn has_room(&mut self, now_ns: u64) -> bool {
        match &mut self.state {
            State::Open { sending, .. } if *sending == Sending::Full => {
                *sending = Sending::Writable;
                self.free_ns = now_ns;
                true
            }
            _ => false,
        }
    }

    /// Records that the oldest message of the slot has timed out.
    pub(super) fn mark_unanswered(&mut self) {
        self.unanswered_since_ns = self.silent_since_ns().unwrap_or(u64::MAX);
    }

    /// Returns since when no byte has come, while a message is under way or after it has timed out.
    pub(super) fn silent_since_ns(&self) -> Option<u64> {
        match self.unanswered_since_ns {
            u64::MAX => self.exchange.silent_since_ns(),
            since_ns => Some(since_ns),
        }
    }

    /// Gives the slot with this key a token that its last streams did not have, and returns it.
    pub(super) fn renew_token(&mut self, key: usize) -> usize {
        let last = if self.token == usize::MAX {
            key
        } else {
            self.token
        };
        self.token = last.wrapping_add(1 << KEY_BITS) & (usize::MAX >> 1);
        self.token
    }

    /// Ends the connection or the attempt, with its messages under way. Returns the stream, which the caller must
    /// deregister.
    pub(super) fn close(&mut self, next: State<S>) -> Option<S> {
        self.exchange = Exchange::new(0, 0, 0);
        self.leave(next)
    }

    /// Takes the stream out of the slot. The exchange stays, so that the caller can take it too.
    pub(super) fn leave(&mut self, next: State<S>) -> Option<S> {
        self.diagnose_ns = u64::MAX;
        match std::mem::replace(&mut self.state, next) {
            State::Connecting { stream, .. } | State::Open { stream, .. } => Some(stream),
            State::New | State::Backoff { .. } | State::Gone => None,
        }
    }

    /// Returns the kind of connection that the next connection replaces.
    pub(super) fn replaces(&self) -> Replaces {
        match self.state {
            State::Connecting { replaces, .. } | State::Backoff { replaces, .. } => replaces,
            State::New | State::Open { .. } | State::Gone => Replaces::Nothing,
        }
    }
}

impl<S: Write> Slot<S> {
    /// Writes the begun messages until the kernel accepts no more. Returns true if a write failed in this call. Then
    /// the caller must read once more: the receive queue may hold bytes that explain the failure.
    #[inline(always)]
    #[must_use]
    pub(super) fn write_out(&mut self, payload: Payload, buffer: &mut [u8]) -> bool {
        let State::Open { stream, sending } = &mut self.state else {
            return false;
        };
        loop {
            let bytes = self.exchange.unsent(payload, buffer);
            if bytes.is_empty() {
                return false;
            }
            let offered = bytes.len();
            match attempt(|| stream.write(bytes)) {
                IoOutcome::Moved(accepted) => self.exchange.accepted(accepted, offered),
                IoOutcome::WouldBlock => {
                    *sending = Sending::Full;
                    return false;
                }
                IoOutcome::Failed(_) => {
                    *sending = Sending::Broken;
                    return true;
                }
            }
        }
    }
}

/// Returns the key of the slot that a token belongs to. The other bits of the token count the streams of the slot.
#[inline(always)]
pub(super) fn key_of(token: usize) -> usize {
    token & ((1 << KEY_BITS) - 1)
}

/// A plan has fewer than 2²⁴ connections.
const KEY_BITS: u32 = 24;

/// The driver's table: one slot for each of its connections, with keys from 0 up. It never grows or shrinks.
#[derive(Debug)]
pub(super) struct Slots<S>(Vec<Slot<S>>);

impl<S> Slots<S> {
    pub(super) fn new(slots: impl Iterator<Item = Slot<S>>) -> Slots<S> {
        Slots(slots.collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, key: usize) -> Option<&Slot<S>> {
        self.0.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot<S>> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<S>> {
        self.0.iter_mut()
    }
}

impl<S> Index<usize> for Slots<S> {
    type Output = Slot<S>;

    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "every key is in this table, which keeps its length"
    )]
    fn index(&self, key: usize) -> &Slot<S> {
        &self.0[key]
    }
}

impl<S> IndexMut<usize> for Slots<S> {
    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "every key is in this table, which keeps its length"
    )]
    fn index_mut(&mut self, key: usize) -> &mut Slot<S> {
        &mut self.0[key]
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;

    /// A stream that answers each write with the next result of a list.
    #[derive(Debug)]
    struct Script(Vec<io::Result<usize>>);

    impl Write for Script {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.remove(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Makes a slot whose connection has 10 bytes to write, over a scripted stream.
    fn open(script: Vec<io::Result<usize>>) -> Slot<Script> {
        let mut slot = Slot::new(None);
        slot.connecting(Script(script), 5);
        slot.opened(7).unwrap();
        slot.exchange.begin(10, 0, 0);
        slot
    }

    fn write_out(slot: &mut Slot<Script>) -> bool {
        slot.write_out(Payload::fixed(), &mut [0; 64])
    }

    #[test]
    fn a_full_send_buffer_is_written_again_after_an_event() {
        let mut slot = open(vec![Ok(4), Err(ErrorKind::WouldBlock.into()), Ok(6)]);
        assert!(!slot.has_room(8), "the slot does not wait for room");
        assert!(!write_out(&mut slot));
        assert!(!slot.is_writable());
        assert!(slot.has_room(9));
        assert_eq!(slot.free_ns, 9);
        assert!(!write_out(&mut slot));
        assert!(slot.is_writable());
        assert_eq!(slot.exchange.waiting_bytes(), 0);
    }

    #[test]
    fn a_failed_write_is_reported_once_and_ends_all_writing() {
        let interrupted = Err(ErrorKind::Interrupted.into());
        let mut slot = open(vec![interrupted, Err(ErrorKind::BrokenPipe.into())]);
        assert!(write_out(&mut slot));
        assert!(slot.is_broken() && slot.is_open());
        assert!(!slot.has_room(8), "no event makes it writable again");
        assert!(!slot.is_writable());
    }

    #[test]
    fn a_slot_that_failed_stays_down_until_the_next_connection_is_open() {
        let mut slot = open(Vec::new());
        assert_eq!(slot.replaces(), Replaces::Nothing);
        let backoff = |replaces| State::Backoff {
            until_ns: 10,
            replaces,
        };
        assert!(slot.close(backoff(Replaces::Failed)).is_some());
        slot.connecting(Script(Vec::new()), 10);
        // The attempt fails, and the next one begins.
        assert!(slot.close(backoff(slot.replaces())).is_some());
        slot.connecting(Script(Vec::new()), 20);
        let opened = Opened {
            since_ns: 20,
            replaces: Replaces::Failed,
        };
        assert_eq!(slot.opened(21), Some(opened));
        assert_eq!(slot.replaces(), Replaces::Nothing);
        assert_eq!(slot.opened(22), None, "the slot is open already");
        assert!(slot.is_open());
    }
}

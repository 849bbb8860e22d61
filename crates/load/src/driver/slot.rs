//! One place for a connection, which several may take one after another; and all changes of its state.

use std::io::Write;
use std::ops::{Index, IndexMut};

use crate::exchange::Exchange;
use crate::payload::Payload;
use crate::schedule::Schedule;
use net::outcome::{IoOutcome, attempt};

/// What stands at one key of the driver's table.
#[derive(Debug)]
pub(super) struct Slot<S> {
    pub(super) state: State<S>,
    /// The conversation on the connection; empty while there is none.
    pub(super) exchange: Exchange,
    /// Its part of the schedule, which goes on whatever happens to the connection. `None` in a closed loop.
    pub(super) schedule: Option<Schedule>,
    /// Since when the connection could have begun another message.
    pub(super) free_ns: u64,
    /// When to stop waiting for more of what is in doubt; `u64::MAX` if nothing is.
    pub(super) doubt_ns: u64,
    /// Messages that came back, warm-up excluded.
    pub(super) ok: u64,
}

/// How far a slot's connection is.
#[derive(Debug)]
pub(super) enum State<S> {
    /// Not dialled yet.
    New,
    /// connect(2) was called at `since_ns`, and an event will tell what became of it.
    Connecting {
        stream: S,
        since_ns: u64,
        replaces: Replaces,
    },
    /// Connected: messages go both ways.
    Open { stream: S, sending: Sending },
    /// The connection or the attempt failed, and another attempt follows at `until_ns`.
    Backoff { until_ns: u64, replaces: Replaces },
    /// There is no connection, and there will be no further attempt.
    Gone,
}

/// The connection that the next one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// None, or one that had all its messages.
    Nothing,
    /// One that failed while it was open. The slot counts as down until the new one is open.
    Failed,
}

/// Whether an open connection can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// The kernel accepts bytes.
    Writable,
    /// The kernel's buffer is full, and an event will announce room.
    Full,
    /// A write failed. The end of the stream is a reset then, and nothing more is written.
    Broken,
}

/// An attempt that has become a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// When connect(2) was called.
    pub(super) since_ns: u64,
    pub(super) replaces: Replaces,
}

impl<S> Slot<S> {
    /// A slot without a connection.
    pub(super) fn new(schedule: Option<Schedule>) -> Slot<S> {
        Slot {
            state: State::New,
            exchange: Exchange::new(0, 0, 0),
            schedule,
            free_ns: 0,
            doubt_ns: u64::MAX,
            ok: 0,
        }
    }

    #[inline(always)]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether messages may be begun: it is open and can write.
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

    /// Whether the slot needs no more waiting before a run starts.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Gone)
    }

    /// connect(2) was called.
    pub(super) fn connecting(&mut self, stream: S, since_ns: u64) {
        self.state = State::Connecting {
            stream,
            since_ns,
            replaces: self.replaces(),
        };
    }

    /// The attempt became a connection. Returns what it was; `None` if there is no attempt.
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
                Some(Opened { since_ns, replaces })
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// An event says that the kernel has room. Returns true if the slot waited for that.
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

    /// Ends the connection or the attempt, and what it had under way. Returns its stream, to be deregistered.
    pub(super) fn close(&mut self, next: State<S>) -> Option<S> {
        self.exchange = Exchange::new(0, 0, 0);
        self.doubt_ns = u64::MAX;
        match std::mem::replace(&mut self.state, next) {
            State::Connecting { stream, .. } | State::Open { stream, .. } => Some(stream),
            State::New | State::Backoff { .. } | State::Gone => None,
        }
    }

    /// The connection that the next one replaces.
    pub(super) fn replaces(&self) -> Replaces {
        match self.state {
            State::Connecting { replaces, .. } | State::Backoff { replaces, .. } => replaces,
            State::New | State::Open { .. } | State::Gone => Replaces::Nothing,
        }
    }
}

impl<S: Write> Slot<S> {
    /// Writes what is begun until the kernel accepts no more. Returns true if a write failed just now: then what the
    /// server said last may still be in the receive queue, and it tells more than the failed write.
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

/// The driver's table: a slot for each of its connections, at keys from 0 up. It never grows or shrinks.
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
        reason = "every key is one of this table's, which keeps its length"
    )]
    fn index(&self, key: usize) -> &Slot<S> {
        &self.0[key]
    }
}

impl<S> IndexMut<usize> for Slots<S> {
    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "every key is one of this table's, which keeps its length"
    )]
    fn index_mut(&mut self, key: usize) -> &mut Slot<S> {
        &mut self.0[key]
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;

    /// Answers each write with the next of these.
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

    /// A slot whose connection has 10 bytes to write, and answers like this.
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
    fn a_full_kernel_is_written_to_again_after_an_event() {
        let mut slot = open(vec![Ok(4), Err(ErrorKind::WouldBlock.into()), Ok(6)]);
        assert!(!slot.has_room(8), "it does not wait for room");
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
        // The attempt fails, and another is made.
        assert!(slot.close(backoff(slot.replaces())).is_some());
        slot.connecting(Script(Vec::new()), 20);
        let opened = Opened {
            since_ns: 20,
            replaces: Replaces::Failed,
        };
        assert_eq!(slot.opened(21), Some(opened));
        assert_eq!(slot.replaces(), Replaces::Nothing);
        assert_eq!(slot.opened(22), None, "it is open already");
        assert!(slot.is_open());
    }
}

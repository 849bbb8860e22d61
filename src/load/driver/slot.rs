//! One place for a connection, which several may take one after another.

use crate::load::exchange::Exchange;
use crate::load::schedule::Schedule;
use crate::stream::Stream;

/// What stands at one key of the driver's table.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) stream: Option<Stream>,
    pub(super) state: State,
    pub(super) exchange: Exchange,
    /// Its part of the schedule, which goes on whatever happens to the connection.
    pub(super) schedule: Option<Schedule>,
    /// The kernel takes no more for now; an event will tell when it does.
    pub(super) no_room: bool,
    /// A write has failed: the end of the stream is a reset.
    pub(super) write_failed: bool,
    /// Its connection failed, and there is no other yet.
    pub(super) down: bool,
    /// The pace will call it.
    pub(super) queued: bool,
    /// Since when there has been room for a message.
    pub(super) free_ns: u64,
    /// When to stop waiting for more of what is in doubt.
    pub(super) doubt_ns: u64,
    /// Messages that came back.
    pub(super) ok: u64,
}

/// How far a slot's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has dialled yet.
    Unborn,
    /// connect(2) was called then, and an event will tell.
    Dialing { since_ns: u64 },
    /// Messages may go to and fro.
    Open,
    /// It failed; to be dialled again.
    Resting { until_ns: u64 },
    /// It could not be made, and will not be tried again.
    Gone,
}

impl Slot {
    pub(super) fn new(schedule: Option<Schedule>) -> Slot {
        Slot {
            stream: None,
            state: State::Unborn,
            exchange: Exchange::new(0, 0, 0),
            schedule,
            no_room: false,
            write_failed: false,
            down: false,
            queued: false,
            free_ns: 0,
            doubt_ns: u64::MAX,
            ok: 0,
        }
    }

    /// Forgets the last connection's troubles.
    pub(super) fn reset(&mut self, now_ns: u64) {
        self.no_room = false;
        self.write_failed = false;
        self.doubt_ns = u64::MAX;
        self.free_ns = now_ns;
    }
}

//! A peer of a run: its script, how far it has come, and both ends of the one connection that it makes.
//!
//! Streams are counters: the bytes are a function of peer and offset. Decides nothing and schedules nothing.

use std::io::ErrorKind;

use super::script::{Action, Selector, World};

/// A peer, its script, and the one connection that it makes.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) script: Vec<Action>,
    /// The action that it is at, and how much of it is done.
    pub(super) at: usize,
    pub(super) done: u64,
    pub(super) wakes: u64,
    pub(super) ended: Option<Ended>,
    pub(super) link: Link,
    /// Offsets, all from the beginning: what the peer has sent, the server has read, the server has written, the
    /// peer has read.
    pub(super) sent: u64,
    pub(super) consumed: u64,
    pub(super) written: u64,
    pub(super) got: u64,
    /// Where the server's own end of stream found its reading: what it reads later is thrown away.
    pub(super) discards_from: Option<u64>,
    /// How much there was to echo when the server began to drain.
    pub(super) owed: Option<u64>,
    /// Where the last urgent byte lies.
    pub(super) urgent: Option<u64>,
    pub(super) fin: bool,
    pub(super) broken: Option<ErrorKind>,
    /// An error is told once: then reads find the end, and writes `EPIPE`.
    pub(super) has_told: bool,
    /// Its socket is closed: a write is taken, and answered by a reset.
    pub(super) deaf: bool,
    pub(super) reset_by_server: bool,
    pub(super) reset_on_close: bool,
    pub(super) registration: Option<Registration>,
    /// The key that it has or had, if it ever was registered.
    pub(super) key: Option<usize>,
    pub(super) was_refused_by_the_selector: bool,
    pub(super) reaped_at: Option<u64>,
    /// When the peer last acknowledged bytes, or when the server's kernel last came to hold some after it had none.
    pub(super) acknowledged_at: u64,
    /// When the server's kernel last took bytes.
    pub(super) written_at: u64,
    /// Since when each turn has ended with a write that waits for room.
    pub(super) blocked_from: Option<u64>,
    /// Since when the server's kernel has held bytes without a pause.
    pub(super) outstanding_since: u64,
    /// For how long the kernel goes on with it then.
    pub(super) patience: Option<u64>,
    /// How far the send queue has grown.
    pub(super) grown: usize,
    /// A timer has closed it, rightly as `tally` has found.
    pub(super) was_timed_out: bool,
    /// It had connected when the server was told to stop.
    pub(super) was_complete_at_stop: bool,
    /// The pipe has failed with bytes of it inside.
    pub(super) was_lost_in_the_pipe: bool,
    /// A write has found no room, so that room is news.
    pub(super) wants_room: bool,
    pub(super) last: Last,
    pub(super) waits: Waits,
    pub(super) since: u64,
    pub(super) reads_in_turn: u32,
}

/// Where a connection is, on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not made yet.
    None,
    /// In a backlog.
    Waiting,
    /// Accepted.
    Open,
    /// Closed by the server.
    Closed,
}

/// How it ended for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has read the end of the server's stream.
    EndOfStream,
    /// The server's side reset the connection.
    ResetByServer,
    /// Nobody listened.
    Refused,
    /// It has reset the connection.
    Reset,
    /// It has closed its socket.
    Closed,
    /// It has vanished.
    Vanished,
}

/// A stream's registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) key: usize,
    /// Edge: there is news. Re-arm: may be reported.
    pub(super) read: bool,
    pub(super) write: bool,
}

/// What a call on a stream has returned that decides how the stream ends; the latest such call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Fine,
    EndOfStream,
    Broken(ErrorKind),
}

/// What a stream's last call waits for: the timeouts follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Read,
    Write,
}

impl Peer {
    pub(super) fn new(script: &[Action]) -> Peer {
        Peer {
            script: script.to_vec(),
            at: 0,
            done: 0,
            wakes: 0,
            ended: None,
            link: Link::None,
            sent: 0,
            consumed: 0,
            written: 0,
            got: 0,
            discards_from: None,
            owed: None,
            urgent: None,
            fin: false,
            broken: None,
            has_told: false,
            deaf: false,
            reset_by_server: false,
            reset_on_close: false,
            registration: None,
            key: None,
            was_refused_by_the_selector: false,
            reaped_at: None,
            acknowledged_at: 0,
            written_at: 0,
            blocked_from: None,
            outstanding_since: 0,
            patience: None,
            grown: 0,
            was_timed_out: false,
            was_complete_at_stop: false,
            was_lost_in_the_pipe: false,
            wants_room: false,
            last: Last::Fine,
            waits: Waits::Read,
            since: 0,
            reads_in_turn: 0,
        }
    }

    /// Whether there is nothing more to come of it but its close, and the server has not closed it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.link == Link::Open && (self.fin || self.broken.is_some())
    }

    /// What the server's kernel holds of what the peer sent.
    pub(super) fn unread(&self) -> u64 {
        self.sent - self.consumed
    }

    /// What it holds of what the server wrote.
    pub(super) fn untaken(&self) -> u64 {
        self.written - self.got
    }

    pub(super) fn room(&self, world: &World) -> usize {
        (world.send_queue + self.grown).saturating_sub(self.untaken() as usize)
    }

    pub(super) fn is_readable(&self) -> bool {
        self.unread() > 0 || self.fin || self.broken.is_some()
    }

    pub(super) fn is_writable(&self, world: &World) -> bool {
        self.room(world) >= world.writable_at || self.broken.is_some()
    }

    /// The directions that may be reported now.
    pub(super) fn ready(&self, world: &World) -> (bool, bool) {
        self.registration.map_or((false, false), |registration| {
            (
                registration.read && self.is_readable(),
                registration.write && self.is_writable(world),
            )
        })
    }

    /// Whether a short read proves nothing.
    pub(super) fn reads_on(&self) -> bool {
        self.fin || self.broken.is_some() || self.urgent.is_some_and(|at| at >= self.consumed)
    }

    /// What this call found moves the clock of its timeout.
    pub(super) fn moved(&mut self, now: u64) {
        self.waits = Waits::Read;
        self.since = now;
    }

    /// A wait for the same goes on, another one starts.
    pub(super) fn waits_for(&mut self, what: Waits, now: u64) {
        if self.waits != what {
            self.waits = what;
            self.since = now;
        }
    }

    /// Something has arrived, or there is room again.
    pub(super) fn news(&mut self, selector: Selector, read: bool, write: bool) {
        if let (Selector::Edge, Some(registration)) = (selector, &mut self.registration) {
            registration.read |= read;
            registration.write |= write;
        }
    }

    pub(super) fn inbound_room(&self, world: &World) -> usize {
        world.receive_queue.saturating_sub(self.unread() as usize)
    }

    pub(super) fn can_send(&self, world: &World) -> bool {
        self.link == Link::Closed || self.inbound_room(world) > 0
    }

    pub(super) fn left_of_action(&self) -> u64 {
        let whole = match self.script.get(self.at) {
            Some(Action::Send(n) | Action::Read(n)) => u64::from(*n),
            _ => 1,
        };
        whole - self.done
    }

    /// So much of the action is done.
    pub(super) fn did(&mut self, n: u64) {
        self.done += n;
        if self.left_of_action() == 0 {
            self.next_action();
        }
    }

    pub(super) fn next_action(&mut self) {
        self.at += 1;
        self.done = 0;
    }
}

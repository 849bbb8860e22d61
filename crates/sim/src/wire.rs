//! A connection as the kernels of both ends hold it.
//!
//! Streams are counters: the bytes are a function of peer and offset. Decides nothing and schedules nothing.

use std::io::ErrorKind;

use crate::script::{Selector, World};

/// The connection of one peer: its two streams, its socket on the server's side, and that socket's registration.
///
/// All offsets count from the beginning of a stream, all times are milliseconds since the beginning of the run.
#[derive(Debug)]
pub struct Wire {
    /// How far the connection has come on the server's side.
    pub link: Link,
    /// Bytes that the peer has sent.
    pub sent: u64,
    /// Bytes of these that the server has read.
    pub consumed: u64,
    /// Bytes that the server has written.
    pub written: u64,
    /// Bytes of these that the peer has read.
    pub got: u64,
    /// Whether the peer has ended its stream.
    pub fin: bool,
    /// Whether the server has ended its stream.
    pub shut_down: bool,
    /// Where the last urgent byte lies in the peer's stream.
    pub urgent: Option<u64>,
    /// The error that has ended the connection.
    pub broken: Option<ErrorKind>,
    /// Whether a call has returned that error. From then on reads find the end, and writes `EPIPE`.
    pub error_is_told: bool,
    /// Whether the peer's socket is closed: the kernel takes a write, and the answer is a reset.
    pub deaf: bool,
    /// Whether the server's side has reset the connection.
    pub reset_by_server: bool,
    /// Whether the server's close is to reset the connection (`SO_LINGER` of 0).
    pub reset_on_close: bool,
    /// Whether the pipe has failed with bytes of this connection inside.
    pub lost_in_the_pipe: bool,
    /// The registration of the server's socket with the selector.
    pub registration: Option<Registration>,
    /// Whether a write has found no room, so that room is news.
    pub wants_room: bool,
    /// By how much the send queue has grown.
    pub grown: usize,
    /// When the peer last acknowledged bytes, or when the server's kernel last came to hold bytes after it had held
    /// none.
    pub acknowledged_at: u64,
    /// Since when the server's kernel has held bytes without a pause.
    pub outstanding_since: u64,
    /// How long the server's kernel then goes on (`TCP_USER_TIMEOUT`), in milliseconds.
    pub patience: Option<u64>,
}

/// How far a connection has come on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The peer has not connected yet.
    None,
    /// It waits in a backlog.
    Waiting,
    /// The server has accepted it.
    Open,
    /// The server has closed it, or the listener that it waited at.
    Closed,
}

/// A stream's registration with the selector.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// The key that events carry.
    pub key: usize,
    /// Edge: there is news to read. Re-arm: it may be reported.
    pub read: bool,
    /// Edge: there is news of room. Re-arm: it may be reported.
    pub write: bool,
}

impl Wire {
    /// A connection that is not made yet.
    pub(crate) fn new() -> Wire {
        Wire {
            link: Link::None,
            sent: 0,
            consumed: 0,
            written: 0,
            got: 0,
            fin: false,
            shut_down: false,
            urgent: None,
            broken: None,
            error_is_told: false,
            deaf: false,
            reset_by_server: false,
            reset_on_close: false,
            lost_in_the_pipe: false,
            registration: None,
            wants_room: false,
            grown: 0,
            acknowledged_at: 0,
            outstanding_since: 0,
            patience: None,
        }
    }

    /// How many bytes the server's kernel holds of what the peer sent.
    pub fn unread(&self) -> u64 {
        self.sent - self.consumed
    }

    /// How many bytes it holds of what the server wrote.
    pub fn untaken(&self) -> u64 {
        self.written - self.got
    }

    /// How many bytes a write can move.
    pub fn room(&self, world: &World) -> usize {
        (world.send_queue + self.grown).saturating_sub(self.untaken() as usize)
    }

    /// Whether a read would find bytes, the end of the stream or an error.
    pub fn is_readable(&self) -> bool {
        self.unread() > 0 || self.fin || self.broken.is_some()
    }

    /// Whether the selector would call it writable.
    pub fn is_writable(&self, world: &World) -> bool {
        self.room(world) >= world.writable_at || self.broken.is_some()
    }

    /// Whether nothing is left for the server to do but to close the socket, and it has not.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.link == Link::Open && (self.fin || self.broken.is_some())
    }

    /// The directions that may be reported now: to read, to write.
    pub(crate) fn ready(&self, world: &World) -> (bool, bool) {
        self.registration.map_or((false, false), |registration| {
            (
                registration.read && self.is_readable(),
                registration.write && self.is_writable(world),
            )
        })
    }

    /// Whether a short read proves nothing: the end, an error or an urgent byte lies behind it.
    pub(crate) fn reads_on(&self) -> bool {
        self.fin || self.broken.is_some() || self.urgent.is_some_and(|at| at >= self.consumed)
    }

    /// Something has arrived, or there is room again.
    pub(crate) fn news(&mut self, selector: Selector, read: bool, write: bool) {
        if let (Selector::Edge, Some(registration)) = (selector, &mut self.registration) {
            registration.read |= read;
            registration.write |= write;
        }
    }

    /// How many bytes the peer can send.
    pub(crate) fn inbound_room(&self, world: &World) -> usize {
        world.receive_queue.saturating_sub(self.unread() as usize)
    }

    /// Whether the peer can send. To a closed socket it can: the answer is a reset.
    pub(crate) fn can_send(&self, world: &World) -> bool {
        self.link == Link::Closed || self.inbound_room(world) > 0
    }
}

/// The byte that a peer sends at an offset: printable, for the trace, and different from its neighbours and from
/// other peers'.
pub fn byte_at(peer: usize, offset: u64) -> u8 {
    let mixed = (offset + 1 + peer as u64 * 1000).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    b'!' + (mixed % 94) as u8
}

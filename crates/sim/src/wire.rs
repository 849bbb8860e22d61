//! The state of one connection in the kernels of both ends.
//!
//! Streams are counters: each byte is a function of peer and offset. This module makes no decision and has no clock.

use std::io::ErrorKind;

use crate::script::{Selector, World};

/// The connection of one peer: its two streams, its socket on the server's side, and that socket's registration.
///
/// All offsets count from the start of a stream. All times are milliseconds since the start of the run.
#[derive(Debug)]
pub struct Wire {
    /// The state of the connection on the server's side.
    pub accept_state: AcceptState,
    /// The number of bytes that the peer has sent.
    pub sent: u64,
    /// The number of these bytes that the server has read.
    pub consumed: u64,
    /// The number of bytes that the server has written.
    pub written: u64,
    /// The number of these bytes that the peer has read, which acknowledges them.
    pub got: u64,
    /// Whether the peer has ended its stream.
    pub fin: bool,
    /// Whether the server has ended its stream.
    pub shut_down: bool,
    /// The offset of the last urgent byte in the peer's stream.
    pub urgent: Option<u64>,
    /// The error that has ended the connection.
    pub broken: Option<ErrorKind>,
    /// Whether a call has returned that error. Afterwards reads return the end of the stream, and writes `EPIPE`.
    pub error_is_reported: bool,
    /// Whether the peer has closed its socket. The server's kernel still accepts a write, and the answer is a reset.
    pub peer_closed: bool,
    /// Whether the server's side has reset the connection.
    pub reset_by_server: bool,
    /// Whether the server's close will reset the connection (`SO_LINGER` of 0).
    pub reset_on_close: bool,
    /// Whether a pipe has failed while it held bytes of this connection.
    pub lost_in_the_pipe: bool,
    /// The registration of the server's socket with the selector.
    pub registration: Option<Registration>,
    /// Whether a write has returned `WouldBlock`. When there is room again, the selector reports this as a new edge.
    pub wants_room: bool,
    /// The number of bytes by which the send queue has grown.
    pub grown: usize,
    /// The last time at which the peer acknowledged bytes or the send queue became non-empty.
    pub acknowledged_at: u64,
    /// The time since which the send queue has not been empty.
    pub outstanding_since: u64,
    /// How long bytes may stay unacknowledged before the server's kernel ends the connection (`TCP_USER_TIMEOUT`), in
    /// milliseconds.
    pub user_timeout: Option<u64>,
}

/// The state of a connection on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptState {
    /// The peer has not connected yet.
    None,
    /// The connection is in a backlog.
    Waiting,
    /// The server has accepted the connection.
    Open,
    /// The server has closed the connection, or the listener while the connection was in its backlog.
    Closed,
}

/// A stream's registration with the selector.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// The key that events carry.
    pub key: usize,
    /// With [`Selector::Edge`]: input has arrived and is not reported yet. With [`Selector::Rearm`]: the selector may
    /// report that the stream is readable.
    pub read: bool,
    /// With [`Selector::Edge`]: there is room again, and that is not reported yet. With [`Selector::Rearm`]: the
    /// selector may report that the stream is writable.
    pub write: bool,
}

impl Wire {
    /// A connection before the peer connects.
    pub(crate) fn new() -> Wire {
        Wire {
            accept_state: AcceptState::None,
            sent: 0,
            consumed: 0,
            written: 0,
            got: 0,
            fin: false,
            shut_down: false,
            urgent: None,
            broken: None,
            error_is_reported: false,
            peer_closed: false,
            reset_by_server: false,
            reset_on_close: false,
            lost_in_the_pipe: false,
            registration: None,
            wants_room: false,
            grown: 0,
            acknowledged_at: 0,
            outstanding_since: 0,
            user_timeout: None,
        }
    }

    /// The number of bytes in the server's receive queue.
    pub fn unread(&self) -> u64 {
        self.sent - self.consumed
    }

    /// The number of bytes in the server's send queue: written, and not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.written - self.got
    }

    /// The number of bytes that a write can move into the send queue.
    pub fn room(&self, world: &World) -> usize {
        (world.send_queue + self.grown).saturating_sub(self.unacknowledged() as usize)
    }

    /// Whether a read would return bytes, the end of the stream or an error.
    pub fn is_readable(&self) -> bool {
        self.unread() > 0 || self.fin || self.broken.is_some()
    }

    /// Whether the selector considers the stream writable.
    pub fn is_writable(&self, world: &World) -> bool {
        self.room(world) >= world.writable_at || self.broken.is_some()
    }

    /// Whether the connection has ended on the peer's side and the server has not closed its socket.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.accept_state == AcceptState::Open && (self.fin || self.broken.is_some())
    }

    /// The directions that the selector may report now: (readable, writable).
    pub(crate) fn ready(&self, world: &World) -> (bool, bool) {
        self.registration.map_or((false, false), |registration| {
            (
                registration.read && self.is_readable(),
                registration.write && self.is_writable(world),
            )
        })
    }

    /// Whether the end of the stream, an error or an urgent byte follows. Then a short read does not prove the receive
    /// queue empty.
    pub(crate) fn reads_on(&self) -> bool {
        self.fin || self.broken.is_some() || self.urgent.is_some_and(|at| at >= self.consumed)
    }

    /// Records new edges: input has arrived (`read`), or there is room again (`write`). A [`Selector::Rearm`] has no
    /// edges.
    pub(crate) fn new_edge(&mut self, selector: Selector, read: bool, write: bool) {
        if let (Selector::Edge, Some(registration)) = (selector, &mut self.registration) {
            registration.read |= read;
            registration.write |= write;
        }
    }

    /// The number of bytes that the peer can send: the room in the server's receive queue.
    pub(crate) fn inbound_room(&self, world: &World) -> usize {
        world.receive_queue.saturating_sub(self.unread() as usize)
    }

    /// Whether the peer can send. It can also send to a closed socket, and the answer is a reset.
    pub(crate) fn can_send(&self, world: &World) -> bool {
        self.accept_state == AcceptState::Closed || self.inbound_room(world) > 0
    }
}

/// Returns the byte that a peer sends at an offset of its stream.
///
/// The bytes are printable, for the trace. Neighbouring bytes usually differ, and so do the bytes of different peers.
pub fn byte_at(peer: usize, offset: u64) -> u8 {
    let mixed = (offset + 1 + peer as u64 * 1000).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    b'!' + (mixed % 94) as u8
}

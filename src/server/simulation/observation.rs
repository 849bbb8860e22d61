//! What the loop holds after a turn.

use net::poller::Poller;

use crate::server::event_loop::EventLoop;
use crate::server::table::Entry;

/// What the loop holds.
#[derive(Debug)]
pub(super) struct Observation {
    /// The entries of the table, in the order of their keys.
    pub(super) table: Vec<Observed>,
    /// Buffers of pending writes in use, and the bytes in them.
    pub(super) in_use: usize,
    pub(super) pending: usize,
    /// Free buffers.
    pub(super) free_buffers: usize,
}

/// An entry of the table.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) key: usize,
    pub(super) is_peer: bool,
}

/// Looks at everything that the loop holds.
pub(super) fn observe<P: Poller>(event_loop: &EventLoop<P>) -> Observation {
    let (table, pending_writes) = event_loop.holdings();
    Observation {
        table: table
            .entries()
            .map(|(key, entry)| Observed {
                key,
                is_peer: matches!(entry, Entry::Peer(_)),
            })
            .collect(),
        in_use: pending_writes.in_use(),
        pending: pending_writes.pending().0,
        free_buffers: pending_writes.free(),
    }
}

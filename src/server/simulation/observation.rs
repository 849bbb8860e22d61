//! A snapshot of the event loop's table and buffers after a turn.

use net::poller::Poller;

use crate::server::event_loop::EventLoop;
use crate::server::table::Entry;

/// A snapshot of the event loop's table and buffers.
#[derive(Debug)]
pub(super) struct Observation {
    /// The entries of the table, in the order of their keys.
    pub(super) table: Vec<Observed>,
    /// The number of pending-write buffers in use.
    pub(super) in_use: usize,
    /// The number of bytes in these buffers.
    pub(super) pending: usize,
    /// The number of free pending-write buffers.
    pub(super) free_buffers: usize,
}

/// An entry of the table.
#[derive(Debug)]
pub(super) struct Observed {
    /// The key of the entry, under which its socket is registered.
    pub(super) key: usize,
    /// Whether it is a connection; otherwise it is a listener.
    pub(super) is_peer: bool,
}

/// Takes the snapshot of an event loop.
pub(super) fn observe<P: Poller>(event_loop: &EventLoop<P>) -> Observation {
    let (table, pending_writes) = event_loop.holdings();
    Observation {
        table: table
            .entries()
            .map(|(key, entry)| Observed {
                key,
                is_peer: matches!(entry, Entry::Accepted(_)),
            })
            .collect(),
        in_use: pending_writes.in_use(),
        pending: pending_writes.pending().0,
        free_buffers: pending_writes.free(),
    }
}

//! The loop as a test sees it after a turn. Compiled for tests and fuzzing only.

use super::EventLoop;
use crate::poller::Poller;
use crate::server::table::Entry;

/// What the loop holds.
#[derive(Debug)]
pub(crate) struct Observation {
    /// What lies in the table, in the order of the keys.
    pub(crate) table: Vec<Observed>,
    /// Spills that are lent, and the bytes in them.
    pub(crate) spills_lent: usize,
    pub(crate) pending: usize,
    /// Spills that are free.
    pub(crate) spills_free: usize,
}

/// An entry of the table.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) key: usize,
    pub(crate) is_peer: bool,
}

impl<P: Poller> EventLoop<P> {
    pub(crate) fn observe(&self) -> Observation {
        let entries = self.table.entries();
        Observation {
            table: entries
                .map(|(key, entry)| Observed {
                    key,
                    is_peer: matches!(entry, Entry::Peer(_)),
                })
                .collect(),
            spills_lent: self.buffers.spills.lent(),
            pending: self.buffers.spills.pending().0,
            spills_free: self.buffers.spills.free(),
        }
    }
}

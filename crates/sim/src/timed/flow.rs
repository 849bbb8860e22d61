//! One direction of a connection: send buffer, link, receive queue.

use std::collections::VecDeque;

/// One direction of a connection. It makes no decision: the [`Network`](super::Network) moves the bytes.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The bytes that have left the sender's program and have not arrived, oldest first.
    pub(super) under_way: VecDeque<u8>,
    /// How many of them, at the back, have not left the send buffer, because the receive buffer has no room.
    pub(super) held: usize,
    /// The receive queue: bytes that have arrived and are not read.
    pub(super) queue: VecDeque<u8>,
    /// The bytes of the receive buffer that are in use, as far as the sender knows.
    pub(super) in_use: usize,
    /// The bytes of the send buffer that are in use: they are not acknowledged.
    pub(super) unacknowledged: usize,
    /// Acknowledgements: when each reaches the sender, and the number of bytes.
    pub(super) acknowledgements: VecDeque<(u64, usize)>,
    /// Reads of the receiver: when the sender learns of each, and the number of bytes.
    pub(super) reads: VecDeque<(u64, usize)>,
    /// When the link can take the next byte.
    pub(super) link_free_ns: u64,
    /// Whether a write has returned `WouldBlock`, and no event has reported room since.
    pub(super) wants_room: bool,
    /// Whether the sender has ended the stream.
    pub(super) is_ended: bool,
    /// Whether the end is on its way.
    pub(super) end_left: bool,
    /// Whether the end has arrived.
    pub(super) end_arrived: bool,
}

impl Flow {
    /// Handles the acknowledgements that have reached the sender.
    pub(super) fn acknowledge(&mut self, now_ns: u64) {
        while let Some((at_ns, n)) = self.acknowledgements.front()
            && *at_ns <= now_ns
        {
            self.unacknowledged -= n;
            self.acknowledgements.pop_front();
        }
    }

    /// Handles the reads that the sender has learned of.
    pub(super) fn note_reads(&mut self, now_ns: u64) {
        while let Some((at_ns, n)) = self.reads.front()
            && *at_ns <= now_ns
        {
            self.in_use -= n;
            self.reads.pop_front();
        }
    }

    /// Moves `n` bytes from the link into the receive queue.
    pub(super) fn arrive(&mut self, n: usize) {
        self.queue.extend(self.under_way.drain(..n));
    }

    /// Copies bytes of the receive queue into a buffer and returns their number.
    pub(super) fn copy(&self, buffer: &mut [u8]) -> usize {
        let n = self.queue.len().min(buffer.len());
        let (front, back) = self.queue.as_slices();
        let first = front.len().min(n);
        buffer[..first].copy_from_slice(&front[..first]);
        buffer[first..n].copy_from_slice(&back[..n - first]);
        n
    }
}

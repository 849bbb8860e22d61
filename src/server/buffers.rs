//! The memory of the loop: one buffer for all reads, one pipe for bulk, and the pending writes.
//!
//! The memory budget bounds all pending writes together. This module performs no socket I/O.

#![allow(
    clippy::indexing_slicing,
    reason = "a pending write is at most one read, and so are the bytes in the pipe; `written` is at most `length`"
)]

use std::io;
use std::sync::Arc;

use super::memory::Memory;
use super::quota::Quota;
use net::pipe::Pipe;

/// The buffers that all connections of one loop share.
#[derive(Debug)]
pub(crate) struct Buffers<P> {
    /// The buffer of all reads. The bytes are written back from this buffer too. Only bytes that the kernel does not
    /// accept are copied out of it.
    pub(crate) scratch: Box<[u8]>,
    /// The pipe for bulk, empty between two passes; `None` if splicing is off.
    pub(crate) pipe: Option<P>,
    /// A connection may be spliced after reads that filled the buffer have returned this many bytes in one turn.
    pub(crate) splice_threshold: usize,
    /// The bytes that the kernel did not accept.
    pub(crate) pending_writes: PendingWrites,
}

/// The buffers of pending writes, in use and free, and the budget that bounds the buffers in use.
///
/// Free buffers are reused, which saves system calls when peers stall one after another. Buffers that were unused for a
/// while go back to the system. Otherwise the server would keep the memory of its highest load.
#[derive(Debug)]
pub(crate) struct PendingWrites {
    #[expect(
        clippy::vec_box,
        reason = "a table entry stores only a pointer to its pending write"
    )]
    free: Vec<Box<PendingWrite>>,
    /// The smallest value that the number of free buffers has had since the last
    /// [`begin_to_trim`](PendingWrites::begin_to_trim). This number of buffers was not needed since then.
    least_free: usize,
    /// The number of free buffers that [`trim`](PendingWrites::trim) must still free.
    surplus: usize,
    /// The size of each buffer, in bytes: the size of a read.
    capacity: usize,
    /// The number of buffers in use.
    in_use: usize,
    /// The budget: the number of buffers that all loops of the server may have in use.
    budget: Arc<Quota>,
    /// Whether the next pending write has its part of the budget already. So the budget, which other threads share, is
    /// touched only when a buffer is acquired or released, and not before each read.
    is_reserved: bool,
    /// The number of bytes in pending writes that are not written yet.
    pending: usize,
    /// The highest value that `pending` has had.
    peak: usize,
}

/// The bytes of one connection's echo that the kernel did not accept. At most one read, because the connection does not
/// read again before they are written.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    /// The buffer, as large as a read.
    memory: Memory,
    /// The number of bytes in the buffer, from its start.
    length: usize,
    /// The number of these bytes that the kernel has accepted.
    written: usize,
}

impl<P: Pipe> Buffers<P> {
    /// Creates the buffers, without a pipe. `read` is the size of a read and of each pending write, in bytes; 0 counts
    /// as 1. `budget` is the number of pending writes that may be in use, of all loops together.
    pub(crate) fn new(read: usize, budget: Arc<Quota>) -> Buffers<P> {
        let capacity = read.max(1);
        Buffers {
            scratch: vec![0; capacity].into_boxed_slice(),
            pipe: None,
            splice_threshold: usize::MAX,
            pending_writes: PendingWrites {
                free: Vec::new(),
                least_free: 0,
                surplus: 0,
                capacity,
                in_use: 0,
                budget,
                is_reserved: false,
                pending: 0,
                peak: 0,
            },
        }
    }

    /// Turns splicing on: bulk goes through `pipe`, for connections that have reached `threshold` bytes (see
    /// [`splice_threshold`](Buffers::splice_threshold)).
    pub(crate) fn use_pipe(&mut self, pipe: P, threshold: usize) {
        self.pipe = Some(pipe);
        self.splice_threshold = threshold;
    }

    /// Moves the `left` bytes that the pipe still holds into a pending write. They are at most one read.
    ///
    /// # Errors
    /// Those of the pipe. The bytes are then lost, and splicing is off.
    pub(crate) fn take_from_pipe(&mut self, left: usize) -> io::Result<Box<PendingWrite>> {
        self.empty_the_pipe(left)?;
        Ok(self.pending_writes.acquire(&self.scratch[..left]))
    }

    /// Reads the `left` bytes that the pipe still holds, so that they are not sent to another peer.
    ///
    /// # Errors
    /// Those of the pipe. The pipe is then closed and splicing is off: bulk is read and written from then on.
    pub(crate) fn empty_the_pipe(&mut self, left: usize) -> io::Result<()> {
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };
        let threshold = std::mem::replace(&mut self.splice_threshold, usize::MAX);
        let mut taken = 0;
        while taken < left {
            match pipe.read(&mut self.scratch[taken..left]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.use_pipe(pipe, threshold);
        Ok(())
    }
}

impl PendingWrites {
    /// Returns true if the budget allows one more pending write, and reserves it. The connection asks before each read,
    /// because it must store the bytes of the read if the kernel does not accept them.
    ///
    /// The budget counts whole buffers in use, not the bytes in them. It does not count free buffers. So with several
    /// loops, the memory can exceed the budget until [`trim`](PendingWrites::trim) has freed them.
    pub(crate) fn has_room(&mut self) -> bool {
        self.is_reserved = self.is_reserved || self.budget.take();
        self.is_reserved
    }

    /// Acquires a buffer and copies `bytes` into it: at most one read. [`has_room`](PendingWrites::has_room) has
    /// reserved it.
    #[inline]
    pub(crate) fn acquire(&mut self, bytes: &[u8]) -> Box<PendingWrite> {
        let mut pending = self
            .free
            .pop()
            .unwrap_or_else(|| PendingWrite::new(self.capacity));
        self.least_free = self.least_free.min(self.free.len());
        pending.memory[..bytes.len()].copy_from_slice(bytes);
        pending.length = bytes.len();
        self.in_use += 1;
        self.is_reserved = false;
        self.pending += bytes.len();
        self.peak = self.peak.max(self.pending);
        pending
    }

    /// Records that the kernel accepted `n` bytes of a pending write.
    pub(crate) fn wrote(&mut self, pending: &mut PendingWrite, n: usize) {
        pending.written += n;
        self.pending -= n;
    }

    /// Releases the buffer of a pending write, whether its bytes are written or not.
    #[inline]
    pub(crate) fn release(&mut self, mut pending: Box<PendingWrite>) {
        self.in_use -= 1;
        if self.is_reserved {
            self.budget.release();
        }
        // Otherwise its part of the budget is reserved for the next pending write. So a connection that stalls again
        // and again touches the shared number only once.
        self.is_reserved = true;
        self.pending -= pending.length - pending.written;
        (pending.length, pending.written) = (0, 0);
        self.free.push(pending);
    }

    /// Marks the buffers that were unused since the last call: [`trim`](PendingWrites::trim) frees them. The loop calls
    /// this at a fixed interval.
    pub(crate) fn begin_to_trim(&mut self) {
        self.surplus = self.least_free;
        self.least_free = self.free.len();
    }

    /// Frees a few of the marked buffers. Each takes a system call, so to free all at once would delay the connections.
    pub(crate) fn trim(&mut self) {
        let some = self.surplus.min(TRIMMED_AT_ONCE);
        self.surplus -= some;
        self.free.truncate(self.free.len().saturating_sub(some));
        self.least_free = self.least_free.min(self.free.len());
    }

    /// Returns true if [`PendingWrites::trim`] has more buffers to free.
    pub(crate) fn is_trimming(&self) -> bool {
        self.surplus > 0 && !self.free.is_empty()
    }

    /// Returns the number of free buffers.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// Returns the number of buffers in use.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Returns the number of unwritten bytes in pending writes now, and the highest such number so far.
    pub(crate) fn pending(&self) -> (usize, usize) {
        (self.pending, self.peak)
    }
}

impl PendingWrite {
    fn new(capacity: usize) -> Box<PendingWrite> {
        Box::new(PendingWrite {
            memory: Memory::new(capacity),
            length: 0,
            written: 0,
        })
    }

    /// Returns true if the kernel has accepted all bytes.
    pub(crate) fn is_written(&self) -> bool {
        self.written == self.length
    }

    /// Returns the bytes that are not written yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.memory[self.written..self.length]
    }
}

/// The number of buffers that one call of [`PendingWrites::trim`] frees. Each takes about 5 µs.
const TRIMMED_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn pending_writes() -> PendingWrites {
        Buffers::<crate::server::scripted::Bytes>::new(8, Arc::new(Quota::new(100))).pending_writes
    }

    #[test]
    fn two_loops_share_the_budget() {
        let budget = Arc::new(Quota::new(2));
        let mut loops = [(); 2].map(|()| {
            Buffers::<crate::server::scripted::Bytes>::new(8, budget.clone()).pending_writes
        });
        assert!(loops[0].has_room() && loops[1].has_room());
        let pending = loops[0].acquire(b"pending");
        // The second part of the budget is reserved for the other loop.
        assert!(!loops[0].has_room() && loops[1].has_room());
        let other = loops[1].acquire(b"pending");
        assert!(!loops[1].has_room());
        // Each loop keeps one part for its next pending write, and releases the others.
        loops[0].release(pending);
        assert!(loops[0].has_room() && !loops[1].has_room());
        loops[1].release(other);
        assert!(loops[1].has_room());
        assert_eq!(budget.in_use(), 2);
        let budget = Arc::new(Quota::new(3));
        let mut alone =
            Buffers::<crate::server::scripted::Bytes>::new(8, budget.clone()).pending_writes;
        let two = [(); 2].map(|()| {
            assert!(alone.has_room());
            alone.acquire(b"pending")
        });
        assert_eq!(budget.in_use(), 2);
        for pending in two {
            alone.release(pending);
        }
        assert_eq!(budget.in_use(), 1);
    }

    fn use_and_release(pending_writes: &mut PendingWrites, n: usize) {
        let acquire = |_| {
            assert!(pending_writes.has_room());
            pending_writes.acquire(b"pending")
        };
        let in_use: Vec<_> = (0..n).map(acquire).collect();
        for pending in in_use {
            pending_writes.release(pending);
        }
    }

    #[test]
    fn trim_frees_unused_buffers_and_keeps_used_ones() {
        let mut pending_writes = pending_writes();
        use_and_release(&mut pending_writes, 10);
        // All ten have been in use since the start, so none is freed.
        pending_writes.begin_to_trim();
        pending_writes.trim();
        assert_eq!(pending_writes.free(), 10);
        use_and_release(&mut pending_writes, 3);
        pending_writes.begin_to_trim();
        assert!(pending_writes.is_trimming());
        pending_writes.trim();
        assert_eq!(pending_writes.free(), 3);
        pending_writes.begin_to_trim();
        pending_writes.trim();
        assert_eq!(pending_writes.free(), 0);
        assert!(!pending_writes.is_trimming());
    }

    #[test]
    fn trim_frees_a_limited_number_at_once() {
        let mut pending_writes = pending_writes();
        use_and_release(&mut pending_writes, 2 * TRIMMED_AT_ONCE + 1);
        pending_writes.begin_to_trim();
        pending_writes.begin_to_trim();
        for left in [TRIMMED_AT_ONCE + 1, 1, 0] {
            assert!(pending_writes.is_trimming());
            pending_writes.trim();
            assert_eq!(pending_writes.free(), left);
        }
        assert!(!pending_writes.is_trimming());
    }

    #[test]
    fn trim_keeps_buffers_that_are_in_use_again() {
        let mut pending_writes = pending_writes();
        use_and_release(&mut pending_writes, TRIMMED_AT_ONCE + 2);
        pending_writes.begin_to_trim();
        pending_writes.begin_to_trim();
        pending_writes.trim();
        assert_eq!(pending_writes.free(), 2);
        let in_use = [b"a", b"b"].map(|byte| {
            assert!(pending_writes.has_room());
            pending_writes.acquire(byte)
        });
        assert!(!pending_writes.is_trimming());
        pending_writes.trim();
        assert!(in_use.iter().all(|pending| pending.rest().len() == 1));
    }
}

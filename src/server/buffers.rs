//! The loop's memory: one buffer for every read, one pipe for bulk, and the pending writes of peers that do not read.
//!
//! Knows sizes and the budget. Touches no socket.

#![allow(
    clippy::indexing_slicing,
    reason = "a pending write has written at most its length, and is at most one read; so is what the pipe holds"
)]

use std::io;

use super::memory::Memory;
use net::pipe::Pipe;

/// The buffers that all connections of one loop share.
#[derive(Debug)]
pub(crate) struct Buffers<P> {
    /// Every read is into this buffer. What the kernel takes back at once never leaves it.
    pub(crate) scratch: Box<[u8]>,
    /// Bulk goes through this instead, if there is one. Empty between two rounds.
    pub(crate) pipe: Option<P>,
    /// Bytes of reads that filled the buffer after which a connection may be spliced.
    pub(crate) splice_threshold: usize,
    /// What the kernel does not take.
    pub(crate) pending_writes: PendingWrites,
}

/// The buffers of pending writes, in use and free, and the budget that bounds them.
///
/// Free buffers save system calls when peers stall one after another. Buffers that lay unused for a while go back to the system,
/// or the memory of the worst moment would be kept.
#[derive(Debug)]
pub(crate) struct PendingWrites {
    // Boxed, as a table entry has room for a pointer only.
    #[allow(clippy::vec_box)]
    free: Vec<Box<PendingWrite>>,
    /// The fewest that were free at once since [`PendingWrites::begin_to_trim`].
    least_free: usize,
    /// How many of the free ones still have to go back.
    surplus: usize,
    /// The size of a buffer: that of a read.
    capacity: usize,
    /// Buffers in use.
    in_use: usize,
    /// The most that may be in use: the budget.
    most: usize,
    /// Bytes in the buffers in use.
    pending: usize,
    /// The most bytes that were ever in use.
    peak: usize,
}

/// What the kernel did not take of one peer's echo. The peer is not read before it is written, so it is at most one read.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    /// As large as a read.
    memory: Memory,
    /// How many bytes of the memory hold data.
    length: usize,
    /// Bytes of these that the kernel has taken.
    written: usize,
}

impl<P: Pipe> Buffers<P> {
    /// `read` is the size of a read and of each pending write, in bytes, at least 1; all pending writes together take at most
    /// `budget` bytes.
    pub(crate) fn new(read: usize, budget: usize) -> Buffers<P> {
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
                most: budget / capacity,
                pending: 0,
                peak: 0,
            },
        }
    }

    /// Sends bulk by this pipe: what follows `bulk` bytes that came without a gap.
    pub(crate) fn use_pipe(&mut self, pipe: P, threshold: usize) {
        self.pipe = Some(pipe);
        self.splice_threshold = threshold;
    }

    /// Empties the pipe of its last `left` bytes, at most one read of them, into a pending write.
    ///
    /// # Errors
    /// The pipe's. They are lost then, and the pipe is given up.
    pub(crate) fn drain_the_pipe(&mut self, left: usize) -> io::Result<Box<PendingWrite>> {
        self.empty_the_pipe(left)?;
        Ok(self.pending_writes.acquire(&self.scratch[..left]))
    }

    /// Empties the pipe of its last `left` bytes, so that they do not become another peer's.
    ///
    /// # Errors
    /// The pipe's. It is given up then: bulk is read and written from there on.
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
    /// Whether one more pending write fits the budget. Asked before a read, as afterwards it would be too late.
    ///
    /// Counted in whole buffers, so that the budget bounds the memory itself and not only the bytes in it.
    pub(crate) fn has_room(&self) -> bool {
        self.in_use < self.most
    }

    /// Keeps `bytes`, at most one read of them.
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
        self.pending += bytes.len();
        self.peak = self.peak.max(self.pending);
        pending
    }

    /// Notes that the kernel took `n` bytes of a pending write.
    pub(crate) fn wrote(&mut self, pending: &mut PendingWrite, n: usize) {
        pending.written += n;
        self.pending -= n;
    }

    /// Takes back the buffer of a pending write, written or not.
    #[inline]
    pub(crate) fn release(&mut self, mut pending: Box<PendingWrite>) {
        self.in_use -= 1;
        self.pending -= pending.length - pending.written;
        (pending.length, pending.written) = (0, 0);
        self.free.push(pending);
    }

    /// Those that lay unused since this was last called are to go back to the system. Called once in a while.
    pub(crate) fn begin_to_trim(&mut self) {
        self.surplus = self.least_free;
        self.least_free = self.free.len();
    }

    /// Gives back a few of them: to return all at once, each a system call, would hold up the peers.
    pub(crate) fn trim(&mut self) {
        let some = self.surplus.min(TRIMMED_AT_ONCE);
        self.surplus -= some;
        self.free.truncate(self.free.len().saturating_sub(some));
        self.least_free = self.least_free.min(self.free.len());
    }

    /// Whether [`PendingWrites::trim`] has more to do.
    pub(crate) fn is_trimming(&self) -> bool {
        self.surplus > 0 && !self.free.is_empty()
    }

    /// How many are free now.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// How many are in use now.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes in pending writes now, and the most there ever were.
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

    /// Whether nothing is left to be written.
    pub(crate) fn is_written(&self) -> bool {
        self.written == self.length
    }

    /// What is still to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.memory[self.written..self.length]
    }
}

/// Some 5 µs each.
const TRIMMED_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn pending_writes() -> PendingWrites {
        Buffers::<crate::server::scripted::Bytes>::new(8, usize::MAX).pending_writes
    }

    fn use_and_release(pending_writes: &mut PendingWrites, n: usize) {
        let in_use: Vec<_> = (0..n).map(|_| pending_writes.acquire(b"pending")).collect();
        for pending in in_use {
            pending_writes.release(pending);
        }
    }

    #[test]
    fn what_lay_unused_goes_back_and_what_is_used_stays() {
        let mut pending_writes = pending_writes();
        use_and_release(&mut pending_writes, 10);
        // They were made meanwhile, so none of them lay unused.
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
    fn many_go_back_a_few_at_a_time() {
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
    fn those_in_use_again_meanwhile_stay() {
        let mut pending_writes = pending_writes();
        use_and_release(&mut pending_writes, TRIMMED_AT_ONCE + 2);
        pending_writes.begin_to_trim();
        pending_writes.begin_to_trim();
        pending_writes.trim();
        assert_eq!(pending_writes.free(), 2);
        let in_use = [pending_writes.acquire(b"a"), pending_writes.acquire(b"b")];
        assert!(!pending_writes.is_trimming());
        pending_writes.trim();
        assert!(in_use.iter().all(|pending| pending.rest().len() == 1));
    }
}

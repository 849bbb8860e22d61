//! The loop's memory: one scratch buffer for every read, one pipe for bulk, and the spill buffers of those who do not
//! read.
//!
//! Knows sizes and the budget. Touches no socket.

use std::io;

use crate::pipe::Pipe;

/// The buffers that all connections of one loop share.
#[derive(Debug)]
pub(crate) struct Buffers<P> {
    /// Where every read lands. What the kernel takes back at once never leaves it.
    pub(crate) scratch: Box<[u8]>,
    /// Where bulk goes instead, if there is one. Empty between two rounds.
    pub(crate) pipe: Option<P>,
    /// From how many bytes on, of which each read found the buffer full, the pipe is worth its calls.
    pub(crate) bulk: usize,
    /// Where the rest goes.
    pub(crate) spills: Spills,
}

/// The spill buffers, lent and free, and the budget that bounds them.
#[derive(Debug)]
pub(crate) struct Spills {
    // Boxed, as a table entry has room for a pointer and not for a spill.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Spill>>,
    capacity: usize,
    lent: usize,
    most: usize,
    pending: usize,
    peak: usize,
}

/// What the kernel would not take of one peer's echo. The peer is not read again before it is empty, so it never
/// holds more than one read.
#[derive(Debug)]
pub(crate) struct Spill {
    bytes: Vec<u8>,
    written: usize,
}

impl<P: Pipe> Buffers<P> {
    /// `read` is the size of a read in bytes, at least 1, and so of a spill; all spills together take at most
    /// `budget` bytes.
    pub(crate) fn new(read: usize, budget: usize) -> Buffers<P> {
        let capacity = read.max(1);
        Buffers {
            scratch: vec![0; capacity].into_boxed_slice(),
            pipe: None,
            bulk: usize::MAX,
            spills: Spills {
                free: Vec::new(),
                capacity,
                lent: 0,
                most: budget / capacity,
                pending: 0,
                peak: 0,
            },
        }
    }

    /// Sends bulk by this pipe: what follows `bulk` bytes that came without a gap.
    pub(crate) fn use_pipe(&mut self, pipe: P, bulk: usize) {
        self.pipe = Some(pipe);
        self.bulk = bulk;
    }

    /// Empties the pipe of its last `left` bytes, at most one read of them, into a spill.
    ///
    /// # Errors
    /// The pipe's. They are lost then, and the pipe is given up.
    pub(crate) fn spill_the_pipe(&mut self, left: usize) -> io::Result<Box<Spill>> {
        self.empty_the_pipe(left)?;
        Ok(self.spills.keep(&self.scratch[..left]))
    }

    /// Empties the pipe of its last `left` bytes, so that they do not become somebody else's.
    ///
    /// # Errors
    /// The pipe's. It is given up then: bulk is read and written from there on.
    pub(crate) fn empty_the_pipe(&mut self, left: usize) -> io::Result<()> {
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };
        let mut taken = 0;
        while taken < left {
            match pipe.read(&mut self.scratch[taken..left]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pipe = Some(pipe);
        Ok(())
    }
}

impl Spills {
    /// Whether one more spill fits the budget. Asked before a read, as afterwards it would be too late.
    ///
    /// Counted in whole buffers, so that the budget bounds the memory itself and not only the bytes in it.
    pub(crate) fn has_room(&self) -> bool {
        planted!(SpillBeyondTheBudget => return true);
        self.lent < self.most
    }

    /// Keeps `bytes`, at most one read of them.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Box<Spill> {
        let mut spill = self.free.pop().unwrap_or_else(|| {
            Box::new(Spill {
                bytes: Vec::with_capacity(self.capacity),
                written: 0,
            })
        });
        spill.bytes.extend_from_slice(bytes);
        self.lent += 1;
        self.pending += bytes.len();
        self.peak = self.peak.max(self.pending);
        spill
    }

    /// Puts `bytes` behind what is pending already: what nobody should ever have to do.
    #[cfg(test)]
    pub(crate) fn keep_behind(&mut self, pending: &mut Option<Box<Spill>>, bytes: &[u8]) -> bool {
        let Some(older) = pending.take() else {
            return false;
        };
        let both = [older.rest(), bytes].concat();
        self.give_back(older);
        *pending = Some(self.keep(&both));
        true
    }

    /// Notes that the kernel took `n` bytes of a spill.
    pub(crate) fn wrote(&mut self, spill: &mut Spill, n: usize) {
        spill.written += n;
        self.pending -= n;
    }

    /// Takes a spill back, written out or not.
    pub(crate) fn give_back(&mut self, mut spill: Box<Spill>) {
        self.lent -= 1;
        self.pending -= spill.rest().len();
        if self.free.len() < MOST_FREE {
            spill.bytes.clear();
            spill.written = 0;
            self.free.push(spill);
        }
    }

    /// How many are lent now.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }

    /// Bytes in spills now, and the most there ever were.
    pub(crate) fn pending(&self) -> (usize, usize) {
        (self.pending, self.peak)
    }
}

impl Spill {
    /// What is still to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }
}

/// Buffers kept for the next spill. A few save the allocator's work when peers spill in turn; all of them would hold
/// on to the memory of the worst moment for ever.
const MOST_FREE: usize = 16;

//! The loop's memory: one scratch buffer for every read, one pipe for bulk, and the spill buffers of those who do not
//! read.
//!
//! Knows sizes and the budget. Touches no socket.

use std::io;

use super::room::Room;
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
///
/// Free ones save the system's work when peers spill in turn. What lay unused for a while goes back to the system, or the
/// worst moment would be kept for ever.
#[derive(Debug)]
pub(crate) struct Spills {
    // Boxed, as a table entry has room for a pointer and not for a spill.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Spill>>,
    /// The fewest that were free at once since [`Spills::begin_to_trim`].
    least_free: usize,
    /// How many of the free ones are still to go back.
    surplus: usize,
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
    room: Room,
    /// What of the room is in use, and how much of that was written.
    length: usize,
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
                least_free: 0,
                surplus: 0,
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
        let mut spill = self.free.pop().unwrap_or_else(|| Spill::new(self.capacity));
        self.least_free = self.least_free.min(self.free.len());
        spill.room[..bytes.len()].copy_from_slice(bytes);
        spill.length = bytes.len();
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
        let mut spill = Spill::new(both.len());
        spill.room.copy_from_slice(&both);
        spill.length = both.len();
        self.lent += 1;
        self.pending += both.len();
        *pending = Some(spill);
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
        (spill.length, spill.written) = (0, 0);
        self.free.push(spill);
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

    /// Whether [`Spills::trim`] has more to do.
    pub(crate) fn is_trimming(&self) -> bool {
        self.surplus > 0 && !self.free.is_empty()
    }

    /// How many are free now.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
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
    fn new(capacity: usize) -> Box<Spill> {
        Box::new(Spill {
            room: Room::new(capacity),
            length: 0,
            written: 0,
        })
    }

    /// What is still to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.room[self.written..self.length]
    }
}

/// Some 5 µs each.
const TRIMMED_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn spills() -> Spills {
        Buffers::<std::collections::VecDeque<u8>>::new(8, usize::MAX).spills
    }

    fn lend(spills: &mut Spills, n: usize) {
        let lent: Vec<_> = (0..n).map(|_| spills.keep(b"pending")).collect();
        for spill in lent {
            spills.give_back(spill);
        }
    }

    #[test]
    fn what_lay_unused_goes_back_and_what_is_used_stays() {
        let mut spills = spills();
        lend(&mut spills, 10);
        // They were made meanwhile, so none of them lay unused.
        spills.begin_to_trim();
        spills.trim();
        assert_eq!(spills.free(), 10);
        lend(&mut spills, 3);
        spills.begin_to_trim();
        assert!(spills.is_trimming());
        spills.trim();
        assert_eq!(spills.free(), 3);
        spills.begin_to_trim();
        spills.trim();
        assert_eq!(spills.free(), 0);
        assert!(!spills.is_trimming());
    }

    #[test]
    fn many_go_back_a_few_at_a_time() {
        let mut spills = spills();
        lend(&mut spills, 2 * TRIMMED_AT_ONCE + 1);
        spills.begin_to_trim();
        spills.begin_to_trim();
        for left in [TRIMMED_AT_ONCE + 1, 1, 0] {
            assert!(spills.is_trimming());
            spills.trim();
            assert_eq!(spills.free(), left);
        }
        assert!(!spills.is_trimming());
    }

    #[test]
    fn those_that_are_lent_again_meanwhile_stay() {
        let mut spills = spills();
        lend(&mut spills, TRIMMED_AT_ONCE + 2);
        spills.begin_to_trim();
        spills.begin_to_trim();
        spills.trim();
        assert_eq!(spills.free(), 2);
        let lent = [spills.keep(b"a"), spills.keep(b"b")];
        assert!(!spills.is_trimming());
        spills.trim();
        assert!(lent.iter().all(|spill| spill.rest().len() == 1));
    }
}

//! The shrinking of a tape that causes a violation: the cuts that proptest tries.
//!
//! proptest itself shrinks a list of numbers only once: it removes single numbers, and then halves each of the rest.
//! A tape of hundreds of words stays long that way. Here the cuts remove whole ranges of words, or set them to zero,
//! which is the simplest choice. All cuts are repeated until none of them succeeds.

use proptest::strategy::ValueTree;

use crate::tape::Tape;

/// The state of the shrinking of one tape.
#[derive(Debug)]
pub(crate) struct Shrinking {
    /// The smallest tape so far that causes a violation.
    best: Tape,
    /// The same tape with the cut that is tried now.
    tried: Tape,
    /// The cuts of this repetition.
    cuts: Vec<Cut>,
    /// The index of the cut that is tried now.
    at: usize,
    /// Whether a cut of this repetition has succeeded.
    has_cut: bool,
}

/// One way to make a tape smaller.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Removes the words of a lane from the first index (inclusive) to the second (exclusive).
    Remove(Lane, usize, usize),
    /// Sets the words of this range to zero.
    Zero(Lane, usize, usize),
    /// Replaces the word at an index by a smaller number.
    Lessen(Lane, usize, u32),
}

/// A lane of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    World,
    Script,
    Schedule,
}

impl Shrinking {
    /// Starts with a tape that causes a violation.
    pub(crate) fn of(tape: Tape) -> Shrinking {
        Shrinking {
            cuts: cuts_of(&tape),
            tried: tape.clone(),
            best: tape,
            at: 0,
            has_cut: false,
        }
    }

    /// Chooses the next cut that changes the tape. Returns false if there is none.
    fn try_next(&mut self) -> bool {
        loop {
            if let Some(cut) = self.cuts.get(self.at) {
                self.tried = cut.of(&self.best);
                if self.tried != self.best {
                    return true;
                }
                self.at += 1;
            } else if std::mem::take(&mut self.has_cut) {
                self.cuts = cuts_of(&self.best);
                self.at = 0;
            } else {
                return false;
            }
        }
    }
}

impl ValueTree for Shrinking {
    type Value = Tape;

    fn current(&self) -> Tape {
        self.tried.clone()
    }

    /// Accepts the cut that was tried: the tape still causes a violation, so it is the smallest so far.
    fn simplify(&mut self) -> bool {
        self.has_cut |= self.best != self.tried;
        self.best = self.tried.clone();
        self.try_next()
    }

    /// Rejects the cut that was tried: the tape causes no violation.
    fn complicate(&mut self) -> bool {
        self.at += 1;
        if self.try_next() {
            return true;
        }
        self.tried = self.best.clone();
        false
    }
}

impl Cut {
    /// Returns the tape with this cut applied.
    fn of(self, tape: &Tape) -> Tape {
        let mut tape = tape.clone();
        match self {
            Cut::Remove(lane, from, to) => {
                let words = match lane {
                    Lane::World => return tape,
                    Lane::Script => &mut tape.script,
                    Lane::Schedule => &mut tape.schedule,
                };
                let to = to.min(words.len());
                words.drain(from.min(to)..to);
            }
            Cut::Zero(lane, from, to) => {
                let words = words_of(&mut tape, lane);
                let to = to.min(words.len());
                words[from.min(to)..to].fill(0);
            }
            Cut::Lessen(lane, at, to) => {
                if let Some(word) = words_of(&mut tape, lane).get_mut(at) {
                    *word = to.min(*word);
                }
            }
        }
        tape
    }
}

/// The words of a lane.
fn words_of(tape: &mut Tape, lane: Lane) -> &mut [u32] {
    match lane {
        Lane::World => &mut tape.world,
        Lane::Script => &mut tape.script,
        Lane::Schedule => &mut tape.schedule,
    }
}

/// Returns all cuts to try, the large ones first in each lane.
fn cuts_of(tape: &Tape) -> Vec<Cut> {
    let lanes = [
        (Lane::Script, &tape.script[..]),
        (Lane::Schedule, &tape.schedule[..]),
        (Lane::World, &tape.world[..]),
    ];
    let mut cuts = Vec::new();
    for (lane, words) in lanes {
        for size in [200, 50, 12, 4, 2, 1] {
            for from in (0..words.len()).step_by(size).rev() {
                cuts.push(Cut::Remove(lane, from, from + size));
                cuts.push(Cut::Zero(lane, from, from + size));
            }
        }
        for (at, word) in words.iter().enumerate() {
            // Small numbers come first. Then come the low digits of the word, for the bases that decoders may use.
            let small = 1..=20;
            let digits = [100, 500, 1000, 10_000].map(|base| word % base);
            let cut = |to| Cut::Lessen(lane, at, to);
            cuts.extend(
                small
                    .chain(digits)
                    .chain([word / 2])
                    .filter(|to| to < word)
                    .map(cut),
            );
        }
    }
    cuts
}

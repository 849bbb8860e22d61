//! From a tape that goes wrong to a small one: the cuts that proptest tries.
//!
//! proptest shrinks a list of numbers by taking out one at a time, once, and then halving each: a run that is decided
//! by hundreds of them stays long. Here whole stretches go first, then words become zero, which is the tame choice.
//! All of it is repeated as long as anything has gone.

use proptest::strategy::ValueTree;

use crate::tape::Tape;

/// A tape that becomes smaller.
#[derive(Debug)]
pub(crate) struct Shrinking {
    /// The smallest so far that goes wrong.
    best: Tape,
    /// The smallest so far, with a cut to be tried.
    tried: Tape,
    /// The cuts of this round.
    cuts: Vec<Cut>,
    /// The next of them.
    at: usize,
    /// Whether a cut of this round has held.
    has_cut: bool,
}

/// One way to make a tape smaller.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Takes words out of a lane.
    Remove(Lane, usize, usize),
    /// Makes words of a lane tame.
    Tame(Lane, usize, usize),
    /// Makes one word smaller.
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
    /// Starts from a tape that goes wrong.
    pub(crate) fn of(tape: Tape) -> Shrinking {
        Shrinking {
            cuts: cuts_of(&tape),
            tried: tape.clone(),
            best: tape,
            at: 0,
            has_cut: false,
        }
    }

    /// Tries the next cut that changes anything.
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

    /// The tape that was tried goes wrong: it is the smallest so far.
    fn simplify(&mut self) -> bool {
        self.has_cut |= self.best != self.tried;
        self.best = self.tried.clone();
        self.try_next()
    }

    /// The tape that was tried does not go wrong.
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
    /// The tape with this cut.
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
            Cut::Tame(lane, from, to) => {
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

/// Every cut worth trying, the large ones first.
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
                cuts.push(Cut::Tame(lane, from, from + size));
            }
        }
        for (at, word) in words.iter().enumerate() {
            // Small numbers first; then the number without its upper digits, whatever bases it is read in.
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

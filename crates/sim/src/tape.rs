//! The tape of a run: all of its decisions, as words. A tape comes from a seed, from a fuzzer or from a text.
//!
//! A tape has three lanes: the world, the actions of the peers, and the decisions of the kernel during the run. If a
//! word is removed from one lane, the others do not change. Zero is the simplest choice everywhere: no fault, no limit
//! that matters, no reordering. After the end of the world or of the decisions, every word counts as zero. After the
//! end of the actions, there are no more actions. So a run becomes simpler while its tape shrinks.

use std::fmt;
use std::str::FromStr;

/// All the input of a run: the same tape gives the same run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    /// The world. The first three words belong to the kernel: queue sizes, the kind of selector, faults. The last two
    /// are for the settings of the server. The test of that server decodes them with [`pick`].
    pub world: [u32; WORLD],
    /// The actions of all peers, one action a word.
    pub script: Vec<u32>,
    /// The decisions of the kernel, in the order in which it needs them.
    pub schedule: Vec<u32>,
}

/// The number of words that describe a world.
pub const WORLD: usize = 5;

/// The maximal number of script words that [`Tape::from_bytes`] reads.
const LONGEST_SCRIPT: usize = 24;

impl Tape {
    /// Decodes a fuzzer's bytes. Four bytes are one big-endian word. The words are the world, the length of the script,
    /// the script, and the schedule.
    pub fn from_bytes(bytes: &[u8]) -> Tape {
        let mut words = bytes
            .chunks_exact(4)
            .map(|word| word.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)));
        let mut next = || words.next().unwrap_or(0);
        let world = std::array::from_fn(|_| next());
        let length = next() as usize % (LONGEST_SCRIPT + 1);
        let script = (0..length).map(|_| next()).collect();
        Tape {
            world,
            script,
            schedule: words.collect(),
        }
    }
}

/// Returns the item of `of` that the last digit of a word selects, and removes that digit. The base is the length of
/// `of`. A word of zero selects `of[0]`.
///
/// # Panics
/// If `of` is empty.
pub fn pick<T: Copy>(word: &mut u32, of: &[T]) -> T {
    of[digit(word, of.len() as u32) as usize]
}

/// Removes the last digit of a word, in this base, and returns it.
pub(crate) fn digit(word: &mut u32, base: u32) -> u32 {
    let digit = *word % base;
    *word /= base;
    digit
}

/// Formats a tape as three lanes of hexadecimal words: `3.0.1f/25.3/0.1.~12.4`, where `~12` stands for 12 zeros. Zeros
/// at the end of a world or a schedule are left out. Zeros at the end of a script stay, because they are actions.
impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end_without_zeros = |lane: &[u32]| {
            lane.iter()
                .rposition(|word| *word != 0)
                .map_or(0, |at| at + 1)
        };
        write_lane(f, &self.world[..end_without_zeros(&self.world)])?;
        f.write_str("/")?;
        write_lane(f, &self.script)?;
        f.write_str("/")?;
        write_lane(f, &self.schedule[..end_without_zeros(&self.schedule)])
    }
}

fn write_lane(f: &mut fmt::Formatter<'_>, lane: &[u32]) -> fmt::Result {
    for (n, words) in lane.chunk_by(|a, b| *a == 0 && *b == 0).enumerate() {
        let dot = if n > 0 { "." } else { "" };
        match words {
            [word] => write!(f, "{dot}{word:x}")?,
            zeros => write!(f, "{dot}~{}", zeros.len())?,
        }
    }
    Ok(())
}

/// Parses one part of a lane: a word, or `~` and a number of zeros.
fn words_of(part: &str) -> Result<Vec<u32>, String> {
    let wrong = |error| format!("{part:?}: {error}");
    match part.strip_prefix('~') {
        Some(zeros) => Ok(vec![0; zeros.parse::<u16>().map_err(wrong)?.into()]),
        None => Ok(vec![u32::from_str_radix(part, 16).map_err(wrong)?]),
    }
}

impl FromStr for Tape {
    type Err = String;

    fn from_str(text: &str) -> Result<Tape, String> {
        let lane = |text: &str| -> Result<Vec<u32>, String> {
            let parts = text.split('.').filter(|part| !part.is_empty());
            Ok(parts.map(words_of).collect::<Result<Vec<_>, _>>()?.concat())
        };
        let lanes = text.split('/').map(lane).collect::<Result<Vec<_>, _>>()?;
        let [first, script, schedule] = <[Vec<u32>; 3]>::try_from(lanes)
            .map_err(|lanes| format!("a tape has three lanes, not {}", lanes.len()))?;
        let mut world = [0; WORLD];
        if first.len() > WORLD {
            return Err(format!(
                "a world has at most {WORLD} words, not {}",
                first.len()
            ));
        }
        world[..first.len()].copy_from_slice(&first);
        Ok(Tape {
            world,
            script,
            schedule,
        })
    }
}

/// The source of the kernel's decisions.
#[derive(Clone, Debug)]
pub enum Choices {
    /// The words of a tape, and zeros (the simplest choices) after its end.
    Taped {
        /// The words.
        words: Vec<u32>,
        /// The index of the next word.
        at: usize,
    },
    /// The decisions of a test that runs a script in every order of its steps, without faults. After each run,
    /// [`Choices::next_order`] returns the next order.
    Every {
        /// For each decision, the index of the chosen possibility and the number of possibilities.
        taken: Vec<(usize, usize)>,
        /// The index of the next decision.
        at: usize,
    },
}

impl Choices {
    /// The decisions of a tape's last lane.
    pub fn of(schedule: &[u32]) -> Choices {
        Choices::Taped {
            words: schedule.to_vec(),
            at: 0,
        }
    }

    /// The decisions of the first order, for a test that runs a script in every order.
    pub fn every() -> Choices {
        Choices::Every {
            taken: Vec::new(),
            at: 0,
        }
    }

    /// Returns true if the test runs every order.
    pub(crate) fn are_exhaustive(&self) -> bool {
        matches!(self, Choices::Every { .. })
    }

    /// Chooses one of `n` possibilities, as an index below `n`. Returns 0 if there is no choice.
    pub(crate) fn one_of(&mut self, n: usize) -> usize {
        match self {
            _ if n < 2 => 0,
            Choices::Taped { .. } => self.word() as usize % n,
            Choices::Every { taken, at } => {
                if *at == taken.len() {
                    taken.push((0, n));
                }
                *at += 1;
                taken[*at - 1].0
            }
        }
    }

    /// Puts things into an arbitrary order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for n in 0..things.len() {
            let other = n + self.one_of(things.len() - n);
            things.swap(n, other);
        }
    }

    /// Chooses one of `n` things that may happen now, or none of them, which is the simplest choice.
    pub(crate) fn perhaps(&mut self, n: usize) -> Option<usize> {
        match self {
            _ if n == 0 => None,
            Choices::Taped { .. } => self.rarely(4).then(|| self.one_of(n)),
            Choices::Every { .. } => self.one_of(n + 1).checked_sub(1),
        }
    }

    /// Chooses a number of steps, below 24, that the peers do before a poll. The simplest choice is 0.
    pub(crate) fn burst(&mut self) -> usize {
        match self.word() as usize {
            word if word % 3 == 2 => word / 3 % 24,
            _ => 0,
        }
    }

    /// Decides whether something happens that has a probability of 1 in `n`.
    pub(crate) fn rarely(&mut self, n: u32) -> bool {
        match self {
            Choices::Taped { .. } => self.word() % n == n - 1,
            Choices::Every { .. } => false,
        }
    }

    /// Chooses a number between 1 and `all`. The simplest choice is `all`.
    pub(crate) fn share(&mut self, all: usize) -> usize {
        match self {
            Choices::Taped { .. } => match self.word() as usize {
                word if word.is_multiple_of(2) => all,
                word => 1 + (word / 2) % all,
            },
            Choices::Every { .. } => all,
        }
    }

    /// Takes the next word of the tape.
    fn word(&mut self) -> u32 {
        match self {
            Choices::Taped { words, at } => {
                *at += 1;
                words.get(*at - 1).copied().unwrap_or(0)
            }
            Choices::Every { .. } => 0,
        }
    }

    /// Returns the order after the one that was just run; `None` after the last.
    pub fn next_order(self) -> Option<Choices> {
        let Choices::Every { mut taken, .. } = self else {
            return None;
        };
        while let Some((choice, of)) = taken.pop() {
            if choice + 1 < of {
                taken.push((choice + 1, of));
                return Some(Choices::Every { taken, at: 0 });
            }
        }
        None
    }
}

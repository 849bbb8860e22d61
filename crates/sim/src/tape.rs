//! The decisions of a run: one tape of words, whatever wrote it.
//!
//! A tape has three lanes: the world, what the peers do, and what the kernel decides on the way. A word that is taken
//! out of one lane shifts nothing in the others. Zero is the tame choice everywhere, and so is the end of a lane:
//! when a tape is shrunk, less and less happens.

use std::fmt;
use std::str::FromStr;

/// All that a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    /// The world. The first three words are the kernel's: queue sizes, the kind of selector, faults. The last two are
    /// for the settings of the server, which decodes them with [`pick`].
    pub world: [u32; WORLD],
    /// The peers' scripts, one action a word.
    pub script: Vec<u32>,
    /// The kernel's decisions, in the order in which they come up.
    pub schedule: Vec<u32>,
}

/// How many words describe a world.
pub const WORLD: usize = 5;

/// The longest script that a tape of bytes is read as.
const LONGEST_SCRIPT: usize = 24;

impl Tape {
    /// Reads a fuzzer's bytes: four to a word, the world first, then how many words of script there are.
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

/// Takes the next digit off a word and returns what it stands for: `of[0]` if the word is zero.
///
/// # Panics
/// If there is nothing to pick from.
pub fn pick<T: Copy>(word: &mut u32, of: &[T]) -> T {
    of[digit(word, of.len() as u32) as usize]
}

/// Takes the next digit to this base off a word.
pub(crate) fn digit(word: &mut u32, base: u32) -> u32 {
    let digit = *word % base;
    *word /= base;
    digit
}

/// Three lanes of hexadecimal words: `3.0.1f/25.3/0.1.~12.4`, where `~12` stands for so many zeros. Zeros at the end
/// of a world or a schedule are left out; at the end of a script they are actions.
impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tame_end = |lane: &[u32]| {
            lane.iter()
                .rposition(|word| *word != 0)
                .map_or(0, |at| at + 1)
        };
        write_lane(f, &self.world[..tame_end(&self.world)])?;
        f.write_str("/")?;
        write_lane(f, &self.script)?;
        f.write_str("/")?;
        write_lane(f, &self.schedule[..tame_end(&self.schedule)])
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

/// The words that a part of a lane stands for.
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
            .map_err(|lanes| format!("a tape has three lanes, and here are {}", lanes.len()))?;
        let mut world = [0; WORLD];
        if first.len() > WORLD {
            return Err(format!(
                "a world has {WORLD} words, and here are {}",
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

/// The kernel's decisions as they are asked for.
#[derive(Clone, Debug)]
pub enum Choices {
    /// From a tape; tame when it has run out.
    Taped {
        /// The words.
        words: Vec<u32>,
        /// The next of them.
        at: usize,
    },
    /// Every order in turn, and no faults: see [`Choices::next_order`].
    Every {
        /// The choice at each place, and of how many.
        taken: Vec<(usize, usize)>,
        /// The next place.
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

    /// The first of all orders.
    pub fn every() -> Choices {
        Choices::Every {
            taken: Vec::new(),
            at: 0,
        }
    }

    /// Returns true if every order is run in turn.
    pub(crate) fn are_exhaustive(&self) -> bool {
        matches!(self, Choices::Every { .. })
    }

    /// One of `n` ways in which things may go. 0 where there is no choice.
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

    /// Puts things into one of their orders.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for n in 0..things.len() {
            let other = n + self.one_of(things.len() - n);
            things.swap(n, other);
        }
    }

    /// One of `n` things that may happen now, or none of them, which is the tame choice.
    pub(crate) fn perhaps(&mut self, n: usize) -> Option<usize> {
        match self {
            _ if n == 0 => None,
            Choices::Taped { .. } => self.rarely(4).then(|| self.one_of(n)),
            Choices::Every { .. } => self.one_of(n + 1).checked_sub(1),
        }
    }

    /// How many steps the others are ahead; none when tame.
    pub(crate) fn burst(&mut self) -> usize {
        match self.word() as usize {
            word if word % 3 == 2 => word / 3 % 24,
            _ => 0,
        }
    }

    /// Whether something happens that happens once in `n` times.
    pub(crate) fn rarely(&mut self, n: u32) -> bool {
        match self {
            Choices::Taped { .. } => self.word() % n == n - 1,
            Choices::Every { .. } => false,
        }
    }

    /// How many of `all`, at least one; all of them when tame.
    pub(crate) fn share(&mut self, all: usize) -> usize {
        match self {
            Choices::Taped { .. } => match self.word() as usize {
                word if word.is_multiple_of(2) => all,
                word => 1 + (word / 2) % all,
            },
            Choices::Every { .. } => all,
        }
    }

    /// The next word of the tape.
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

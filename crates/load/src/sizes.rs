//! The sizes of the messages: one size, a range, or several sizes with weights.

use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::payload::Rng;

/// The sizes of a run's messages, each from 1 byte to 1 GiB. Default: 64 bytes.
///
/// As text: `64`, `64-4096` (all sizes of the range are equally likely) or `64:9,4096:1` (sizes with weights). A size
/// may have a unit, such as `64KiB`.
///
/// ```
/// use mio_echo_load::Sizes;
/// let sizes: Sizes = "64:9,4KiB:1".parse()?;
/// assert_eq!(sizes.largest(), 4096);
/// assert_eq!(sizes.to_string(), "64:9,4096:1");
/// # Ok::<(), mio_echo_load::SizesError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Every message has this size.
    One(u32),
    /// The smallest and the largest size. All sizes between them are equally likely.
    Range(u32, u32),
    /// Pairs of size and weight; then the sum of the weights.
    Weighted(Vec<(u32, u32)>, u64),
}

impl Default for Sizes {
    /// 64 bytes.
    fn default() -> Self {
        Sizes {
            kind: Kind::One(64),
        }
    }
}

impl Sizes {
    /// Makes sizes where every message has `size` bytes: at least 1, at most 1 GiB.
    ///
    /// # Errors
    /// [`SizesError::Empty`] or [`SizesError::TooLarge`].
    pub fn one(size: u32) -> Result<Sizes, SizesError> {
        checked(size).map(|size| Sizes {
            kind: Kind::One(size),
        })
    }

    /// Makes sizes from `smallest` to `largest` bytes, all equally likely.
    ///
    /// # Errors
    /// [`SizesError::Downwards`], and those of [`one`](Sizes::one).
    pub fn range(smallest: u32, largest: u32) -> Result<Sizes, SizesError> {
        if smallest > largest {
            return Err(SizesError::Downwards { smallest, largest });
        }
        let kind = Kind::Range(checked(smallest)?, checked(largest)?);
        Ok(Sizes { kind })
    }

    /// Makes sizes from pairs of size (in bytes) and weight. A size of weight 9 is nine times as likely as one of
    /// weight 1.
    ///
    /// # Errors
    /// [`SizesError::WeightZero`], [`SizesError::None`], and those of [`one`](Sizes::one).
    pub fn weighted(sizes: Vec<(u32, u32)>) -> Result<Sizes, SizesError> {
        for (size, weight) in &sizes {
            checked(*size)?;
            if *weight == 0 {
                return Err(SizesError::WeightZero { size: *size });
            }
        }
        let sum = sizes.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if sum == 0 {
            return Err(SizesError::None);
        }
        Ok(Sizes {
            kind: Kind::Weighted(sizes, sum),
        })
    }

    /// Draws the size of the next message, in bytes.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> u32 {
        match &self.kind {
            Kind::One(size) => *size,
            Kind::Range(smallest, largest) => {
                smallest + rng.below(u64::from(largest - smallest) + 1) as u32
            }
            Kind::Weighted(sizes, sum) => draw_weighted(sizes, rng.below(*sum)),
        }
    }

    /// The largest size, in bytes.
    #[must_use]
    pub fn largest(&self) -> u32 {
        match &self.kind {
            Kind::One(size) | Kind::Range(_, size) => *size,
            Kind::Weighted(sizes, _) => sizes.iter().map(|(size, _)| *size).max().unwrap_or(1),
        }
    }
}

/// A class of message sizes: all sizes from `smallest` to `largest` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SizeClass {
    /// The smallest size of the class, in bytes.
    pub smallest: u32,
    /// The largest size of the class, in bytes.
    pub largest: u32,
}

/// Writes the class as in `--size`: `64`, or `65-128`.
impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.smallest == self.largest {
            true => self.smallest.fmt(f),
            false => write!(f, "{}-{}", self.smallest, self.largest),
        }
    }
}

/// The size classes of a run, in ascending order. Empty if `--size` is a single size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SizeClasses(Vec<SizeClass>);

impl SizeClasses {
    /// Returns the number of the class that a message of this many bytes belongs to.
    #[inline]
    pub(crate) fn of(&self, bytes: u64) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let smaller = |class: &SizeClass| u64::from(class.largest) < bytes;
        Some(self.0.partition_point(smaller))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SizeClass> {
        self.0.iter()
    }
}

impl Sizes {
    /// Returns the classes whose response times are reported apart: each size of a few weighted ones, otherwise the
    /// sizes up to each power of two.
    pub(crate) fn classes(&self) -> SizeClasses {
        let mut sizes: Vec<u32> = match &self.kind {
            Kind::One(_) => return SizeClasses::default(),
            Kind::Range(smallest, largest) => return SizeClasses(doublings(*smallest, *largest)),
            Kind::Weighted(sizes, _) => sizes.iter().map(|(size, _)| *size).collect(),
        };
        sizes.sort_unstable();
        sizes.dedup();
        SizeClasses(match sizes.as_slice() {
            [_] => Vec::new(),
            [smallest, .., largest] if sizes.len() > MOST_CLASSES => {
                let within = |class: &SizeClass| {
                    let sizes = sizes.iter();
                    sizes
                        .copied()
                        .any(|size| (class.smallest..=class.largest).contains(&size))
                };
                doublings(*smallest, *largest)
                    .into_iter()
                    .filter(within)
                    .collect()
            }
            sizes => sizes
                .iter()
                .map(|size| SizeClass {
                    smallest: *size,
                    largest: *size,
                })
                .collect(),
        })
    }
}

/// Divides a range of sizes at the powers of two.
fn doublings(smallest: u32, largest: u32) -> Vec<SizeClass> {
    let mut classes = Vec::new();
    let mut from = smallest;
    while from <= largest {
        let to = from.next_power_of_two().min(largest);
        classes.push(SizeClass {
            smallest: from,
            largest: to,
        });
        from = to + 1;
    }
    classes
}

/// More weighted sizes than this are divided at the powers of two.
const MOST_CLASSES: usize = 16;

fn draw_weighted(sizes: &[(u32, u32)], number: u64) -> u32 {
    let mut passed = 0;
    for (size, weight) in sizes {
        passed += u64::from(*weight);
        if number < passed {
            return *size;
        }
    }
    // Not reached: the number is below the sum of the weights.
    1
}

fn checked(size: u32) -> Result<u32, SizesError> {
    match size {
        0 => Err(SizesError::Empty),
        size if size > LARGEST => Err(SizesError::TooLarge),
        size => Ok(size),
    }
}

/// Writes the sizes as on the command line; [`FromStr`] parses the text.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::One(size) => size.fmt(f),
            Kind::Range(smallest, largest) => write!(f, "{smallest}-{largest}"),
            Kind::Weighted(sizes, _) => {
                for (n, (size, weight)) in sizes.iter().enumerate() {
                    let comma = if n > 0 { "," } else { "" };
                    write!(f, "{comma}{size}:{weight}")?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Sizes, SizesError> {
        if text.contains(':') {
            let weighted = text.split(',').map(|part| {
                let (size, weight) = part
                    .split_once(':')
                    .ok_or_else(|| SizesError::NoWeight(part.to_owned()))?;
                let weight = weight
                    .parse()
                    .map_err(|_| SizesError::NotAWeight(weight.to_owned()))?;
                Ok((size_of(size)?, weight))
            });
            return Sizes::weighted(weighted.collect::<Result<_, _>>()?);
        }
        match text.split_once('-') {
            Some((smallest, largest)) => Sizes::range(size_of(smallest)?, size_of(largest)?),
            None => Sizes::one(size_of(text)?),
        }
    }
}

fn size_of(text: &str) -> Result<u32, SizesError> {
    let size: ByteSize = text.parse().map_err(|_| SizesError::NotASize)?;
    u32::try_from(size.as_u64()).map_err(|_| SizesError::TooLarge)
}

/// Why sizes are impossible. The message says what is possible instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizesError {
    /// The list of sizes is empty.
    None,
    /// A size is 0 bytes.
    Empty,
    /// A size is more than 1 GiB.
    TooLarge,
    /// The first size of the range is larger than the second.
    Downwards {
        /// The first size, in bytes.
        smallest: u32,
        /// The second size, in bytes.
        largest: u32,
    },
    /// A size has the weight 0.
    WeightZero {
        /// The size, in bytes.
        size: u32,
    },
    /// The text is not a size.
    NotASize,
    /// This part of the text has no weight, while other parts have one.
    NoWeight(String),
    /// This part of the text is not a weight.
    NotAWeight(String),
}

impl fmt::Display for SizesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizesError::None => f.write_str("at least one size is needed"),
            SizesError::Empty => {
                f.write_str("a message has at least 1 byte, because an empty message has no echo")
            }
            SizesError::TooLarge => f.write_str("a message has at most 1GiB"),
            SizesError::Downwards { smallest, largest } => write!(
                f,
                "a range goes upwards: {largest}-{smallest}, not {smallest}-{largest}"
            ),
            SizesError::WeightZero { size } => write!(
                f,
                "size {size} has weight 0, so it would never be sent: leave it out"
            ),
            SizesError::NotASize => f.write_str("not a size (such as 65536, 64KiB or 1MB)"),
            SizesError::NoWeight(part) => {
                write!(f, "{part:?} has no weight: write sizes as in 64:9,4096:1")
            }
            SizesError::NotAWeight(weight) => write!(f, "{weight:?} is not a weight"),
        }
    }
}

impl std::error::Error for SizesError {}

/// 1 GiB.
const LARGEST: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sizes: &Sizes) -> Vec<u32> {
        let mut rng = Rng::new(1, 1);
        (0..10_000).map(|_| sizes.draw(&mut rng)).collect()
    }

    #[test]
    fn a_range_includes_both_ends() {
        let sizes = drawn(&Sizes::range(1, 4).unwrap());
        for size in 1..=4 {
            let count = sizes.iter().filter(|s| **s == size).count();
            assert!(
                (2_300..2_700).contains(&count),
                "{size} was drawn {count} times"
            );
        }
    }

    #[test]
    fn sizes_are_drawn_by_their_weights() {
        let sizes = drawn(&Sizes::weighted(vec![(64, 9), (4096, 1)]).unwrap());
        let large = sizes.iter().filter(|size| **size == 4096).count();
        assert!((900..1_100).contains(&large), "{large}");
        assert_eq!(large + sizes.iter().filter(|s| **s == 64).count(), 10_000);
    }

    #[test]
    fn impossible_sizes_are_refused_with_what_is_possible() {
        let said = |sizes: Result<Sizes, SizesError>| sizes.unwrap_err().to_string();
        assert!(said(Sizes::one(0)).contains("1 byte"));
        assert!(said(Sizes::one(u32::MAX)).contains("1GiB"));
        assert!(said(Sizes::range(9, 3)).contains("3-9"));
        assert!(said(Sizes::weighted(vec![(9, 0)])).contains("never"));
        assert!(said("64,128:1".parse()).contains("no weight"));
        assert!(said("64:x".parse()).contains("not a weight"));
        assert!(said("64-x".parse()).contains("64KiB"));
        assert!(said("8GiB".parse()).contains("1GiB"));
    }

    #[test]
    fn sizes_parse_the_text_that_they_print() {
        for text in ["64", "64-4096", "64:9,4096:1"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        assert_eq!("1KiB-64KiB".parse(), Sizes::range(1024, 65536));
    }
}

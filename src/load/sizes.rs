//! How large the messages are: one size, a range, or several with weights.

use std::fmt;

use super::payload::Lots;

/// The sizes of a run's messages, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    One(u32),
    /// Each from the first to the second alike.
    Range(u32, u32),
    /// Sizes and weights, and the sum of the weights.
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
    /// Every message is so long: at least 1 byte, at most 1 GiB.
    ///
    /// # Errors
    /// What is possible instead.
    pub fn one(size: u32) -> Result<Sizes, String> {
        checked(size).map(|size| Sizes {
            kind: Kind::One(size),
        })
    }

    /// Every length from `smallest` to `largest` is as likely as another.
    ///
    /// # Errors
    /// What is possible instead.
    pub fn range(smallest: u32, largest: u32) -> Result<Sizes, String> {
        if smallest > largest {
            return Err(format!(
                "a range goes upwards: {largest}-{smallest}, not {smallest}-{largest}"
            ));
        }
        let kind = Kind::Range(checked(smallest)?, checked(largest)?);
        Ok(Sizes { kind })
    }

    /// Sizes with weights: a size of weight 9 is nine times as likely as one of weight 1.
    ///
    /// # Errors
    /// What is possible instead.
    pub fn weighted(sizes: Vec<(u32, u32)>) -> Result<Sizes, String> {
        for (size, weight) in &sizes {
            checked(*size)?;
            if *weight == 0 {
                return Err(format!(
                    "size {size} has weight 0, so it would never be sent: leave it out"
                ));
            }
        }
        let sum = sizes.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if sum == 0 {
            return Err("at least one size".to_owned());
        }
        Ok(Sizes {
            kind: Kind::Weighted(sizes, sum),
        })
    }

    /// The next message's.
    #[inline]
    pub(crate) fn draw(&self, lots: &mut Lots) -> u32 {
        match &self.kind {
            Kind::One(size) => *size,
            Kind::Range(smallest, largest) => {
                smallest + lots.below(u64::from(largest - smallest) + 1) as u32
            }
            Kind::Weighted(sizes, sum) => draw_weighted(sizes, lots.below(*sum)),
        }
    }

    /// The longest that may come.
    pub fn largest(&self) -> u32 {
        match &self.kind {
            Kind::One(size) | Kind::Range(_, size) => *size,
            Kind::Weighted(sizes, _) => sizes.iter().map(|(size, _)| *size).max().unwrap_or(1),
        }
    }
}

fn draw_weighted(sizes: &[(u32, u32)], lot: u64) -> u32 {
    let mut passed = 0;
    for (size, weight) in sizes {
        passed += u64::from(*weight);
        if lot < passed {
            return *size;
        }
    }
    // The lot is below the sum of the weights.
    1
}

fn checked(size: u32) -> Result<u32, String> {
    match size {
        0 => Err("a message has at least 1 byte, or there would be nothing to echo".to_owned()),
        size if size > LARGEST => Err("a message has at most 1GiB".to_owned()),
        size => Ok(size),
    }
}

/// As it is written on the command line.
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

const LARGEST: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sizes: &Sizes) -> Vec<u32> {
        let mut lots = Lots::new(1, 1);
        (0..10_000).map(|_| sizes.draw(&mut lots)).collect()
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let sizes = drawn(&Sizes::range(1, 4).unwrap());
        for size in 1..=4 {
            let count = sizes.iter().filter(|s| **s == size).count();
            assert!((2_300..2_700).contains(&count), "{size} came {count} times");
        }
    }

    #[test]
    fn weights_weigh() {
        let sizes = drawn(&Sizes::weighted(vec![(64, 9), (4096, 1)]).unwrap());
        let large = sizes.iter().filter(|size| **size == 4096).count();
        assert!((900..1_100).contains(&large), "{large}");
        assert_eq!(large + sizes.iter().filter(|s| **s == 64).count(), 10_000);
    }

    #[test]
    fn impossible_sizes_are_refused_with_what_is_possible() {
        assert!(Sizes::one(0).unwrap_err().contains("1 byte"));
        assert!(Sizes::one(u32::MAX).unwrap_err().contains("1GiB"));
        assert!(Sizes::range(9, 3).unwrap_err().contains("3-9"));
        assert!(Sizes::weighted(vec![(9, 0)]).unwrap_err().contains("never"));
    }
}

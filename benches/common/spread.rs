//! Medians, and how widely the values around them are spread. On a shared machine a median without its spread says
//! nothing.

use std::fmt;

use statrs::distribution::{Binomial, DiscreteCDF};

/// A median and its quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The lower quartile.
    pub(crate) low: f64,
    pub(crate) median: f64,
    /// The upper quartile.
    pub(crate) high: f64,
}

impl Spread {
    /// Computes all three. They are `NaN` if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        // A quartile between two values is interpolated. Of five values the quartiles are the second and the fourth.
        let at = |share: f64| -> f64 {
            let place = share * (values.len() as f64 - 1.0);
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            match (values.get(below), values.get(above)) {
                (Some(below), Some(above)) => below + (above - below) * place.fract(),
                _ => f64::NAN,
            }
        };
        Spread {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }
}

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The whole range is on the right side of the bound.
    Reached,
    /// The whole range is on the wrong side.
    Missed,
    /// The bound is within the range: the rounds do not show whether the goal is reached.
    NotShown,
}

impl Judgement {
    /// Judges several figures together: all must be reached, and one that is missed decides.
    pub(crate) fn and(self, other: Judgement) -> Judgement {
        match (self, other) {
            (Judgement::Missed, _) | (_, Judgement::Missed) => Judgement::Missed,
            (Judgement::Reached, Judgement::Reached) => Judgement::Reached,
            _ => Judgement::NotShown,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Judgement::Reached => "reached",
            Judgement::Missed => "**missed**",
            Judgement::NotShown => "**not shown**",
        })
    }
}

impl Spread {
    /// Judges the goal that the figure is at most this.
    pub(crate) fn at_most(&self, bound: f64) -> Judgement {
        if self.high <= bound {
            Judgement::Reached
        } else if self.low > bound {
            Judgement::Missed
        } else {
            // Also if there are no values.
            Judgement::NotShown
        }
    }

    /// Judges the goal that the figure is at least this.
    pub(crate) fn at_least(&self, bound: f64) -> Judgement {
        if self.low >= bound {
            Judgement::Reached
        } else if self.high < bound {
            Judgement::Missed
        } else {
            Judgement::NotShown
        }
    }
}

/// A median and, if there are enough values, its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    /// `NaN` if there are no values.
    pub(crate) value: f64,
    /// The lower and the upper end. `None` if there are fewer than 6 values: even the whole range of 5 values
    /// contains the median with a probability of only 93.75 %.
    pub(crate) interval: Option<(f64, f64)>,
}

impl Median {
    /// Computes both.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Median {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let interval =
            ranks(values.len()).map(|(lower, upper)| (values[lower - 1], values[upper - 1]));
        let value = Spread::of(values).median;
        Median { value, interval }
    }
}

/// Returns the ranks, counted from 1, of two of `n` sorted independent values. The median of their distribution lies
/// between those two values with a probability of at least 95 %, for any distribution. Of 20 values these are the 6th
/// and the 15th.
///
/// The number of values below the median is binomial (`n`, 1/2). The lower rank is the largest `k` for which the
/// probability that fewer than `k` values lie below the median is at most 2.5 %. The upper rank is as far from the
/// other end.
fn ranks(n: usize) -> Option<(usize, usize)> {
    let below = Binomial::new(0.5, n as u64).ok()?;
    let lower = (1..=n / 2)
        .take_while(|k| below.cdf(*k as u64 - 1) <= 0.025)
        .last()?;
    Some((lower, n + 1 - lower))
}

/// Writes the median and, in brackets, the interval, with two digits after the point or the precision of the format.
impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$}", self.value)?;
        match self.interval {
            Some((low, high)) => write!(f, " ({low:.digits$}–{high:.digits$})"),
            None => Ok(()),
        }
    }
}

/// Writes the median and, in brackets, the quartiles, with two digits after the point or the precision of the format.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Spread { low, median, high } = self;
        write!(f, "{median:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}

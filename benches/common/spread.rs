//! Medians and how far apart what they are of lies: on a shared machine one without the other says nothing.

use std::fmt;

use statrs::distribution::{Binomial, DiscreteCDF};

/// A median between its quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of nothing, all three are `NaN`.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        // Between two values, in proportion: with five rounds the quartiles would be the second and the fourth.
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

/// A median and, if there are enough values, its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    /// `NaN` of no values.
    pub(crate) value: f64,
    /// The lower and the upper end. `None` of fewer than 6 values: the range of 5 holds the median with 93.75 % only.
    pub(crate) interval: Option<(f64, f64)>,
}

impl Median {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Median {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let interval =
            ranks(values.len()).map(|(lower, upper)| (values[lower - 1], values[upper - 1]));
        let value = Spread::of(values).median;
        Median { value, interval }
    }
}

/// Returns the ranks, from 1, of the order statistics between which the median of `n` independent values lies with at
/// least 95 %, whatever their distribution. Of 20 values these are the 6th and the 15th.
///
/// The number of values below the median is binomial (`n`, 1/2). The lower rank `k` is the largest with at most 2.5 % for
/// fewer than `k` values below the median; the upper one is its mirror image.
fn ranks(n: usize) -> Option<(usize, usize)> {
    let below = Binomial::new(0.5, n as u64).ok()?;
    let lower = (1..=n / 2)
        .take_while(|k| below.cdf(*k as u64 - 1) <= 0.025)
        .last()?;
    Some((lower, n + 1 - lower))
}

/// With two digits after the point, or as many as asked for, and the interval in brackets.
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

/// With two digits after the point, or as many as asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Spread { low, median, high } = self;
        write!(f, "{median:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}

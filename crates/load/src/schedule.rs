//! Calculates when each message is due.
//!
//! The module reads no clock: a late generator does not move the next due time. So the generator's delay is part of the
//! response times. Each connection has its own part of the schedule. The part takes a few bytes, even if many of its
//! messages are late. No scheduled message is skipped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::payload::Rng;
use crate::names::UnknownName;

/// How the messages of an open loop are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// At equal intervals, one connection after another.
    #[default]
    Fixed,
    /// At random times, as from many independent users: each connection has its own Poisson process.
    Poisson,
}

/// Writes the name as on the command line and in the report: `fixed`, `poisson`.
impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arrivals::Fixed => "fixed",
            Arrivals::Poisson => "poisson",
        })
    }
}

impl FromStr for Arrivals {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Arrivals, UnknownName> {
        UnknownName::find([Arrivals::Fixed, Arrivals::Poisson], text)
    }
}

/// One connection's part of the schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// When the next message is due, in nanoseconds from the start of the schedule.
    due_ns: f64,
    /// The times between the messages.
    gaps: Gaps,
}

/// The times between the messages of one connection.
#[derive(Clone, Debug)]
enum Gaps {
    /// Message `n` of the whole run is next. This connection sends every `step`-th message of the run. Messages of
    /// the run are `apart_ns` apart.
    Fixed { n: u64, step: u64, apart_ns: f64 },
    /// Times drawn from an exponential distribution with this mean.
    Poisson { mean_ns: f64, rng: Rng },
}

impl Schedule {
    /// Makes the part of connection `index`, from 0 to `connections` - 1. `rate` is in messages a second over all
    /// connections.
    pub(crate) fn new(
        arrivals: Arrivals,
        rate: f64,
        index: u64,
        connections: u64,
        seed: u64,
    ) -> Schedule {
        let apart_ns = NS_A_SECOND / rate;
        match arrivals {
            Arrivals::Fixed => Schedule {
                due_ns: index as f64 * apart_ns,
                gaps: Gaps::Fixed {
                    n: index,
                    step: connections,
                    apart_ns,
                },
            },
            Arrivals::Poisson => {
                let mut schedule = Schedule {
                    due_ns: 0.0,
                    gaps: Gaps::Poisson {
                        mean_ns: apart_ns * connections as f64,
                        rng: Rng::new(seed, index),
                    },
                };
                schedule.advance();
                schedule
            }
        }
    }

    /// Returns when the next message is due, in nanoseconds from the start of the schedule.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns as u64
    }

    /// Makes the following message the next one.
    pub(crate) fn advance(&mut self) {
        match &mut self.gaps {
            Gaps::Fixed { n, step, apart_ns } => {
                *n += *step;
                // Multiply instead of adding `apart_ns` each time: rounding errors would add up.
                self.due_ns = *n as f64 * *apart_ns;
            }
            Gaps::Poisson { mean_ns, rng } => self.due_ns -= *mean_ns * rng.fraction().ln(),
        }
    }
}

const NS_A_SECOND: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of all messages within the first second, over all connections.
    fn within_a_second(arrivals: Arrivals, rate: f64, connections: u64) -> Vec<u64> {
        let mut due = Vec::new();
        for index in 0..connections {
            let mut schedule = Schedule::new(arrivals, rate, index, connections, 1);
            while schedule.due_ns() < 1_000_000_000 {
                due.push(schedule.due_ns());
                schedule.advance();
            }
        }
        due.sort_unstable();
        due
    }

    #[test]
    fn fixed_arrivals_have_equal_intervals_over_all_connections() {
        let due = within_a_second(Arrivals::Fixed, 1000.0, 7);
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_is_kept_for_a_day() {
        let mut schedule = Schedule::new(Arrivals::Fixed, 7.0, 0, 1, 1);
        for _ in 0..7 * 86_400 {
            schedule.advance();
        }
        assert_eq!(schedule.due_ns(), 86_400 * 1_000_000_000);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_variation_of_a_poisson_process() {
        let due = within_a_second(Arrivals::Poisson, 100_000.0, 10);
        // Standard deviation of the count: √100,000 ≈ 316.
        assert!((98_700..101_300).contains(&due.len()), "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!(
            (0.97..1.03).contains(&variation),
            "the coefficient of variation is {variation} and should be 1"
        );
    }
}

//! When each message is due: pure arithmetic, from the schedule alone.
//!
//! No clock is asked here, so a generator that comes late cannot move what is due next: its own lag stays in the
//! response times, where it belongs. A connection carries its own part of the schedule in a few bytes, however far it
//! has fallen behind, and nothing that was scheduled is skipped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::payload::Rng;
use crate::names::UnknownName;

/// How the messages of an open loop arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// At equal distances, connection after connection.
    #[default]
    Fixed,
    /// As from many people who know nothing of each other: a Poisson process, each connection having its own.
    Poisson,
}

/// As on the command line and in the report: `fixed`, `poisson`.
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
    due_ns: f64,
    gaps: Gaps,
}

/// How far apart the messages of one connection are.
#[derive(Clone, Debug)]
enum Gaps {
    /// The n-th message of all, and by how many the next of this connection is further.
    Fixed { n: u64, step: u64, apart_ns: f64 },
    /// Distances drawn from an exponential distribution.
    Poisson { mean_ns: f64, rng: Rng },
}

impl Schedule {
    /// The part of connection `index` of so many, at so many messages a second over all of them.
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

    /// When the next message is due, in nanoseconds from the start of the schedule.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns as u64
    }

    /// Goes on to the message after that.
    pub(crate) fn advance(&mut self) {
        match &mut self.gaps {
            Gaps::Fixed { n, step, apart_ns } => {
                *n += *step;
                // Not by adding up: the error would add up too.
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

    /// All that is due within a second, over all connections.
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
    fn fixed_arrivals_are_equally_far_apart_over_all_connections() {
        let due = within_a_second(Arrivals::Fixed, 1000.0, 7);
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    }

    #[test]
    fn a_rate_that_divides_nothing_is_kept_all_the_same() {
        let mut schedule = Schedule::new(Arrivals::Fixed, 7.0, 0, 1, 1);
        for _ in 0..7 * 86_400 {
            schedule.advance();
        }
        assert_eq!(schedule.due_ns(), 86_400 * 1_000_000_000);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let due = within_a_second(Arrivals::Poisson, 100_000.0, 10);
        // Standard deviation of the count: √100,000 ≈ 316.
        assert!((98_700..101_300).contains(&due.len()), "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!((0.97..1.03).contains(&variation), "{variation}, not 1");
    }
}

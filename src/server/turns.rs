//! How long the turns of a loop took, and how many events they had: two histograms with one writer.

use std::time::Duration;

use super::stats::Counter;

/// The turns of one loop since the server was bound.
///
/// [`Handle::loop_turns`](crate::Handle::loop_turns) returns it. It is empty unless
/// [`Config::turn_histograms`](crate::Config::turn_histograms) is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turns {
    /// The durations in nanoseconds: from the return of the poll to the end of the turn.
    pub durations_ns: Histogram,
    /// The numbers of events that the poll returned.
    pub events: Histogram,
}

/// How many values lay in each power of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// Number i counts the values below 2^i that are not below 2^(i - 1). Number 0 counts the zeros, and the last
    /// number also counts all larger values.
    pub counts: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Adds the values of another histogram.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The number of counts in a [`Histogram`]. The last one counts durations of more than a second.
const BUCKETS: usize = 32;

/// The histograms that a loop writes, and that every thread may read.
#[derive(Debug, Default)]
pub(crate) struct TurnCounters {
    durations_ns: Buckets,
    events: Buckets,
}

impl TurnCounters {
    /// Records a turn.
    pub(crate) fn record(&self, duration: Duration, events: usize) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.durations_ns.record(ns);
        self.events.record(events as u64);
    }

    pub(crate) fn snapshot(&self) -> Turns {
        Turns {
            durations_ns: self.durations_ns.snapshot(),
            events: self.events.snapshot(),
        }
    }
}

#[derive(Debug)]
struct Buckets {
    counts: [Counter; BUCKETS],
    sum: Counter,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets {
            counts: std::array::from_fn(|_| Counter::default()),
            sum: Counter::default(),
        }
    }
}

impl Buckets {
    fn record(&self, value: u64) {
        // The number of binary digits: 0 for 0, and i for a value below 2^i that is not below 2^(i - 1).
        let digits = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(count) = self.counts.get(digits.min(BUCKETS - 1)) {
            count.add(1);
        }
        self.sum.add(value);
    }

    fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|i| self.counts.get(i).map_or(0, Counter::get)),
            sum: self.sum.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_below_the_next_power_of_two() {
        let buckets = Buckets::default();
        for value in [0, 1, 2, 3, 4, u64::MAX - 10] {
            buckets.record(value);
        }
        let histogram = buckets.snapshot();
        assert_eq!(histogram.counts[..5], [1, 1, 2, 1, 0]);
        assert_eq!(histogram.counts[BUCKETS - 1], 1);
        assert_eq!((histogram.count(), histogram.sum), (6, u64::MAX));
    }
}

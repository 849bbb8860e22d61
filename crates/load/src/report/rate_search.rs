//! Searches for the highest rate at which a condition holds: chooses the next rate to try, and keeps the result.
//!
//! The caller makes the runs. The module measures nothing.

use super::assertion::{Assertion, AssertionError};
use super::document::{KnownMaximum, Run, Verdict};

/// Searches for the highest rate at which a condition holds. It doubles the rate until the condition does not hold. If
/// the condition has never held, it divides the rate by eight. Then it halves the distance between the two bounds, on a
/// logarithmic scale, until they are 5 % apart.
///
/// Make a run at [`next_rate`](RateSearch::next_rate) and pass it to [`judge`](RateSearch::judge). Repeat this until
/// there is no next rate. Then [`found`](RateSearch::found) returns the result.
#[derive(Clone, Debug)]
pub struct RateSearch {
    condition: Assertion,
    /// The rate to try next; `None` once the search is over.
    next: Option<f64>,
    /// The number of rates that may still be tried.
    left: usize,
    /// The highest rate at which the condition held.
    holds: Option<f64>,
    /// The lowest rate at which the condition did not hold.
    fails: Option<f64>,
    /// The rate at which too few messages came back to decide the condition.
    undecided: Option<f64>,
}

impl RateSearch {
    /// The first rate of a search, in messages a second: low enough for almost any server.
    pub const FIRST_RATE: f64 = 4000.0;

    /// Makes a search for the highest rate at which `condition` holds.
    ///
    /// # Errors
    /// [`AssertionError::NotALatencyBound`] if the condition does not limit a percentile or the maximum from above.
    /// Only such conditions hold at low rates and fail at high rates.
    pub fn new(condition: Assertion) -> Result<RateSearch, AssertionError> {
        if !condition.bounds_latency() {
            return Err(AssertionError::NotALatencyBound(condition.to_string()));
        }
        Ok(RateSearch {
            condition,
            next: Some(RateSearch::FIRST_RATE),
            left: MOST_RATES,
            holds: None,
            fails: None,
            undecided: None,
        })
    }

    /// Returns the rate to try next, in messages a second; `None` once the search is over.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        self.next
    }

    /// Takes the run that was made at [`next_rate`](RateSearch::next_rate). If the run is overloaded or invalid,
    /// the condition counts as not held.
    pub fn judge(&mut self, run: &Run) {
        let Some(rate) = self.next else { return };
        let valid = run.validity.verdict == Verdict::Valid;
        let checked = self.condition.check_run(run);
        match checked.map(|checked| checked.met) {
            Some(Some(true)) if valid => self.holds = Some(rate),
            None if valid => {
                // At lower rates even fewer messages would come back, so the search ends.
                self.undecided = Some(rate);
                self.next = None;
                return;
            }
            _ => self.fails = Some(rate),
        }
        self.left -= 1;
        self.next = match (self.holds, self.fails) {
            _ if self.left == 0 => None,
            (Some(low), Some(high)) if high / low < CLOSE => None,
            (Some(low), Some(high)) => Some((low * high).sqrt()),
            (Some(low), None) => Some(low * 2.0),
            (None, Some(high)) if high < LOWEST_RATE => None,
            (None, high) => Some(high.unwrap_or(rate) / 8.0),
        };
    }

    /// Returns the result so far.
    #[must_use]
    pub fn found(&self) -> KnownMaximum {
        KnownMaximum {
            condition: self.condition.to_string(),
            rate: self.holds,
            failed_at: self.fails,
        }
    }

    /// Returns why the search ended without an answer; `None` if it has one, or is not over. The text is a reason to
    /// [invalidate](super::DocumentBuilder::invalidate) the document.
    #[must_use]
    pub fn why_undecided(&self) -> Option<String> {
        self.undecided.map(|rate| {
            let condition = &self.condition;
            format!(
                "at {rate:.0} messages/s too few messages came back to decide {condition}: measure for longer (-d)"
            )
        })
    }
}

/// The search ends if the condition does not hold at a rate below this, in messages a second.
const LOWEST_RATE: f64 = 10.0;

/// The search ends if the lowest failing rate is below this times the highest rate that holds.
const CLOSE: f64 = 1.05;

/// The most rates that are tried.
const MOST_RATES: usize = 24;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::report::Measured;
    use crate::{Plan, Recording};

    /// Makes a valid run of `count` messages at this rate. Response times are 1 ms up to the rate `limit`, and 5 ms
    /// above it.
    fn run(rate: f64, limit: f64, count: u64) -> Run {
        let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
        plan.rate = Some(rate);
        let mut recording = Recording::empty();
        let ns = if rate > limit { 5_000_000 } else { 1_000_000 };
        recording.response.record_n(ns, count).unwrap();
        recording.service = recording.response.clone();
        recording.counts.scheduled = count;
        (recording.counts.ok, recording.completed) = (count, count);
        recording.window_ns = (count as f64 / rate * 1e9) as u64;
        recording.health.opened = plan.connections as u64;
        Run::new(0, Measured::new(&plan, recording, UNIX_EPOCH))
    }

    fn search(limit: f64) -> RateSearch {
        let mut search = RateSearch::new("p99<2ms".parse().unwrap()).unwrap();
        while let Some(rate) = search.next_rate() {
            search.judge(&run(rate, limit, 10_000));
        }
        search
    }

    #[test]
    fn limits_below_and_above_the_first_rate_are_found() {
        for limit in [100.0, 4000.0, 123_456.0] {
            let found = search(limit).found();
            let (low, high) = (found.rate.unwrap(), found.failed_at.unwrap());
            assert!(low <= limit && limit < high, "{low} to {high}");
            assert!(high / low < CLOSE, "{low} to {high}");
        }
    }

    #[test]
    fn the_search_ends_if_the_condition_never_holds() {
        let found = search(0.0).found();
        assert_eq!(found.rate, None);
        assert!(found.failed_at.unwrap() < LOWEST_RATE);
    }

    #[test]
    fn too_few_messages_end_the_search_without_an_answer() {
        let mut search = RateSearch::new("p99<2ms".parse().unwrap()).unwrap();
        search.judge(&run(RateSearch::FIRST_RATE, 1e6, 100));
        assert_eq!(search.next_rate(), None);
        assert!(
            search
                .why_undecided()
                .unwrap()
                .contains("measure for longer")
        );
    }

    #[test]
    fn only_bounds_of_latency_can_be_searched_for() {
        for condition in ["p99>2ms", "rate>10k", "errors<1", "regress(p99)<5%"] {
            let condition: Assertion = condition.parse().unwrap();
            let error = RateSearch::new(condition).unwrap_err().to_string();
            assert!(error.contains("such as p99<2ms"), "{error}");
        }
    }
}

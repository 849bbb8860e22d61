//! The highest rate at which a condition holds: which rate to try next, and what was found.
//!
//! Measures nothing itself.

use super::assertion::{Assertion, AssertionError};
use super::document::{KnownMaximum, Run, Verdict};

/// Looks for the highest rate at which a condition holds. It doubles the rate until the condition does not hold
/// any more, then halves the distance until that is small.
///
/// Measure a run at [`next_rate`](RateSearch::next_rate), pass it to [`judge`](RateSearch::judge), and so on
/// until there is no next rate; then [`found`](RateSearch::found) says what was found.
#[derive(Clone, Debug)]
pub struct RateSearch {
    condition: Assertion,
    /// The rate to try next; `None` once the search is over.
    next: Option<f64>,
    /// How many more rates may be tried.
    left: usize,
    /// The highest rate at which the condition held.
    holds: Option<f64>,
    /// The lowest rate at which it did not.
    fails: Option<f64>,
    /// The rate at which too few messages came back to tell.
    undecided: Option<f64>,
}

impl RateSearch {
    /// Where a search begins, in messages a second: what any server can do.
    pub const FIRST_RATE: f64 = 4000.0;

    /// A search for the highest rate at which `condition` holds.
    ///
    /// # Errors
    /// [`AssertionError::NotALatencyBound`] unless the condition bounds a percentile or the maximum from above: others do not
    /// hold at low rates and fail at high ones.
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

    /// The rate to try next, in messages a second; `None` once the search is over.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        self.next
    }

    /// Takes the run that was made at [`next_rate`](RateSearch::next_rate). An invalid run counts as one that
    /// does not hold.
    pub fn judge(&mut self, run: &Run) {
        let Some(rate) = self.next else { return };
        let valid = run.validity.verdict == Verdict::Valid;
        match self.condition.check_run(run) {
            Some((_, true)) if valid => self.holds = Some(rate),
            None if valid => {
                // At lower rates there are fewer still.
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

    /// The result so far.
    #[must_use]
    pub fn found(&self) -> KnownMaximum {
        KnownMaximum {
            condition: self.condition.to_string(),
            rate: self.holds,
            failed_at: self.fails,
        }
    }

    /// Why the search ended without an answer, if it did: a reason to
    /// [invalidate](super::DocumentBuilder::invalidate) the document.
    #[must_use]
    pub fn why_undecided(&self) -> Option<String> {
        self.undecided.map(|rate| {
            let condition = &self.condition;
            format!(
                "at {rate:.0} messages/s too few came back to tell whether {condition}: measure for longer (-d)"
            )
        })
    }
}

/// Where to give up.
const LOWEST_RATE: f64 = 10.0;

/// How far apart what holds and what does not may be at the end, as a ratio.
const CLOSE: f64 = 1.05;

/// The most rates that are tried.
const MOST_RATES: usize = 24;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::report::Measured;
    use crate::{Plan, Recording};

    /// A valid run at this rate, of a server whose response times leap beyond a limit; `count` messages.
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
    fn the_limit_is_found_from_above_and_from_below() {
        for limit in [100.0, 4000.0, 123_456.0] {
            let found = search(limit).found();
            let (low, high) = (found.rate.unwrap(), found.failed_at.unwrap());
            assert!(low <= limit && limit < high, "{low} to {high}");
            assert!(high / low < CLOSE, "{low} to {high}");
        }
    }

    #[test]
    fn a_condition_that_never_holds_is_given_up() {
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
            let said = RateSearch::new(condition).unwrap_err().to_string();
            assert!(said.contains("such as p99<2ms"), "{said}");
        }
    }
}

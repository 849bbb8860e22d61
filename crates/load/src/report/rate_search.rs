//! Searches for the highest rate at which a condition holds: chooses the next rate to try, and keeps the result.
//!
//! The caller makes the runs. The module measures nothing.
//!
//! One run does not decide a rate on a shared machine: another process may make any run slow. It never makes a run
//! fast. So while the rate goes up, one run is enough if the condition holds in it. If it does not hold, the run is
//! repeated. If the runs at one rate contradict each other, five are made. The two rates of the result have at least
//! three valid runs each.

use super::assertion::{Assertion, AssertionError};
use super::document::{Limit, Run, Verdict};
use super::findings::{KnownMaximum, Outcome, TriedRate};
use super::units;

/// Searches for the highest rate at which a condition holds.
///
/// The search doubles the rate until the condition does not hold. If the condition has never held, it divides the rate
/// by eight. Then it halves the distance between the two bounds, on a logarithmic scale, until they are 5 % apart.
/// Last, it makes three runs at both bounds, and tries a rate 10 % above the upper one, unless it has tried one that
/// high. If the runs do not confirm the bounds, the search goes on.
///
/// Make a run at [`next_rate`](RateSearch::next_rate) and pass it to [`judge`](RateSearch::judge). Repeat this until
/// there is no next rate. Then [`found`](RateSearch::found) returns the result.
#[derive(Clone, Debug)]
pub struct RateSearch {
    condition: Assertion,
    /// The rates that were tried, in ascending order.
    tried: Vec<Tried>,
    /// The rate to try next; `None` once the search is over.
    next: Option<f64>,
    /// The number of runs that may still be made.
    left: usize,
}

/// The runs at one rate.
#[derive(Clone, Debug)]
struct Tried {
    rate: f64,
    /// The outcome of each run, with its reason.
    runs: Vec<(Outcome, String)>,
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
            tried: Vec::new(),
            next: Some(RateSearch::FIRST_RATE),
            left: MOST_RUNS,
        })
    }

    /// Returns the rate to try next, in messages a second; `None` once the search is over.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        self.next
    }

    /// Takes the run that was made at [`next_rate`](RateSearch::next_rate).
    pub fn judge(&mut self, run: &Run) {
        let Some(rate) = self.next else { return };
        let outcome = self.outcome(run);
        let place = self.tried.partition_point(|tried| tried.rate < rate);
        match self.tried.get_mut(place) {
            Some(tried) if tried.rate == rate => tried.runs.push(outcome),
            _ => self.tried.insert(
                place,
                Tried {
                    rate,
                    runs: vec![outcome],
                },
            ),
        }
        self.left -= 1;
        self.next = match self.left {
            0 => None,
            _ => self.choose(rate),
        };
    }

    /// Says what a run means for the condition, and why.
    fn outcome(&self, run: &Run) -> (Outcome, String) {
        let figure = self.condition.quantity();
        let checked = self.condition.check_run(run);
        let seen = match checked {
            Some(checked) => format!("{figure} {}", figure.show(checked.value)),
            None => format!("too few messages for {figure}"),
        };
        let met = checked.and_then(|checked| checked.met);
        let reason = || run.validity.reasons.join("; ");
        match (run.validity.verdict, run.validity.limit) {
            (Verdict::Invalid, Some(Limit::Generator)) => (Outcome::Generator, reason()),
            (Verdict::Invalid, _) => (Outcome::Invalid, reason()),
            (Verdict::Overloaded, Some(Limit::Connections)) => (Outcome::Connections, reason()),
            // Messages that did not come back in time count with their age. So the condition usually fails too.
            (Verdict::Overloaded, _) if met == Some(false) => (Outcome::Failed, seen),
            (Verdict::Overloaded, _) => (Outcome::Overloaded, reason()),
            (Verdict::Valid, _) => match met {
                Some(true) => (Outcome::Held, seen),
                Some(false) => (Outcome::Failed, seen),
                None => (Outcome::Undecided, seen),
            },
        }
    }

    /// Chooses the next rate after a run at `rate`.
    fn choose(&self, rate: f64) -> Option<f64> {
        let last = self.tried.iter().find(|tried| tried.rate == rate)?;
        if !last.is_decided() {
            return Some(rate);
        }
        let (holds, bound) = self.bounds();
        match (holds, bound) {
            (Some(low), Some(high)) if high.rate / low.rate >= CLOSE => {
                Some((low.rate * high.rate).sqrt())
            }
            (Some(low), Some(high)) => self.confirm(low, high),
            (Some(low), None) => Some(low.rate * 2.0),
            (None, bound) => self.look_for_a_start(bound),
        }
    }

    /// Chooses the next rate when the bounds are close to each other. Slow runs at the upper bound alone may be chance,
    /// so a rate above it is tried too: if the condition holds there, the search goes on from there.
    fn confirm(&self, low: &Tried, high: &Tried) -> Option<f64> {
        let may_have_more =
            |t: &&&Tried| t.valid().count() < CONFIRMING && t.runs.len() < MOST_RUNS_AT_A_RATE;
        if let Some(unconfirmed) = [low, high].iter().find(may_have_more) {
            return Some(unconfirmed.rate);
        }
        if !matches!(high.outcome(), Outcome::Failed | Outcome::Overloaded) {
            return None;
        }
        let with_a_hold = self.tried.iter().rev().find(|tried| tried.held() > 0);
        let beyond = with_a_hold.map_or(0.0, |tried| tried.rate).max(high.rate) * BEYOND;
        let above = |tried: &&Tried| tried.rate >= beyond * 0.999;
        match self.tried.iter().find(above) {
            None => Some(beyond),
            Some(_) => None,
        }
    }

    /// Chooses the next rate while the condition has held at no rate.
    fn look_for_a_start(&self, bound: Option<&Tried>) -> Option<f64> {
        // At a rate with too few messages, even fewer come back at lower rates.
        let undecided = self.tried.iter().rev();
        let mut undecided = undecided.filter(|tried| tried.outcome() == Outcome::Undecided);
        match (undecided.next(), bound) {
            (Some(low), None) if low.rate < HIGHEST_RATE => Some(low.rate * 2.0),
            (Some(low), Some(high)) if high.rate / low.rate >= CLOSE => {
                Some((low.rate * high.rate).sqrt())
            }
            (None, Some(high)) if high.rate >= LOWEST_RATE => Some(high.rate / 8.0),
            _ => None,
        }
    }

    /// Returns the highest rate at which the condition held, and the lowest rate above it at which it did not, or at
    /// which the runs could not decide it. A lower rate at which it did not hold was slow by chance.
    fn bounds(&self) -> (Option<&Tried>, Option<&Tried>) {
        let mut down = self.tried.iter().rev();
        let holds = down.find(|tried| tried.outcome() == Outcome::Held);
        let least = holds.map_or(0.0, |holds| holds.rate);
        let bound = self.tried.iter().find(|tried| {
            let is_bound = match tried.outcome() {
                Outcome::Held => false,
                // At low rates, too few messages come back. At higher ones, more do.
                Outcome::Undecided => holds.is_some(),
                _ => true,
            };
            is_bound && tried.rate > least
        });
        (holds, bound)
    }

    /// Returns the result so far.
    #[must_use]
    pub fn found(&self) -> KnownMaximum {
        let (holds, bound) = self.bounds();
        let runs = || {
            let all = self.tried.iter();
            all.flat_map(|tried| tried.runs.iter().map(|(outcome, _)| (tried.rate, *outcome)))
        };
        let rates_with =
            |outcomes: &'static [Outcome]| runs().filter(|(_, outcome)| outcomes.contains(outcome));
        let failed = rates_with(&[Outcome::Failed, Outcome::Overloaded]);
        let held = rates_with(&[Outcome::Held]);
        let is_confirmed =
            |tried: Option<&Tried>| tried.is_some_and(|tried| tried.valid().count() >= CONFIRMING);
        KnownMaximum {
            condition: self.condition.to_string(),
            rate: holds.map(|tried| tried.rate),
            bound: bound.map(|tried| tried.rate),
            bound_outcome: bound.map(Tried::outcome),
            confirmed: self.next.is_none() && is_confirmed(holds) && is_confirmed(bound),
            failed_from: failed.map(|(rate, _)| rate).reduce(f64::min),
            held_up_to: held.map(|(rate, _)| rate).reduce(f64::max),
            tried: self.tried.iter().map(Tried::summary).collect(),
        }
    }

    /// Returns why the search ended without an answer; `None` if it has one, or is not over. The text is a reason to
    /// [invalidate](super::DocumentBuilder::invalidate) the document.
    #[must_use]
    pub fn why_undecided(&self) -> Option<String> {
        let (holds, bound) = self.bounds();
        if self.next.is_some() || holds.is_some() {
            return None;
        }
        let condition = &self.condition;
        let mut undecided = self
            .tried
            .iter()
            .filter(|t| t.outcome() == Outcome::Undecided);
        let why = match (undecided.next_back(), bound.map(Tried::summary)) {
            (Some(tried), _) => format!(
                "at {} messages/s too few messages came back to decide it: measure for longer (-d)",
                units::rate(tried.rate)
            ),
            (None, Some(lowest)) => format!(
                "at the lowest rate, {} messages/s, {}: {}",
                units::rate(lowest.rate),
                lowest.outcome.words(),
                lowest.why
            ),
            (None, None) => return None,
        };
        Some(format!("{condition} held at no rate that was tried; {why}"))
    }
}

impl Tried {
    /// Whether the runs decide the rate: all of them held, two or more did not hold and none did, or most of five have
    /// the same result. Invalid runs say nothing. If they are all that there is, three of them are enough to give up.
    fn is_decided(&self) -> bool {
        let held = self.held();
        let others = self.valid().count() - held;
        if self.runs.len() >= MOST_RUNS_AT_A_RATE {
            return true;
        }
        match (held, others) {
            (0, 0) => self.runs.len() >= CONFIRMING,
            (0, 1) => false,
            (_, 0) | (0, _) => true,
            (held, others) => held.max(others) > MOST_AT_A_RATE / 2,
        }
    }

    /// Returns the outcomes of the runs that say something about the condition.
    fn valid(&self) -> impl Iterator<Item = Outcome> {
        let outcomes = self.runs.iter().map(|(outcome, _)| *outcome);
        outcomes.filter(|outcome| *outcome != Outcome::Invalid)
    }

    fn held(&self) -> usize {
        self.valid()
            .filter(|outcome| *outcome == Outcome::Held)
            .count()
    }

    /// Returns the outcome of most valid runs. If the condition held in at most half of them: the most frequent one of
    /// the other outcomes.
    fn outcome(&self) -> Outcome {
        let runs = self.valid().count();
        if runs > 0 && 2 * self.held() > runs {
            return Outcome::Held;
        }
        let count = |outcome: Outcome| self.valid().filter(|other| *other == outcome).count();
        let others = self.valid().filter(|outcome| *outcome != Outcome::Held);
        others
            .max_by_key(|outcome| count(*outcome))
            .unwrap_or(Outcome::Invalid)
    }

    fn summary(&self) -> TriedRate {
        let outcome = self.outcome();
        let mut runs = self.runs.iter().rev();
        let why = runs.find(|(of, _)| *of == outcome);
        TriedRate {
            rate: self.rate,
            outcome,
            held: self.held(),
            runs: self.valid().count(),
            why: why.map_or(String::new(), |(_, why)| why.clone()),
        }
    }
}

impl Outcome {
    /// Returns the outcome in words, as the rest of a sentence that begins with the rate.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Held => "it holds",
            Outcome::Failed => "it does not hold",
            Outcome::Overloaded => "the server cannot keep the rate",
            Outcome::Connections => "the connections are the limit",
            Outcome::Generator => "the load generator is the limit",
            Outcome::Invalid => "the runs are invalid",
            Outcome::Undecided => "too few messages come back in time to decide it",
        }
    }
}

/// The search ends if the condition does not hold at a rate below this, in messages a second.
const LOWEST_RATE: f64 = 10.0;

/// The search tries no rate far above this one, in messages a second.
const HIGHEST_RATE: f64 = 1e8;

/// The search ends if the lowest failing rate is below this times the highest rate that holds.
const CLOSE: f64 = 1.05;

/// The rate that is tried above the upper bound is this times the upper bound.
const BEYOND: f64 = 1.1;

/// The number of runs that confirm a rate of the result.
const CONFIRMING: usize = 3;

/// If the runs at a rate contradict each other, this many are made there.
const MOST_AT_A_RATE: usize = 5;

/// With invalid runs among them, a rate has at most this many runs.
const MOST_RUNS_AT_A_RATE: usize = 8;

/// The most runs of a search.
const MOST_RUNS: usize = 60;

#[cfg(test)]
mod tests;

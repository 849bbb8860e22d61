//! What a report concludes beyond its runs: a comparison, and what became of conditions.

use serde::{Deserialize, Serialize};

/// One target, or saved report, beside another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The first: what the other is compared with.
    pub a: String,
    /// The second.
    pub b: String,
    /// What is compared: `runs`, or `seconds` where there is but one run of each.
    pub unit: String,
    /// How many of the first.
    pub count_a: usize,
    /// How many of the second.
    pub count_b: usize,
    /// Whether they were compared in pairs, as they were interleaved.
    pub paired: bool,
    /// How sure all intervals together are to contain the true ratios: 0.95.
    pub confidence: f64,
    /// Ratios closer to 1 than this are never called a difference.
    pub noise_floor: f64,
    /// Figure by figure.
    pub metrics: Vec<Metric>,
    /// What to know when reading it.
    pub notes: Vec<String>,
}

/// One figure of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metric {
    /// `rate`, `p50` or `p99`.
    pub name: String,
    /// The first's: the geometric mean over its runs, so that the ratio is that of the two; messages a second or
    /// nanoseconds.
    pub a: f64,
    /// The second's.
    pub b: f64,
    /// The second's by the first's: the geometric mean over the runs.
    pub ratio: f64,
    /// The lower end of the interval of the ratio.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The smallest true change, as a share, that would have been found in four of five such comparisons.
    pub detectable: f64,
    /// Whether the interval excludes 1 and the ratio exceeds the noise floor.
    pub difference: bool,
}

impl Metric {
    /// What it says about the second.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.difference, self.worse_by() > 0.0) {
            (false, _) => "no difference found",
            (true, true) => "B is worse",
            (true, false) => "B is better",
        }
    }

    /// By how much the second is worse, as a share of the first; negative if it is better.
    #[must_use]
    pub fn worse_by(&self) -> f64 {
        match self.name.as_str() {
            "rate" => 1.0 - self.ratio,
            _ => self.ratio - 1.0,
        }
    }
}

/// A condition, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AssertionResult {
    /// As it was written.
    pub condition: String,
    /// Whether it was met; `null` if this report cannot tell.
    pub met: Option<bool>,
    /// What was seen, in words.
    pub observed: String,
}

//! The results of a report beyond its runs: the comparison, and the conditions.

use serde::{Deserialize, Serialize};

/// The comparison of two targets or of two saved reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The first target or report: the baseline.
    pub a: String,
    /// The second target or report. It is compared with the first.
    pub b: String,
    /// The unit of the statistics: `runs`, or `seconds` if there is only one run on each side.
    pub unit: String,
    /// The number of runs or seconds of the first.
    pub count_a: usize,
    /// The number of runs or seconds of the second.
    pub count_b: usize,
    /// Whether the runs were compared in pairs. This is possible if they were interleaved.
    pub paired: bool,
    /// The probability that all intervals together contain the true ratios: 0.95.
    pub confidence: f64,
    /// The smallest change, as a share, that counts as a difference.
    pub noise_floor: f64,
    /// The compared figures.
    pub metrics: Vec<Metric>,
    /// Limits of the comparison that a reader must know.
    pub notes: Vec<String>,
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metric {
    /// The name of the figure: `rate`, `p50` or `p99`.
    pub name: String,
    /// The value of the first side, in messages a second (`rate`) or nanoseconds: the geometric mean over its runs or
    /// seconds. So `ratio` is `b` / `a`.
    pub a: f64,
    /// The value of the second side.
    pub b: f64,
    /// The second value divided by the first.
    pub ratio: f64,
    /// The lower end of the confidence interval of the ratio.
    pub low: f64,
    /// The upper end of the confidence interval of the ratio.
    pub high: f64,
    /// The smallest true change, as a share, that four of five such comparisons would find.
    pub detectable: f64,
    /// Whether the two sides differ: the interval does not contain 1, and the change is larger than the noise floor.
    pub difference: bool,
}

impl Metric {
    /// Returns the result in words: whether the second side is better or worse, or no difference was found.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.difference, self.worse_by() > 0.0) {
            (false, _) => "no difference found",
            (true, true) => "B is worse",
            (true, false) => "B is better",
        }
    }

    /// Returns by how much the second side is worse, as a share of the first; negative if it is better.
    #[must_use]
    pub fn worse_by(&self) -> f64 {
        match self.name.as_str() {
            "rate" => 1.0 - self.ratio,
            _ => self.ratio - 1.0,
        }
    }
}

/// A condition, and whether it is met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AssertionResult {
    /// The text of the condition.
    pub condition: String,
    /// Whether the condition is met; `null` if this report cannot decide it.
    pub met: Option<bool>,
    /// The observed value, as text; or why there is none.
    pub observed: String,
}

//! The results of a report beyond its runs: the comparisons, the conditions, and the searches.

use serde::{Deserialize, Serialize};

use super::side::Side;

/// The comparison of a target with the first one, or of two saved reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The first target or report: the baseline.
    pub a: String,
    /// The other target or report. It is compared with the baseline.
    pub b: String,
    /// The side of the other target: `b` for the second target, `c` for the third one. `null` for saved reports.
    pub side: Option<Side>,
    /// The number of runs of the baseline.
    pub count_a: usize,
    /// The number of runs of the other one.
    pub count_b: usize,
    /// Whether the runs were compared in pairs. This is possible if they were interleaved.
    pub paired: bool,
    /// The target that both reports measured beside the compared ones, in a comparison of saved reports. `null` if
    /// there is none.
    pub control: Option<String>,
    /// The probability that all intervals of the report together contain the true ratios: 0.95.
    pub confidence: f64,
    /// The number of intervals of the report, which together have this confidence.
    pub intervals: usize,
    /// The smallest change, as a share, that counts as a difference.
    pub noise_floor: f64,
    /// The compared figures.
    pub metrics: Vec<Metric>,
    /// Options, programs and machines that differ between two saved reports.
    pub differences: Vec<Difference>,
    /// Limits of the comparison that a reader must know.
    pub notes: Vec<String>,
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metric {
    /// The name of the figure: `rate`, `p50`, `p99`, or the figure of a `regress` condition, such as `service.p99`.
    pub name: String,
    /// The value of the baseline, in messages a second (`rate`) or nanoseconds: the geometric mean over its runs.
    pub a: f64,
    /// The value of the other side.
    pub b: f64,
    /// The second value divided by the first: `b` / `a`. With a control target, each value is divided by the control's
    /// value of the same report before.
    pub ratio: f64,
    /// The number of runs whose value is only a lower bound: messages did not come back, and with their true times the
    /// value may be larger by more than the noise floor. Then the runs show no difference.
    pub lower_bounds: usize,
    /// What the runs show about the true ratio. `null` for two saved reports without a control target: their ratio
    /// does not show whether the machine or the program made the difference.
    pub interval: Option<RatioInterval>,
    /// The result in one word.
    pub finding: Finding,
}

/// The confidence interval of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RatioInterval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The smallest true change, as a share, that four of five such comparisons would find.
    pub detectable: f64,
    /// The standard error of the logarithm of the ratio.
    pub error: f64,
    /// The degrees of freedom of Student's t.
    pub freedom: f64,
}

/// What a comparison says about one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The other side is worse: the interval does not contain 1, and the change is larger than the noise floor.
    Worse,
    /// The other side is better, in the same sense.
    Better,
    /// The whole interval is within the noise floor: both sides are the same for practical purposes.
    Same,
    /// The interval contains 1, or the change is within the noise floor. There may be a difference that these runs
    /// do not show.
    NotShown,
    /// The interval is so wide that a figure twice as large would be found in fewer than four of five comparisons.
    TooNoisy,
    /// Two saved reports without a control target do not show whether the machine or the program made a difference.
    TwoSittings,
}

/// An option, a program or a property of the machine that differs between two saved reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Difference {
    /// What it belongs to.
    pub of: Origin,
    /// The name of the option as on the command line, without the hyphens; otherwise the name in the report.
    pub name: String,
    /// The value of the first report.
    pub a: String,
    /// The value of the second report.
    pub b: String,
}

/// What a [`Difference`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The load: an option of `mio-echo bench`.
    Option,
    /// The version of the load generator.
    Program,
    /// The machine: its kernel, its processors and its limits.
    Environment,
}

impl Metric {
    /// Returns by how much the other side is worse, as a share of the baseline; negative if it is better.
    #[must_use]
    pub fn worse_by(&self) -> f64 {
        self.worse_at(self.ratio)
    }

    /// Returns by how much the other side would be worse at this ratio.
    pub(super) fn worse_at(&self, ratio: f64) -> f64 {
        match self.name == RATE {
            true => 1.0 - ratio,
            false => ratio - 1.0,
        }
    }
}

impl Finding {
    /// Returns the result in words. `letter` names the compared side.
    #[must_use]
    pub fn words(self, letter: char) -> String {
        match self {
            Finding::Worse => format!("{letter} is worse"),
            Finding::Better => format!("{letter} is better"),
            Finding::Same => "no difference".to_owned(),
            Finding::NotShown => "not shown".to_owned(),
            Finding::TooNoisy => "too noisy to tell".to_owned(),
            Finding::TwoSittings => "cannot tell".to_owned(),
        }
    }
}

impl Comparison {
    /// Returns the letter of the compared side.
    #[must_use]
    pub fn letter(&self) -> char {
        self.side.map_or('B', Side::letter)
    }

    /// The probability that one of the intervals does not contain its ratio. Bonferroni's correction: all intervals
    /// together contain the true ratios with the stated confidence.
    pub(super) fn alpha(&self) -> f64 {
        (1.0 - self.confidence) / self.intervals.max(1) as f64
    }

    /// Returns the options that differ, if the two sides had different loads.
    pub(super) fn different_options(&self) -> Vec<&Difference> {
        let options = self.differences.iter();
        options.filter(|d| d.of == Origin::Option).collect()
    }
}

/// A condition, and whether it is met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AssertionResult {
    /// The text of the condition.
    pub condition: String,
    /// The figure that the condition is about, such as `p99` or `regress(p99)`.
    pub figure: String,
    /// The limit as text with its unit, such as `20 ms`.
    pub limit: String,
    /// Whether the condition is met; `null` if this report cannot decide it.
    pub met: Option<bool>,
    /// The observed value, as text; or why there is none.
    pub observed: String,
    /// If the condition is about a comparison and the runs do not decide it: the number of runs of each side that
    /// would probably decide it. `null` if the condition is decided, or if no number of runs would decide it.
    pub runs_needed: Option<usize>,
}

/// The result of `--find-max`: the highest rate at which a condition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct KnownMaximum {
    /// The condition.
    pub condition: String,
    /// The highest rate at which the condition held in most runs, in messages a second; `null` if there is none.
    pub rate: Option<f64>,
    /// The next higher rate, at which most runs did not hold it, in messages a second; `null` if there is none.
    pub bound: Option<f64>,
    /// The outcome of most runs at `bound`.
    pub bound_outcome: Option<Outcome>,
    /// Whether at least three runs were made at `rate` and at `bound`.
    pub confirmed: bool,
    /// The lowest rate at which the condition did not hold in a single run. If it is at most `held_up_to`, runs
    /// contradict each other: the state of the machine changed during the search.
    pub failed_from: Option<f64>,
    /// The highest rate at which the condition held in a single run.
    pub held_up_to: Option<f64>,
    /// All rates that were tried, in ascending order.
    pub tried: Vec<TriedRate>,
}

/// The runs of a search at one rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct TriedRate {
    /// Messages a second.
    pub rate: f64,
    /// The outcome of most of the runs.
    pub outcome: Outcome,
    /// The number of runs in which the condition held.
    pub held: usize,
    /// The number of runs, without the invalid ones, which say nothing.
    pub runs: usize,
    /// The reason of the last run that had this outcome, as a sentence; the figure if the condition held or failed.
    pub why: String,
}

/// What a run says about the condition of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The condition held.
    Held,
    /// The condition did not hold.
    Failed,
    /// The server could not keep the rate.
    Overloaded,
    /// The connections of the plan could not carry the rate.
    Connections,
    /// The load generator could not keep the rate. This says nothing about the server.
    Generator,
    /// The run was invalid for another reason. This says nothing about the condition.
    Invalid,
    /// Too few messages came back to decide the condition.
    Undecided,
}

/// Where the latency of a sweep begins to rise faster than the rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Knee {
    /// The lowest rate of the knees of all rounds, in messages a second.
    pub low: f64,
    /// The highest rate of the knees of all rounds, in messages a second.
    pub high: f64,
    /// The number of rounds. Each round has one run at each rate, and one knee.
    pub rounds: usize,
}

/// The name of the figure of which more is better.
pub(super) const RATE: &str = "rate";

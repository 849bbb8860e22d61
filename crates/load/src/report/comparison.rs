//! Decides whether two servers differ, or whether the difference may be chance.
//!
//! The unit of the statistics is the run, not the message. The messages of one run share the state of the machine, so a
//! million messages of one run are only one observation. Interleaved runs are compared in pairs, which removes slow
//! changes of the machine. All calculations use logarithms, because the logarithm of a ratio is a difference.
//!
//! Two saved reports are of two sittings. The machine differs between them by more than between the runs of one
//! sitting, so their runs alone do not show whether the machine or the program made a difference. A control target that
//! both reports measured removes that of the machine: each run is divided by the control's run of the same pair.

mod differences;

use std::ops::Add;

use super::assertion::{Assertion, Quantity, Times};
use super::document::{Document, Loop, Run, Verdict};
use super::findings::{Comparison, Finding, Metric, RatioInterval};
use super::side::Side;
use super::student::{POWER, mean, t_quantile, variance};

/// The reason why runs or reports cannot be compared, as a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparisonError(String);

impl std::fmt::Display for ComparisonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ComparisonError {}

fn error<T>(why: impl Into<String>) -> Result<T, ComparisonError> {
    Err(ComparisonError(why.into()))
}

/// Compares the interleaved runs of several targets: each other target with the first one, the n-th run with the n-th
/// run. All intervals together have the stated confidence. `conditions` may add figures: those of their `regress`.
///
/// # Errors
/// There are too few runs or messages, or an open loop would be compared with a closed loop.
pub fn compare(runs: &[Run], conditions: &[Assertion]) -> Result<Vec<Comparison>, ComparisonError> {
    let mut sides: Vec<Side> = runs.iter().filter_map(|run| run.side).collect();
    sides.sort_unstable();
    sides.dedup();
    if sides == [Side::A] {
        return error(ONE_SIDE);
    }
    let others: Vec<Side> = sides.into_iter().filter(|side| *side != Side::A).collect();
    let compare = |side: &Side| {
        let mut compared = compare_pairs(&pairs(runs, *side), conditions, others.len())?;
        compared.side = Some(*side);
        Ok(compared)
    };
    others.iter().map(compare).collect()
}

/// Compares two saved reports.
///
/// If both are of two targets and have the first one in common, this one is the control: the ratios of the second
/// targets to the control are compared. Otherwise both must be of one target. Then the comparison has ratios and no
/// intervals, because two sittings do not show whether the machine or the program made a difference.
///
/// # Errors
/// The reports have runs of other targets or settings. Otherwise the errors of [`compare`].
pub fn compare_documents(
    a: &Document,
    b: &Document,
    conditions: &[Assertion],
) -> Result<Comparison, ComparisonError> {
    for document in [a, b] {
        if document.options.sweep.is_some() || document.options.find_max.is_some() {
            return error(
                "the runs of --sweep and --find-max have different settings: compare reports of one setting",
            );
        }
    }
    let mut compared = match (a.options.targets.as_slice(), b.options.targets.as_slice()) {
        ([_], [_]) => compare_sittings(&whole(&a.runs), &whole(&b.runs), conditions)?,
        ([control, _], [same, _]) if control == same => {
            let (a, b) = (pairs(&a.runs, Side::of(1)), pairs(&b.runs, Side::of(1)));
            compare_with_control(control, &a, &b, conditions)?
        }
        ([_, _], [_, _]) => {
            return error(
                "the first targets of the two reports differ: with two targets in each report, the first one is the \
                 control, which must be the same",
            );
        }
        _ => {
            return error(
                "compare reports of one target each, or of two targets each, of which the first one is the same",
            );
        }
    };
    compared.differences = differences::between(a, b);
    for (document, which) in [(a, "first"), (b, "second")] {
        if document.validity.verdict == Verdict::Invalid {
            let why = document.validity.reasons.join("; ");
            let note = format!("the {which} report is invalid: {why}");
            compared.notes.push(note);
        }
    }
    Ok(compared)
}

/// A run of the baseline and a run of the compared side that were made one after the other.
type Pair<'a> = (&'a Run, &'a Run);

/// Pairs the n-th run of side A with the n-th run of another side. Leaves out a pair if either was interrupted.
fn pairs(runs: &[Run], side: Side) -> Vec<Pair<'_>> {
    let of = |side| runs.iter().filter(move |run| run.side == Some(side));
    let pairs = of(Side::A).zip(of(side));
    pairs
        .filter(|(a, b)| !a.interrupted && !b.interrupted)
        .collect()
}

/// Leaves out the interrupted runs.
fn whole(runs: &[Run]) -> Vec<&Run> {
    runs.iter().filter(|run| !run.interrupted).collect()
}

/// Compares runs in pairs. The report has this number of such comparisons.
fn compare_pairs(
    pairs: &[Pair<'_>],
    conditions: &[Assertion],
    comparisons: usize,
) -> Result<Comparison, ComparisonError> {
    let (a, b): (Vec<&Run>, Vec<&Run>) = pairs.iter().copied().unzip();
    let figures = figures(&a, conditions);
    let mut compared = frame(&a, &b, figures.len() * comparisons)?;
    enough(&compared)?;
    compared.paired = true;
    compared.metrics = figures
        .iter()
        .filter_map(|figure| {
            let logs = |(a, b): &Pair<'_>| log(figure, a).zip(log(figure, b));
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().filter_map(logs).unzip();
            let ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            let estimate = Estimate::of_pairs(&ratios)?;
            compared.metric(figure, (&a, &b), estimate)
        })
        .collect();
    compared.find_lower_bounds(&figures, a.iter().chain(&b).copied());
    known(compared)
}

/// Compares the runs of two sittings that have a control target in common. Each pair is a run of the control and a run
/// of the measured target.
fn compare_with_control(
    control: &str,
    a: &[Pair<'_>],
    b: &[Pair<'_>],
    conditions: &[Assertion],
) -> Result<Comparison, ComparisonError> {
    let (_, runs_a): (Vec<&Run>, Vec<&Run>) = a.iter().copied().unzip();
    let (_, runs_b): (Vec<&Run>, Vec<&Run>) = b.iter().copied().unzip();
    let figures = figures(&runs_a, conditions);
    let mut compared = frame(&runs_a, &runs_b, figures.len())?;
    enough(&compared)?;
    compared.control = Some(control.to_owned());
    compared.metrics = figures
        .iter()
        .filter_map(|figure| {
            let sitting = |pairs: &[Pair<'_>]| -> (Vec<f64>, Vec<f64>) {
                let logs = pairs.iter().filter_map(|(control, measured)| {
                    let measured = log(figure, measured)?;
                    Some((measured, measured - log(figure, control)?))
                });
                logs.unzip()
            };
            let ((a, ratios_a), (b, ratios_b)) = (sitting(a), sitting(b));
            let estimate = Estimate::welch(&ratios_a, &ratios_b)?;
            compared.metric(figure, (&a, &b), estimate)
        })
        .collect();
    compared.find_lower_bounds(&figures, runs_a.iter().chain(&runs_b).copied());
    known(compared)
}

/// Compares the runs of two sittings without a control: the ratios alone.
fn compare_sittings(
    a: &[&Run],
    b: &[&Run],
    conditions: &[Assertion],
) -> Result<Comparison, ComparisonError> {
    let figures = figures(a, conditions);
    let mut compared = frame(a, b, figures.len())?;
    compared.metrics = figures
        .iter()
        .filter_map(|figure| {
            let logs = |runs: &[&Run]| -> Vec<f64> {
                runs.iter().filter_map(|run| log(figure, run)).collect()
            };
            let (a, b) = (logs(a), logs(b));
            (!a.is_empty() && !b.is_empty()).then(|| Metric {
                name: figure.to_string(),
                a: mean(&a).exp(),
                b: mean(&b).exp(),
                ratio: (mean(&b) - mean(&a)).exp(),
                lower_bounds: 0,
                interval: None,
                finding: Finding::TwoSittings,
            })
        })
        .collect();
    compared.notes.push(TWO_SITTINGS.to_owned());
    compared.find_lower_bounds(&figures, a.iter().chain(b).copied());
    known(compared)
}

/// Makes a comparison without figures, after the checks that all kinds of comparisons have in common.
fn frame(a: &[&Run], b: &[&Run], intervals: usize) -> Result<Comparison, ComparisonError> {
    let (Some(first_a), Some(first_b)) = (a.first(), b.first()) else {
        return error(ONE_SIDE);
    };
    if first_a.kind != first_b.kind {
        return error(
            "one was measured in an open loop and the other in a closed loop: their latencies have different meanings",
        );
    }
    let all = a.iter().chain(b);
    let invalid = all.filter(|run| run.validity.verdict == Verdict::Invalid);
    let notes = match invalid.count() {
        0 => Vec::new(),
        1 => vec!["1 of the runs is invalid".to_owned()],
        n => vec![format!("{n} of the runs are invalid")],
    };
    Ok(Comparison {
        a: first_a.target.clone(),
        b: first_b.target.clone(),
        side: None,
        count_a: a.len(),
        count_b: b.len(),
        paired: false,
        control: None,
        confidence: CONFIDENCE,
        intervals,
        noise_floor: NOISE_FLOOR,
        metrics: Vec::new(),
        differences: Vec::new(),
        notes,
    })
}

/// Checks that there are enough runs for an interval.
fn enough(compared: &Comparison) -> Result<(), ComparisonError> {
    let (n, m) = (compared.count_a, compared.count_b);
    if n.min(m) < FEWEST {
        return error(format!(
            "{n} and {m} runs are too few to tell a difference from chance: each side needs at least {FEWEST}"
        ));
    }
    Ok(())
}

/// Checks that a comparison has figures.
fn known(compared: Comparison) -> Result<Comparison, ComparisonError> {
    match compared.metrics.is_empty() {
        true => error("too few messages to compare: measure for longer (-d)"),
        false => Ok(compared),
    }
}

/// Returns the figures to compare: the rate of a closed loop, p50, p99, and those that a condition is about. In an open
/// loop the rate is a setting, not a result.
fn figures(runs: &[&Run], conditions: &[Assertion]) -> Vec<Quantity> {
    let is_closed = runs.first().is_some_and(|run| run.kind == Loop::Closed);
    let mut figures = vec![
        Quantity::Percentile(Times::Response, 50.0),
        Quantity::Percentile(Times::Response, 99.0),
    ];
    if is_closed {
        figures.insert(0, Quantity::Rate);
    }
    for figure in conditions.iter().filter_map(Assertion::regression) {
        if !figures.contains(figure) && (is_closed || *figure != Quantity::Rate) {
            figures.push(figure.clone());
        }
    }
    figures
}

/// Returns the logarithm of a run's figure; `None` if the run does not have it.
fn log(figure: &Quantity, run: &Run) -> Option<f64> {
    figure.value(run).filter(|value| *value > 0.0).map(f64::ln)
}

/// Whether the value of a run is only a lower bound: some of the messages that did not come back count with their age,
/// and if all of them were slower than any other, the value would be larger by more than the noise floor.
fn is_lower_bound(figure: &Quantity, run: &Run) -> bool {
    let lost = &run.latency.lower_bounds;
    let (times, percent) = match figure {
        Quantity::Percentile(times, percent) => (*times, *percent),
        Quantity::Max(times) => (*times, 100.0),
        _ => return false,
    };
    let Some(value) = figure.value(run) else {
        return false;
    };
    let moving = match times {
        // The run has the ages from the due times: those above the value are above it already.
        Times::Response => lost.histogram.count_between(0, value as u64),
        Times::Service | Times::FirstByte => lost.count,
        Times::Connect | Times::Opening | Times::Cycle => 0,
    };
    let histogram = &times.of(run).histogram;
    if moving == 0 || histogram.is_empty() {
        return false;
    }
    let share = percent / 100.0 + moving as f64 / histogram.len() as f64;
    share > 1.0 || histogram.value_at_quantile(share) as f64 > value * (1.0 + NOISE_FLOOR)
}

/// The logarithm of a ratio, as the runs estimate it.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    difference: f64,
    error: f64,
    freedom: f64,
}

impl Estimate {
    /// Estimates from the logarithms of the ratios of pairs.
    fn of_pairs(ratios: &[f64]) -> Option<Estimate> {
        let n = ratios.len() as f64;
        (ratios.len() >= FEWEST).then(|| Estimate {
            difference: mean(ratios),
            error: (variance(ratios) / n).sqrt(),
            freedom: n - 1.0,
        })
    }

    /// Estimates from two samples whose variances may differ (Welch). The degrees of freedom are Satterthwaite's.
    fn welch(a: &[f64], b: &[f64]) -> Option<Estimate> {
        let (n, m) = (a.len() as f64, b.len() as f64);
        if a.len().min(b.len()) < FEWEST {
            return None;
        }
        let (of_a, of_b) = (variance(a) / n, variance(b) / m);
        let both = of_a + of_b;
        let freedom = match both {
            0.0 => n + m - 2.0,
            _ => both * both / (of_a * of_a / (n - 1.0) + of_b * of_b / (m - 1.0)),
        };
        Some(Estimate {
            difference: mean(b) - mean(a),
            error: both.sqrt(),
            freedom,
        })
    }
}

impl Comparison {
    /// Counts the runs whose values are only lower bounds. A figure with such values shows no difference: a server that
    /// drops its connections would seem fast.
    fn find_lower_bounds<'a>(
        &mut self,
        figures: &[Quantity],
        runs: impl Iterator<Item = &'a Run> + Clone,
    ) {
        for metric in &mut self.metrics {
            let figure = figures
                .iter()
                .find(|figure| figure.to_string() == metric.name);
            let Some(figure) = figure else { continue };
            let bounds = runs
                .clone()
                .filter(|run| is_lower_bound(figure, run))
                .count();
            if bounds == 0 {
                continue;
            }
            metric.lower_bounds = bounds;
            if metric.interval.is_some() {
                metric.finding = Finding::NotShown;
            }
            self.notes.push(format!(
                "{}: in {bounds} of the runs it is a lower bound, because messages that did not come back count with \
                 their age",
                metric.name
            ));
        }
    }

    /// Makes a figure of the logarithms of both sides' values and of the estimated ratio.
    fn metric(
        &self,
        figure: &Quantity,
        (a, b): (&[f64], &[f64]),
        estimate: Estimate,
    ) -> Option<Metric> {
        let Estimate {
            difference,
            error,
            freedom,
        } = estimate;
        let quantile = t_quantile(freedom, 1.0 - self.alpha() / 2.0)?;
        let power = t_quantile(freedom, POWER)?;
        let (low, high) = (difference - quantile * error, difference + quantile * error);
        let interval = RatioInterval {
            low: low.exp(),
            high: high.exp(),
            // Found: the interval excludes 1, and the ratio is beyond the noise floor.
            detectable: (quantile * error)
                .max((1.0 + self.noise_floor).ln())
                .add(power * error)
                .exp()
                - 1.0,
            error,
            freedom,
        };
        let mut metric = Metric {
            name: figure.to_string(),
            a: mean(a).exp(),
            b: mean(b).exp(),
            ratio: difference.exp(),
            lower_bounds: 0,
            interval: Some(interval),
            finding: Finding::NotShown,
        };
        metric.finding = self.finding(&metric, &interval);
        Some(metric)
    }

    fn finding(&self, metric: &Metric, interval: &RatioInterval) -> Finding {
        let floor = (1.0 + self.noise_floor).ln();
        let (low, high) = (interval.low.ln(), interval.high.ln());
        let excludes_1 = low > 0.0 || high < 0.0;
        if -floor <= low && high <= floor {
            return Finding::Same;
        }
        if excludes_1 && metric.ratio.ln().abs() > floor {
            return match metric.worse_by() > 0.0 {
                true => Finding::Worse,
                false => Finding::Better,
            };
        }
        match interval.detectable > TOO_NOISY {
            true => Finding::TooNoisy,
            false => Finding::NotShown,
        }
    }
}

/// The error of a comparison whose other side has no run.
const ONE_SIDE: &str = "each side needs a run that was not interrupted";

/// The confidence of all intervals together. If two servers are equal, at most one comparison in twenty reports a
/// difference.
const CONFIDENCE: f64 = 0.95;

/// The smallest change that counts as a difference, as a share. Two runs of one server differ by this much on a quiet
/// machine, and smaller changes do not matter in practice.
const NOISE_FLOOR: f64 = 0.02;

/// The fewest pairs of runs. With two there is one degree of freedom, and the interval is so wide that it says nothing.
pub(super) const FEWEST: usize = 3;

/// If only a change of more than this share would be found, the runs are too noisy to tell.
const TOO_NOISY: f64 = 1.0;

/// The note on two saved reports without a control target.
const TWO_SITTINGS: &str = "two sittings do not show whether the machine or the program made the difference: \
     measure both side by side (bench A B), or measure the same control target first in both reports (bench CONTROL A, \
     bench CONTROL B)";

#[cfg(test)]
mod tests;

//! Decides whether two servers differ, or whether the difference may be chance.
//!
//! The unit of the statistics is the run, not the message. The messages of one run share the state of the machine, so a
//! million messages of one run are only one observation. Interleaved runs are compared in pairs, which removes slow
//! changes of the machine. Other runs are compared with Welch's test. Both methods use logarithms, because the
//! logarithm of a ratio is a difference.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::document::{Document, Loop, Run, Verdict};
use super::findings::{Comparison, Metric};

/// The reason why runs or reports cannot be compared, as a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparisonError(String);

impl std::fmt::Display for ComparisonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ComparisonError {}

/// Compares the interleaved runs of two targets: the n-th run of `b` with the n-th run of `a`.
///
/// # Errors
/// There are too few runs or messages, or an open loop would be compared with a closed loop.
pub fn compare(a: &[&Run], b: &[&Run]) -> Result<Comparison, ComparisonError> {
    build(a, b, a.len() == b.len())
}

/// Compares two saved reports, each of one target.
///
/// # Errors
/// A report has runs of several targets or settings. Otherwise the errors of [`compare`].
pub fn compare_documents(a: &Document, b: &Document) -> Result<Comparison, ComparisonError> {
    for document in [a, b] {
        let target = document.runs.first().map(|run| &run.target);
        let sides = document.runs.iter().any(|run| run.side.is_some());
        if sides || document.runs.iter().any(|run| Some(&run.target) != target) {
            return Err(ComparisonError(
                "a report of two targets already has its comparison, under \"comparison\""
                    .to_owned(),
            ));
        }
        if document.options.sweep.is_some() || document.options.find_max.is_some() {
            return Err(ComparisonError(
                "the runs of --sweep and --find-max have different settings: compare reports of one setting"
                    .to_owned(),
            ));
        }
    }
    let runs = |document: &Document| document.runs.clone();
    let (a, b) = (runs(a), runs(b));
    build(
        &a.iter().collect::<Vec<_>>(),
        &b.iter().collect::<Vec<_>>(),
        false,
    )
}

fn build(a: &[&Run], b: &[&Run], paired: bool) -> Result<Comparison, ComparisonError> {
    let (a, b) = whole(a, b, paired);
    let (Some(first_a), Some(first_b)) = (a.first(), b.first()) else {
        return Err(ComparisonError(
            "each side needs a run that was not interrupted".to_owned(),
        ));
    };
    if first_a.kind != first_b.kind {
        return Err(ComparisonError(
            "one was measured in an open loop and the other in a closed loop: their latencies have different meanings"
                .to_owned(),
        ));
    }
    let mut notes = notes(&a, &b);
    let (samples_a, samples_b, unit, noise_floor) = match (a.len(), b.len()) {
        (1, 1) => {
            notes.push(format!(
                "one run on each side does not show how much runs of one server differ, so only a change of more than \
                 {:.0} % counts; use --runs to find smaller changes",
                FLOOR_OF_ONE_RUN * 100.0
            ));
            let seconds = (Samples::of_seconds(first_a), Samples::of_seconds(first_b));
            (seconds.0, seconds.1, "seconds", FLOOR_OF_ONE_RUN)
        }
        (n, m) if n < FEWEST || m < FEWEST => {
            return Err(ComparisonError(format!(
                "{n} and {m} runs are too few to tell a difference from chance: each side needs at least {FEWEST}"
            )));
        }
        _ => (
            Samples::of_runs(&a),
            Samples::of_runs(&b),
            "runs",
            NOISE_FLOOR,
        ),
    };
    // In an open loop the rate is a setting, not a result.
    let with_rate = first_a.kind == Loop::Closed;
    let metrics = metrics(&samples_a, &samples_b, paired, noise_floor, with_rate);
    if metrics.is_empty() {
        return Err(ComparisonError(
            "too few seconds or messages to compare: measure for longer (-d), or make several runs (--runs)"
                .to_owned(),
        ));
    }
    Ok(Comparison {
        a: first_a.target.clone(),
        b: first_b.target.clone(),
        unit: unit.to_owned(),
        count_a: samples_a.len(),
        count_b: samples_b.len(),
        paired,
        confidence: CONFIDENCE,
        noise_floor,
        metrics,
        notes,
    })
}

/// Leaves out the interrupted runs. In a paired comparison, leaves out a pair if either of its runs was interrupted.
fn whole<'a>(a: &[&'a Run], b: &[&'a Run], paired: bool) -> (Vec<&'a Run>, Vec<&'a Run>) {
    if paired {
        let pairs = a.iter().copied().zip(b.iter().copied());
        return pairs
            .filter(|(a, b)| !a.interrupted && !b.interrupted)
            .unzip();
    }
    let whole = |runs: &[&'a Run]| {
        runs.iter()
            .copied()
            .filter(|run| !run.interrupted)
            .collect()
    };
    (whole(a), whole(b))
}

fn notes(a: &[&Run], b: &[&Run]) -> Vec<String> {
    let mut notes = Vec::new();
    let first = a.first().zip(b.first());
    if first.is_some_and(|(a, b)| !a.parameters.same_load(&b.parameters)) {
        notes.push(
            "the settings of the two sides differ: connections, rate, count, size, pipeline or verification"
                .to_owned(),
        );
    }
    let all = a.iter().chain(b);
    match all
        .filter(|run| run.validity.verdict == Verdict::Invalid)
        .count()
    {
        0 => {}
        1 => notes.push("1 of the runs is invalid".to_owned()),
        n => notes.push(format!("{n} of the runs are invalid")),
    }
    notes
}

/// The figures of each run, or of each second. A percentile is `None` if there were too few messages for it.
struct Samples {
    rate: Vec<Option<f64>>,
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
}

impl Samples {
    fn of_runs(runs: &[&Run]) -> Samples {
        let percentile = |percent| {
            let of = |run: &&Run| run.latency.response.percentile(percent);
            runs.iter().map(|run| of(run).map(|ns| ns as f64)).collect()
        };
        let rate = |run: &&Run| Some(run.throughput.messages_per_second);
        Samples {
            rate: runs.iter().map(rate).collect(),
            p50: percentile(50.0),
            p99: percentile(99.0),
        }
    }

    fn of_seconds(run: &Run) -> Samples {
        let seconds = run.intervals.iter();
        let whole = seconds.filter(|i| i.length_ns >= 900_000_000 && i.ok > 0);
        let percentile = |percent| {
            let found = whole.clone().map(|i| i.response.percentile(percent));
            found.map(|ns| ns.map(|ns| ns as f64)).collect()
        };
        Samples {
            rate: whole
                .clone()
                .map(|second| Some(second.messages_per_second()))
                .collect(),
            p50: percentile(50.0),
            p99: percentile(99.0),
        }
    }

    fn len(&self) -> usize {
        self.rate.len()
    }
}

fn metrics(a: &Samples, b: &Samples, paired: bool, floor: f64, with_rate: bool) -> Vec<Metric> {
    let figures = [
        ("rate", &a.rate, &b.rate),
        ("p50", &a.p50, &b.p50),
        ("p99", &a.p99, &b.p99),
    ];
    let shown = figures.iter().skip(usize::from(!with_rate));
    // Bonferroni correction: all intervals together contain the true ratios with the stated confidence.
    let alpha = (1.0 - CONFIDENCE) / shown.len() as f64;
    let compared = shown.filter_map(|(name, a, b)| metric(name, a, b, paired, floor, alpha));
    compared.collect()
}

fn metric(
    name: &str,
    a: &[Option<f64>],
    b: &[Option<f64>],
    paired: bool,
    floor: f64,
    alpha: f64,
) -> Option<Metric> {
    // A pair is left out if one of its runs does not have this figure.
    let (a, b): (Vec<f64>, Vec<f64>) = match paired {
        true => a.iter().zip(b).filter_map(|(a, b)| a.zip(*b)).unzip(),
        false => (
            a.iter().copied().flatten().collect(),
            b.iter().copied().flatten().collect(),
        ),
    };
    let logs = |values: &[f64]| -> Option<Vec<f64>> {
        let positive = values.iter().all(|value| *value > 0.0);
        (positive && values.len() >= FEWEST).then(|| values.iter().map(|v| v.ln()).collect())
    };
    let (log_a, log_b) = (logs(&a)?, logs(&b)?);
    let (difference, error, freedom) = if paired {
        let pairs: Vec<f64> = log_a.iter().zip(&log_b).map(|(a, b)| b - a).collect();
        let n = pairs.len() as f64;
        (mean(&pairs), (variance(&pairs) / n).sqrt(), n - 1.0)
    } else {
        welch(&log_a, &log_b)
    };
    let (quantile, power) = match StudentsT::new(0.0, 1.0, freedom) {
        Ok(t) => (t.inverse_cdf(1.0 - alpha / 2.0), t.inverse_cdf(POWER)),
        Err(_) => return None,
    };
    let (low, high) = (difference - quantile * error, difference + quantile * error);
    let ratio = difference.exp();
    let beyond_the_floor = (ratio - 1.0).abs().max((1.0 / ratio - 1.0).abs()) > floor;
    Some(Metric {
        name: name.to_owned(),
        a: mean(&log_a).exp(),
        b: mean(&log_b).exp(),
        ratio,
        low: low.exp(),
        high: high.exp(),
        detectable: (((quantile + power) * error).exp() - 1.0).max(floor),
        difference: (low > 0.0 || high < 0.0) && beyond_the_floor,
    })
}

/// Welch's test, for samples whose variances may differ. Returns the difference of the means, its standard error, and
/// the degrees of freedom by Satterthwaite's formula.
fn welch(a: &[f64], b: &[f64]) -> (f64, f64, f64) {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (of_a, of_b) = (variance(a) / n, variance(b) / m);
    let both = of_a + of_b;
    let freedom = match both {
        0.0 => n + m - 2.0,
        _ => both * both / (of_a * of_a / (n - 1.0) + of_b * of_b / (m - 1.0)),
    };
    (mean(b) - mean(a), both.sqrt(), freedom)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    squares / (values.len() as f64 - 1.0)
}

/// The confidence of all intervals together. If two servers are equal, at most one comparison in twenty reports a
/// difference.
const CONFIDENCE: f64 = 0.95;

/// The smallest change that counts as a difference, as a share. Two runs of one server differ by this much on a quiet
/// machine, and smaller changes do not matter in practice.
const NOISE_FLOOR: f64 = 0.02;

/// The same for one run on each side. On a shared machine, separate runs of one server sometimes differ by this much.
const FLOOR_OF_ONE_RUN: f64 = 0.25;

/// The fewest runs or seconds of each side. With two runs there is one degree of freedom, and the interval is so wide
/// that it says nothing.
pub(super) const FEWEST: usize = 3;

/// The probability that a comparison finds a true change of the size [`Metric::detectable`].
const POWER: f64 = 0.8;

#[cfg(test)]
mod tests;

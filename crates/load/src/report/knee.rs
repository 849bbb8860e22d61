//! Finds the knee of a sweep: where the latency begins to rise faster than the rate.

use super::document::{Run, Verdict};
use super::findings::Knee;

/// Returns the knee of the runs of a sweep over rates, or the reason why none is stated, as a sentence.
///
/// Each round, which has one run at each rate, gives a knee. The rounds show how much chance moves it. A single round
/// does not show this: on a noisy machine its knee is where the latency happened to be low.
pub(super) fn of_sweep(runs: &[Run]) -> Result<Knee, String> {
    let mut rates: Vec<f64> = runs.iter().filter_map(|run| run.parameters.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    if rates.len() < FEWEST_RATES {
        return Err(format!("a knee needs at least {FEWEST_RATES} rates"));
    }
    let invalid = |run: &&Run| run.validity.verdict == Verdict::Invalid;
    if let Some(run) = runs.iter().find(invalid) {
        return Err(format!(
            "no knee is shown: run {} is invalid",
            run.index + 1
        ));
    }
    let whole: Vec<&Run> = runs.iter().filter(|run| !run.interrupted).collect();
    if whole
        .iter()
        .any(|run| run.latency.response.percentile(99.0).is_none())
    {
        return Err(
            "no knee is shown: too few messages came back for the p99 of a run; measure for longer (-d)".to_owned(),
        );
    }
    let rounds: Vec<&[&Run]> = whole.chunks_exact(rates.len()).collect();
    if rounds.len() < FEWEST_ROUNDS {
        return Err(format!(
            "a knee needs at least {FEWEST_ROUNDS} runs at each rate, because one run does not show how much chance \
             moves it: see --runs"
        ));
    }
    let knees: Vec<f64> = rounds.iter().filter_map(|round| of_round(round)).collect();
    if knees.len() < rounds.len() {
        return Err(format!(
            "no knee is shown: in {} of {} rounds the curve does not bend",
            rounds.len() - knees.len(),
            rounds.len()
        ));
    }
    Ok(Knee {
        low: knees.iter().copied().fold(f64::MAX, f64::min),
        high: knees.iter().copied().fold(0.0, f64::max),
        rounds: rounds.len(),
    })
}

/// Returns the rate of the knee of one round.
fn of_round(runs: &[&Run]) -> Option<f64> {
    let point = |run: &&Run| {
        let p99 = run.latency.response.percentile(99.0)?;
        Some((run.parameters.rate?, p99 as f64))
    };
    let mut points: Vec<(f64, f64)> = runs.iter().filter_map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    furthest_below_the_line(&points)
}

/// Returns the rate of the point that is furthest below the straight line between the first and the last point. Both
/// axes are scaled to 1, and the latency is taken as its logarithm (Satopää and others, "Finding a 'Kneedle' in a
/// Haystack", 2011). `None` for fewer than four points, or for a curve that does not bend.
fn furthest_below_the_line(points: &[(f64, f64)]) -> Option<f64> {
    let ((x0, y0), (x1, y1)) = (*points.first()?, *points.last()?);
    if points.len() < FEWEST_RATES || x1 <= x0 || y1 <= y0 {
        return None;
    }
    let below = |(x, y): (f64, f64)| (x - x0) / (x1 - x0) - (y / y0).ln() / (y1 / y0).ln();
    let furthest = points
        .iter()
        .copied()
        .max_by(|a, b| below(*a).total_cmp(&below(*b)))?;
    (below(furthest) > BEND).then_some(furthest.0)
}

/// A knee is at least this far below the line: a tenth of the plot's height.
const BEND: f64 = 0.1;

/// With fewer points there is no point between the ends that others confirm.
const FEWEST_RATES: usize = 4;

/// With fewer rounds the range of their knees says little.
const FEWEST_ROUNDS: usize = 3;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::report::Measured;
    use crate::{Plan, Recording};

    #[test]
    fn the_knee_of_a_curve_is_where_it_bends() {
        let bent = [
            (1.0, 50.0),
            (2.0, 55.0),
            (3.0, 60.0),
            (4.0, 70.0),
            (4.2, 1e4),
            (4.3, 1e5),
        ];
        assert_eq!(furthest_below_the_line(&bent), Some(4.0));
        let straight = [(1.0, 1e1), (2.0, 1e2), (3.0, 1e3), (4.0, 1e4)];
        assert_eq!(furthest_below_the_line(&straight), None);
        assert_eq!(furthest_below_the_line(&[]), None);
    }

    /// Makes a round of runs at 1,000 to 8,000 messages a second with these response times in microseconds.
    fn round(p99_us: [u64; 4]) -> Vec<Run> {
        let rates = [1e3, 2e3, 4e3, 8e3];
        let run = |(rate, us): (f64, u64)| {
            let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
            plan.rate = Some(rate);
            let mut recording = Recording::empty();
            recording.response.record_n(us * 1000, 10_000).unwrap();
            recording.completed = 10_000;
            recording.window_ns = (10_000.0 / rate * 1e9) as u64;
            let mut run = Run::new(0, Measured::new(&plan, recording, UNIX_EPOCH));
            run.validity.verdict = Verdict::Valid;
            run
        };
        rates.into_iter().zip(p99_us).map(run).collect()
    }

    #[test]
    fn the_knee_of_a_sweep_has_the_range_of_its_rounds() {
        let bends_late = [100, 101, 102, 9_000];
        let bends_early = [100, 101, 4_000, 9_000];
        let one = round(bends_late);
        assert!(of_sweep(&one).unwrap_err().contains("--runs"));
        let rounds = [round(bends_late), round(bends_early), round(bends_late)].concat();
        let knee = of_sweep(&rounds).unwrap();
        assert_eq!((knee.low, knee.high, knee.rounds), (2e3, 4e3, 3));
        let mut with_an_invalid_run = rounds.clone();
        with_an_invalid_run[0].validity.verdict = Verdict::Invalid;
        let why = of_sweep(&with_an_invalid_run).unwrap_err();
        assert!(why.contains("run 1 is invalid"), "{why}");
        let flat = [round(bends_late), round([100; 4]), round(bends_late)].concat();
        assert!(of_sweep(&flat).unwrap_err().contains("1 of 3 rounds"));
    }
}

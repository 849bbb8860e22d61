//! Tests how often a comparison reports a difference that is only chance, and how often it finds a true one. The
//! simulated runs of a sitting are correlated, as on a shared machine: its speed changes slowly, and drifts.

use super::*;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use crate::report::latency::Latency;
use crate::report::{AssertionResult, Measured, Options, units};
use crate::{Plan, Recording};

/// A random generator. The same seed gives the same numbers.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns an approximately normal number: mean 0, standard deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// A run of a closed loop whose histograms take little memory.
static TEMPLATE: LazyLock<Run> = LazyLock::new(|| {
    let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    let mut run = Run::new(0, Measured::new(&plan, Recording::empty(), UNIX_EPOCH));
    let none = Latency::new(crate::Histogram::<u64>::new(3).unwrap());
    let latency = &mut run.latency;
    for times in [
        &mut latency.response,
        &mut latency.service,
        &mut latency.first_byte,
        &mut latency.connect,
        &mut latency.opening,
        &mut latency.cycle,
        &mut latency.lower_bounds,
        &mut run.generator.lateness,
    ] {
        *times = none.clone();
    }
    run.validity.verdict = Verdict::Valid;
    run
});

/// One sitting on a shared machine. The logarithm of its speed has a level of its own, drifts, and has a part that
/// changes slowly from run to run (a first-order autoregressive process).
struct Sitting {
    dice: Dice,
    level: f64,
    drift: f64,
    mood: f64,
    runs: usize,
}

impl Sitting {
    /// Starts a sitting. Its level differs from that of other sittings by a standard deviation of 15 %. It drifts by a
    /// standard deviation of 2 % a run.
    fn new(seed: u64) -> Sitting {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9).wrapping_add(1));
        let level = 0.15 * dice.normal();
        let drift = 0.02 * dice.normal();
        let mood = 0.1 * dice.normal();
        Sitting {
            dice,
            level,
            drift,
            mood,
            runs: 0,
        }
    }

    /// Makes the next run: of a server whose messages take `slower` times as long as on a quiet machine.
    fn run(&mut self, side: Option<Side>, slower: f64) -> Run {
        // The mood keeps 80 % from run to run, and its standard deviation stays 10 %.
        self.mood = 0.8 * self.mood + 0.06 * self.dice.normal();
        let common = self.level + self.drift * self.runs as f64 + self.mood;
        self.runs += 1;
        let own = |dice: &mut Dice, deviation: f64| (common + deviation * dice.normal()).exp();
        let (p50, p99) = (own(&mut self.dice, 0.03), own(&mut self.dice, 0.06));
        // A template is much faster to copy than a run is to summarise.
        let mut run = TEMPLATE.clone();
        let mut times = crate::Histogram::<u64>::new(3).unwrap();
        times.record_n((50e3 * slower * p50) as u64, 1_900).unwrap();
        times.record_n((200e3 * slower * p99) as u64, 100).unwrap();
        run.latency.response = Latency::new(times);
        run.throughput.messages_per_second = 1e9 / (slower * own(&mut self.dice, 0.03));
        run.side = side;
        run
    }

    /// Makes interleaved runs of targets: `slower` has the speed of each.
    fn side_by_side(&mut self, rounds: usize, slower: &[f64]) -> Vec<Run> {
        let mut runs = Vec::new();
        for round in 0..rounds {
            for place in 0..slower.len() {
                let number = (place + round) % slower.len();
                runs.push(self.run(Some(Side::of(number)), slower[number]));
            }
        }
        runs
    }
}

/// Makes a report of runs of these targets.
fn document(runs: Vec<Run>, targets: &[&str]) -> Document {
    let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    let options = Options {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        ..Options::from(&plan)
    };
    let mut document = crate::report::DocumentBuilder::new(options, UNIX_EPOCH).build();
    document.validity.verdict = Verdict::Valid;
    document.runs = runs;
    document
}

fn differs(comparison: &Comparison) -> bool {
    let is_different = |finding| matches!(finding, Finding::Worse | Finding::Better);
    let mut metrics = comparison.metrics.iter();
    metrics.any(|metric| is_different(metric.finding))
}

fn metric<'a>(comparison: &'a Comparison, name: &str) -> &'a Metric {
    let found = comparison.metrics.iter().find(|m| m.name == name);
    found.unwrap()
}

/// The runs of each target that `mio-echo bench A B` makes without `--runs`.
const DEFAULT_RUNS: usize = 5;

/// The number of simulated comparisons. Of 400 comparisons of equal servers, 5 % are 20; 30 are more than two standard
/// deviations above that.
const TRIALS: usize = 400;
const MOST_FALSE: usize = 30;

#[test]
fn at_most_five_per_cent_of_sittings_report_a_false_difference() {
    for targets in [2, 4] {
        let equal = vec![1.0; targets];
        let found = (0..TRIALS).filter(|trial| {
            let runs = Sitting::new(*trial as u64).side_by_side(DEFAULT_RUNS, &equal);
            compare(&runs, &[]).unwrap().iter().any(differs)
        });
        let found = found.count();
        println!("{targets} equal targets side by side: {found} of {TRIALS} report a difference");
        assert!(
            found <= MOST_FALSE,
            "{targets} targets: {found} of {TRIALS}"
        );
    }
}

#[test]
fn a_difference_of_the_detectable_size_is_found_in_four_of_five_sittings() {
    for (slower, fewest) in [(1.1, 0), (1.2, 200), (1.3, 360)] {
        let (mut found, mut detectable) = (0, 0.0);
        for trial in 0..TRIALS {
            let runs = Sitting::new(trial as u64).side_by_side(DEFAULT_RUNS, &[1.0, slower]);
            let compared = compare(&runs, &[]).unwrap();
            let p50 = metric(&compared[0], "p50");
            found += usize::from(p50.finding == Finding::Worse);
            detectable += p50.interval.unwrap().detectable / TRIALS as f64;
        }
        println!(
            "B slower by {:.0} %: found in {found} of {TRIALS} sittings of {DEFAULT_RUNS} runs; detectable {}",
            (slower - 1.0) * 100.0,
            units::percent(detectable)
        );
        assert!(found >= fewest, "{slower}: {found}");
        assert!((0.05..0.30).contains(&detectable), "{detectable}");
    }
}

#[test]
fn two_sittings_without_a_control_are_not_judged() {
    let mut falsely = 0;
    for trial in 0..TRIALS {
        let sitting = |seed| -> Vec<Run> {
            let mut sitting = Sitting::new(seed);
            (0..DEFAULT_RUNS).map(|_| sitting.run(None, 1.0)).collect()
        };
        let (a, b) = (sitting(2 * trial as u64), sitting(2 * trial as u64 + 1));
        let logs = |runs: &[Run]| -> Vec<f64> {
            let p50 = Quantity::Percentile(Times::Response, 50.0);
            runs.iter().filter_map(|run| log(&p50, run)).collect()
        };
        let estimate = Estimate::welch(&logs(&a), &logs(&b)).unwrap();
        let quantile = t_quantile(estimate.freedom, 0.975).unwrap();
        falsely += usize::from(estimate.difference.abs() > quantile * estimate.error);
        let (a, b) = (document(a, &["old"]), document(b, &["new"]));
        let regress: Assertion = "regress(p99)>10%".parse().unwrap();
        let compared = compare_documents(&a, &b, std::slice::from_ref(&regress)).unwrap();
        assert_eq!(metric(&compared, "p50").finding, Finding::TwoSittings);
        let mut b = b;
        b.comparisons = vec![compared];
        assert_eq!(regress.check(&b).met, None);
    }
    println!(
        "with an interval of the runs alone, {falsely} of {TRIALS} equal pairs of sittings would differ"
    );
    assert!(
        falsely > TRIALS / 4,
        "the simulated sittings are too much alike: {falsely}"
    );
}

#[test]
fn a_control_target_takes_the_sitting_out() {
    for (slower, least, most) in [(1.0, 0, MOST_FALSE), (1.3, 300, TRIALS)] {
        let found = (0..TRIALS).filter(|trial| {
            let report = |seed: usize, slower: f64, name: &str| {
                let runs = Sitting::new(seed as u64).side_by_side(DEFAULT_RUNS, &[1.0, slower]);
                document(runs, &["control", name])
            };
            let (a, b) = (
                report(2 * trial, 1.0, "old"),
                report(2 * trial + 1, slower, "new"),
            );
            let compared = compare_documents(&a, &b, &[]).unwrap();
            assert_eq!(compared.control.as_deref(), Some("control"));
            differs(&compared)
        });
        let found = found.count();
        println!(
            "two sittings with a control, B slower by {slower}: {found} of {TRIALS} report a difference"
        );
        assert!(
            (least..=most).contains(&found),
            "{slower}: {found} of {TRIALS}"
        );
    }
}

fn regression(trial: usize, runs: usize, slower: f64) -> AssertionResult {
    let condition: Assertion = "regress(p99)>10%".parse().unwrap();
    let runs = Sitting::new(trial as u64).side_by_side(runs, &[1.0, slower]);
    let mut document = document(runs, &["old", "new"]);
    document.comparisons = compare(&document.runs, std::slice::from_ref(&condition)).unwrap();
    condition.check(&document)
}

#[test]
fn a_regression_is_met_not_met_or_undecided() {
    for (slower, wrong, most_wrong) in [
        (1.0, Some(true), MOST_FALSE),
        (1.05, Some(true), MOST_FALSE),
        (1.2, Some(false), MOST_FALSE),
        (1.5, Some(false), MOST_FALSE),
    ] {
        let results: Vec<Option<bool>> = (0..TRIALS)
            .map(|trial| regression(trial, DEFAULT_RUNS, slower).met)
            .collect();
        let count = |met| results.iter().filter(|result| **result == met).count();
        println!(
            "regress(p99)>10%, B slower by {:.0} %: FAIL {}, pass {}, UNKNOWN {} of {TRIALS}",
            (slower - 1.0) * 100.0,
            count(Some(true)),
            count(Some(false)),
            count(None)
        );
        assert!(count(wrong) <= most_wrong, "{slower}: {results:?}");
    }
}

#[test]
fn the_suggested_number_of_runs_decides_most_undecided_conditions() {
    let (mut decided, mut tried) = (0, 0);
    for trial in 0..TRIALS {
        let first = regression(trial, DEFAULT_RUNS, 1.0);
        let Some(needed) = first.runs_needed.filter(|needed| *needed <= 100) else {
            continue;
        };
        assert!(
            first.met.is_none() && first.observed.contains("would decide"),
            "{first:?}"
        );
        tried += 1;
        decided += usize::from(regression(trial + TRIALS, needed, 1.0).met.is_some());
    }
    println!(
        "{decided} of {tried} undecided conditions are decided by the suggested number of runs"
    );
    assert!(
        tried > 50 && decided * 100 >= tried * 65,
        "{decided} of {tried}"
    );
}

#[test]
fn a_run_never_differs_from_itself() {
    let mut sitting = Sitting::new(1);
    for count in [3, 10] {
        let runs: Vec<Run> = (0..count)
            .map(|_| sitting.run(Some(Side::A), 1.0))
            .collect();
        let mut both = runs.clone();
        both.extend(runs.into_iter().map(|run| Run {
            side: Some(Side::of(1)),
            ..run
        }));
        let compared = compare(&both, &[]).unwrap();
        for metric in &compared[0].metrics {
            assert_eq!((metric.ratio, metric.finding), (1.0, Finding::Same));
        }
    }
}

#[test]
fn fewer_than_three_runs_are_not_compared() {
    let runs = Sitting::new(3).side_by_side(2, &[1.0, 1.0]);
    let error = compare(&runs, &[]).unwrap_err();
    assert!(error.to_string().contains("at least 3"), "{error}");
}

#[test]
fn open_and_closed_loops_are_not_compared() {
    let mut runs = Sitting::new(4).side_by_side(3, &[1.0, 1.0]);
    let b = runs.iter_mut().filter(|run| run.side != Some(Side::A));
    b.for_each(|run| run.kind = Loop::Open);
    compare(&runs, &[]).unwrap_err();
}

#[test]
fn a_condition_may_add_a_figure() {
    let mut runs = Sitting::new(5).side_by_side(3, &[1.0, 1.0]);
    for run in &mut runs {
        run.latency.connect = run.latency.response.clone();
    }
    let condition: Assertion = "regress(connect.p90)>5%".parse().unwrap();
    let compared = compare(&runs, &[condition]).unwrap();
    let names: Vec<&str> = compared[0]
        .metrics
        .iter()
        .map(|m| m.name.as_str())
        .collect();
    assert_eq!(names, ["rate", "p50", "p99", "connect.p90"]);
    assert_eq!(compared[0].intervals, 4);
}

#[test]
fn different_options_are_named_and_leave_a_regression_undecided() {
    let report = |slower: f64| {
        let runs = Sitting::new(6).side_by_side(5, &[1.0, slower]);
        document(runs, &["control", "server"])
    };
    let (a, mut b) = (report(1.0), report(1.0));
    b.options.reconnect = Some(1);
    b.options.no_delay = false;
    b.environment.kernel = "another".to_owned();
    let condition: Assertion = "regress(p99)>10%".parse().unwrap();
    let compared = compare_documents(&a, &b, std::slice::from_ref(&condition)).unwrap();
    let mut names: Vec<&str> = compared
        .differences
        .iter()
        .map(|d| d.name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["kernel", "no-delay", "reconnect"]);
    b.comparisons = vec![compared];
    let checked = condition.check(&b);
    assert_eq!(checked.met, None);
    assert!(checked.observed.contains("the loads differ"), "{checked:?}");
}

#[test]
fn a_higher_rate_is_better_and_a_higher_latency_is_worse() {
    let metric = |name: &str| Metric {
        name: name.to_owned(),
        a: 1.0,
        b: 1.5,
        ratio: 1.5,
        lower_bounds: 0,
        interval: None,
        finding: Finding::NotShown,
    };
    assert_eq!(metric("rate").worse_by(), -0.5);
    assert_eq!(metric("p99").worse_by(), 0.5);
}

/// A server that resets its connections at once: the ages of the lost messages are short, and its p99 seems low.
#[test]
fn lost_messages_do_not_make_a_server_seem_fast() {
    let histogram = |ns: u64, count: u64| {
        let mut histogram = crate::histogram();
        histogram.record_n(ns, count).unwrap();
        histogram
    };
    let mut runs = Vec::new();
    for n in 0..10 {
        let side = Side::of(n % 2);
        let mut run = TEMPLATE.clone();
        run.side = Some(side);
        // 2 % of the messages take 10 ms. In those of B they are lost instead, after 1 µs.
        let mut response = histogram(1_000_000, 9_800);
        let slow = if side == Side::A { 10_000_000 } else { 1_000 };
        crate::add(&mut response, &histogram(slow, 200));
        run.latency.response = Latency::new(response);
        if side != Side::A {
            run.latency.lower_bounds = Latency::new(histogram(1_000, 200));
        }
        runs.push(run);
    }
    let condition: Assertion = "regress(p99)>10%".parse().unwrap();
    let compared = compare(&runs, &[]).unwrap().remove(0);
    let of = |name: &str| compared.metrics.iter().find(|m| m.name == name).unwrap();
    assert_eq!(
        (of("p99").lower_bounds, of("p99").finding),
        (5, Finding::NotShown)
    );
    assert_eq!(
        (of("p50").lower_bounds, of("p50").finding),
        (0, Finding::Same)
    );
    let result = condition.check_regression("p99", std::slice::from_ref(&compared));
    assert_eq!(result.met, None, "{}", result.observed);
    assert!(
        result.observed.contains("did not come back"),
        "{}",
        result.observed
    );
}

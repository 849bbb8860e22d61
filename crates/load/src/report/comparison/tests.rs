//! Tests how often a comparison reports a difference that is only chance, and how often it finds a true one.

use super::*;
use std::time::UNIX_EPOCH;

use crate::report::{Measured, units};
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

/// Makes a run of 2,000 messages. Its own median differs from `median_ns` by a standard deviation of a tenth, as runs
/// on a shared machine do.
fn run(dice: &mut Dice, index: usize, median_ns: f64) -> Run {
    let level = median_ns * (0.1 * dice.normal()).exp();
    let mut recording = Recording::empty();
    for _ in 0..2_000 {
        let value = level * (0.5 * dice.normal()).exp();
        recording.response.record(value as u64).unwrap();
    }
    recording.service = recording.response.clone();
    recording.counts.ok = 2_000;
    recording.completed = (2_000.0 * median_ns / level) as u64;
    recording.window_ns = 1_000_000_000;
    recording.health.opened = 50;
    let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    Run::new(index, Measured::new(&plan, recording, UNIX_EPOCH))
}

fn runs(dice: &mut Dice, count: usize, median_ns: f64) -> Vec<Run> {
    (0..count)
        .map(|index| run(dice, index, median_ns))
        .collect()
}

fn refs(runs: &[Run]) -> Vec<&Run> {
    runs.iter().collect()
}

fn finds(comparison: &Comparison) -> bool {
    comparison.metrics.iter().any(|metric| metric.difference)
}

#[test]
fn a_run_never_differs_from_itself() {
    let mut dice = Dice(1);
    for count in [1, 3, 10] {
        let one = runs(&mut dice, count, 50e3);
        for paired in [true, false] {
            match build(&refs(&one), &refs(&one), paired) {
                Ok(comparison) => {
                    assert!(!finds(&comparison), "{comparison:#?}");
                    assert!(
                        comparison
                            .metrics
                            .iter()
                            .all(|m| (m.ratio - 1.0).abs() < 1e-9)
                    );
                }
                // One run has no interval of a second, so it cannot be compared.
                Err(error) => assert_eq!(count, 1, "{error}"),
            }
        }
    }
}

/// From 100 runs of one server, two groups of ten runs are drawn at random. This is done 200 times, with different
/// seeds.
#[test]
fn of_two_hundred_resamplings_at_most_five_per_cent_differ() {
    let pool = runs(&mut Dice(1), 100, 50e3);
    let mut found = [0; 2];
    for seed in 0..200 {
        let mut dice = Dice(seed * 7919);
        let mut drawn = refs(&pool);
        for place in (1..drawn.len()).rev() {
            drawn.swap(place, (dice.next() * (place + 1) as f64) as usize);
        }
        let (a, b) = (&drawn[..10], &drawn[10..20]);
        for (n, paired) in [true, false].into_iter().enumerate() {
            found[n] += usize::from(finds(&build(a, b, paired).unwrap()));
        }
    }
    println!(
        "of 200 resamplings, {} in pairs and {} otherwise reported a difference",
        found[0], found[1]
    );
    assert!(
        found.iter().all(|found| *found <= 10),
        "at most 5 % may report a difference, but {found:?} of 200 did"
    );
}

#[test]
fn a_difference_of_the_detectable_size_is_found_in_four_of_five_comparisons() {
    let (mut found, trials) = (0, 30);
    let mut detectable = 0.0;
    for seed in 0..trials {
        let mut dice = Dice(seed * 104_729 + 1);
        let a = runs(&mut dice, 10, 50e3);
        let b = runs(&mut dice, 10, 50e3 * 1.2);
        let comparison = build(&refs(&a), &refs(&b), false).unwrap();
        let p50 = comparison.metrics.iter().find(|m| m.name == "p50").unwrap();
        detectable += p50.detectable / trials as f64;
        found += usize::from(p50.difference && p50.worse_by() > 0.0);
    }
    println!(
        "a change of 20 % was found in {found} of {trials} comparisons; detectable: {}",
        units::percent(detectable)
    );
    assert!(found >= 22, "{found}");
    assert!((0.10..0.20).contains(&detectable), "{detectable}");
}

#[test]
fn fewer_than_three_runs_are_not_compared() {
    let mut dice = Dice(3);
    let (two, three) = (runs(&mut dice, 2, 5e4), runs(&mut dice, 3, 5e4));
    let error = build(&refs(&two), &refs(&three), false).unwrap_err();
    assert!(error.to_string().contains("at least 3"), "{error}");
    assert!(build(&refs(&three), &refs(&three), true).is_ok());
}

#[test]
fn open_and_closed_loops_are_not_compared() {
    let mut dice = Dice(4);
    let (a, mut b) = (runs(&mut dice, 3, 5e4), runs(&mut dice, 3, 5e4));
    b.iter_mut().for_each(|run| run.kind = Loop::Open);
    assert!(build(&refs(&a), &refs(&b), false).is_err());
}

#[test]
fn a_higher_rate_is_better_and_a_higher_latency_is_worse() {
    let metric = |name: &str| Metric {
        name: name.to_owned(),
        a: 1.0,
        b: 1.5,
        ratio: 1.5,
        low: 1.4,
        high: 1.6,
        detectable: 0.1,
        difference: true,
    };
    assert_eq!(metric("rate").worse_by(), -0.5);
    assert_eq!(metric("p99").worse_by(), 0.5);
}

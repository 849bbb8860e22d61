//! Tests of the search, with servers whose limit is known, on quiet and on noisy machines.

use std::time::UNIX_EPOCH;

use super::*;
use crate::report::Measured;
use crate::{Plan, Recording};

/// Makes a run of `count` messages at this rate, which all took this time.
fn run(rate: f64, ms: f64, count: u64) -> Run {
    let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    plan.rate = Some(rate);
    let mut recording = Recording::empty();
    recording
        .response
        .record_n((ms * 1e6) as u64, count)
        .unwrap();
    recording.service = recording.response.clone();
    recording.counts.scheduled = count;
    (recording.counts.ok, recording.completed) = (count, count);
    recording.window_ns = (count as f64 / rate * 1e9) as u64;
    recording.health.opened = plan.connections as u64;
    Run::new(0, Measured::new(&plan, recording, UNIX_EPOCH))
}

/// Makes a run of a server that takes 1 ms up to the rate `limit`, and 5 ms above it.
fn limited(rate: f64, limit: f64) -> Run {
    run(rate, if rate > limit { 5.0 } else { 1.0 }, 10_000)
}

fn new_search() -> RateSearch {
    RateSearch::new("p99<2ms".parse().unwrap()).unwrap()
}

/// Searches with the runs that `make` returns for each rate.
fn search(mut make: impl FnMut(f64) -> Run) -> RateSearch {
    let mut search = new_search();
    while let Some(rate) = search.next_rate() {
        search.judge(&make(rate));
    }
    search
}

fn runs(search: &RateSearch) -> usize {
    search.found().tried.iter().map(|tried| tried.runs).sum()
}

#[test]
fn limits_below_and_above_the_first_rate_are_found_and_confirmed() {
    for limit in [100.0, 4000.0, 123_456.0] {
        let search = search(|rate| limited(rate, limit));
        let found = search.found();
        let (low, high) = (found.rate.unwrap(), found.bound.unwrap());
        assert!(low <= limit && limit < high, "{low} to {high}");
        assert!(high / low < CLOSE, "{low} to {high}");
        assert!(found.confirmed, "{found:#?}");
        assert_eq!(found.bound_outcome, Some(Outcome::Failed));
        assert!(found.failed_from > found.held_up_to, "{found:#?}");
        assert!(runs(&search) <= 25, "{}", runs(&search));
    }
}

#[test]
fn one_slow_run_in_six_does_not_move_the_result() {
    let (mut state, mut right) = (7_u64, 0);
    for trial in 0..40 {
        let limit = 50_000.0;
        let search = search(|rate| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let is_slow = (state >> 33) % 6 == 0;
            run(
                rate,
                if is_slow || rate > limit { 5.0 } else { 1.0 },
                10_000,
            )
        });
        let found = search.found();
        let (low, high) = (found.failed_from.unwrap(), found.held_up_to.unwrap());
        let rate = found.rate.unwrap();
        // The rate is right, or the contradicting runs say how far off it may be.
        let is_right = (limit / 1.15..=limit).contains(&rate);
        right += usize::from(is_right);
        let says_so = low <= limit && limit <= high * 1.15;
        assert!(is_right || says_so, "trial {trial}: {found:#?}");
    }
    println!("with one slow run in six, {right} of 40 searches found the limit within 15 %");
    assert!(right >= 36, "{right}");
}

#[test]
fn the_search_ends_if_the_condition_never_holds() {
    let search = search(|rate| limited(rate, 0.0));
    let found = search.found();
    assert_eq!(found.rate, None);
    assert!(found.bound.unwrap() < LOWEST_RATE);
    let why = search.why_undecided().unwrap();
    assert!(why.contains("it does not hold: p99 5.00 ms"), "{why}");
}

#[test]
fn with_too_few_messages_the_rate_goes_up() {
    // A run of 100 ms: below 10,000 a second it has fewer than the 1,000 messages of a p99.
    let few = |rate: f64, limit: f64| {
        let ms = if rate > limit { 5.0 } else { 1.0 };
        run(rate, ms, (rate / 10.0) as u64)
    };
    let found = search(|rate| few(rate, 40_000.0)).found();
    let rate = found.rate.unwrap();
    assert!((38_000.0..=40_000.0).contains(&rate), "{found:#?}");
    assert_eq!(found.tried[0].outcome, Outcome::Undecided);
    // The limit is where nothing can be decided.
    let search = search(|rate| few(rate, 5_000.0));
    assert_eq!(search.found().rate, None);
    let why = search.why_undecided().unwrap();
    assert!(why.contains("measure for longer"), "{why}");
}

#[test]
fn a_generator_that_is_too_slow_is_not_a_failed_condition() {
    let search = search(|rate| {
        let mut run = limited(rate, f64::MAX);
        if rate > 20_000.0 {
            run.validity.verdict = Verdict::Invalid;
            run.validity.limit = Some(Limit::Generator);
            run.validity.reasons = vec!["the generator was the limit".to_owned()];
        }
        run
    });
    let found = search.found();
    assert!((19_000.0..=20_000.0).contains(&found.rate.unwrap()));
    assert_eq!(found.bound_outcome, Some(Outcome::Generator));
    assert_eq!(found.failed_from, None, "{found:#?}");
}

#[test]
fn an_invalid_run_is_repeated_and_says_nothing() {
    let invalid = |rate: f64| {
        let mut run = limited(rate, f64::MAX);
        run.validity.verdict = Verdict::Invalid;
        run.validity.reasons = vec!["the generator stood still".to_owned()];
        run
    };
    let mut number = 0;
    let found = search(|rate| {
        number += 1;
        match number % 3 == 1 {
            true => invalid(rate),
            false => limited(rate, 50_000.0),
        }
    });
    let found = found.found();
    let rate = found.rate.unwrap();
    assert!((47_000.0..=50_000.0).contains(&rate), "{found:#?}");
    assert_eq!(found.bound_outcome, Some(Outcome::Failed));
    // A rate whose runs are all invalid is a bound that says so.
    let found = search(|rate| match rate > 20_000.0 {
        true => invalid(rate),
        false => limited(rate, f64::MAX),
    });
    let found = found.found();
    assert_eq!(found.bound_outcome, Some(Outcome::Invalid), "{found:#?}");
    assert_eq!(found.failed_from, None);
}

/// The runs above the limit lose messages of unknown times, so they decide nothing. They must not use up all runs.
#[test]
fn an_undecided_rate_above_a_held_one_is_a_bound() {
    let search = search(|rate| {
        let few = if rate > 20_000.0 { 500 } else { 10_000 };
        run(rate, 1.0, few)
    });
    let found = search.found();
    assert!(
        (19_000.0..=20_000.0).contains(&found.rate.unwrap()),
        "{found:#?}"
    );
    assert_eq!(found.bound_outcome, Some(Outcome::Undecided));
    let runs: usize = found.tried.iter().map(|tried| tried.runs).sum();
    assert!(runs < MOST_RUNS / 2, "{runs} runs");
}

/// Two invalid runs and a failed one are one observation, and confirm nothing.
#[test]
fn invalid_runs_confirm_nothing() {
    let mut number = 0;
    let search = search(|rate| {
        number += 1;
        let mut run = limited(rate, 20_000.0);
        if rate > 20_000.0 && number % 3 != 0 {
            run.validity.verdict = Verdict::Invalid;
            run.validity.reasons = vec!["for this test".to_owned()];
        }
        run
    });
    let found = search.found();
    let bound = found.bound.unwrap();
    let tried = found
        .tried
        .iter()
        .find(|tried| tried.rate == bound)
        .unwrap();
    assert_eq!(found.confirmed, tried.runs >= CONFIRMING, "{found:#?}");
    assert!(tried.runs >= 2 || !found.confirmed, "{found:#?}");
}

#[test]
fn only_bounds_of_latency_can_be_searched_for() {
    for condition in ["p99>2ms", "rate>10k", "errors<1", "regress(p99)<5%"] {
        let condition: Assertion = condition.parse().unwrap();
        let error = RateSearch::new(condition).unwrap_err().to_string();
        assert!(error.contains("such as p99<2ms"), "{error}");
    }
}

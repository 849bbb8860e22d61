//! Tests the contents of the page, and that it fetches nothing. A test with a browser is in `tests/tools/page.rs`.

use super::*;
use std::time::UNIX_EPOCH;

use crate::report::Measured;
use crate::{Plan, Recording};

fn run(index: usize, target: &str) -> Run {
    let mut recording = Recording::empty();
    for n in 1..=10_000_u64 {
        recording.response.record(n * 1000).unwrap();
    }
    recording.service = recording.response.clone();
    recording.counts.ok = 10_000;
    recording.completed = 10_000;
    recording.window_ns = 1_000_000_000;
    recording.health.opened = 50;
    recording.shares = vec![200; 50];
    let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    plan.connections = 50 * (index + 1);
    recording.health.opened = plan.connections as u64;
    let mut run = Run::new(index, Measured::new(&plan, recording, UNIX_EPOCH));
    run.target = target.to_owned();
    run
}

fn markup(runs: &[Run]) -> String {
    runs.iter()
        .map(|run| headline(run).into_string() + &details(run).into_string())
        .collect()
}

#[test]
fn markup_in_the_name_of_a_target_is_escaped() {
    let run = run(0, "unix:/tmp/<script>alert(1)</script>");
    let page = html! { p { (describe(&run)) } }.into_string();
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[test]
fn the_figures_are_in_the_page() {
    let page = markup(&[run(0, "127.0.0.1:7007")]);
    for figure in [
        "5.00 ms",
        "9.90 ms",
        "10,000",
        "Latency by percentile",
        "All 50 connections had 200 messages.",
    ] {
        assert!(page.contains(figure), "{figure} is not in {page}");
    }
}

#[test]
fn the_page_refers_to_no_other_file() {
    let page = markup(&[run(0, "a"), run(1, "b")]) + STYLE;
    for reference in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<script",
    ] {
        assert!(!page.contains(reference), "the page contains {reference}");
    }
}

#[test]
fn an_empty_run_has_a_page() {
    let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    let run = Run::new(0, Measured::new(&plan, Recording::empty(), UNIX_EPOCH));
    let page = markup(&[run]);
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

/// Returns the runs of targets with these p99 factors, interleaved: five of each.
fn interleaved(factors: &[f64]) -> Vec<Run> {
    let mut runs = Vec::new();
    for round in 0..5_u64 {
        for (n, factor) in factors.iter().enumerate() {
            let mut run = run(0, &format!("target-{n}"));
            let mut histogram = crate::histogram();
            for value in 1..=2_000_u64 {
                let ns = value as f64 * 1000.0 * factor * (1.0 + round as f64 / 100.0);
                histogram.record(ns as u64).unwrap();
            }
            run.latency.response = crate::report::Latency::new(histogram);
            run.index = runs.len();
            run.side = Some(Side::of(n));
            runs.push(run);
        }
    }
    runs
}

#[test]
fn every_table_of_a_comparison_says_which_side_it_shows() {
    let runs = interleaved(&[1.0, 1.5, 1.0]);
    let comparisons = crate::report::compare(&runs, &[]).unwrap();
    let drawn = |n: usize| comparing::comparison(&comparisons[n], &runs).into_string();
    let (b, c) = (drawn(0), drawn(1));
    for shown in [
        "Ratio B / A",
        ">A: target-0<",
        ">B: target-1<",
        "B is worse",
        "<th>A</th>",
        "<th>B</th>",
    ] {
        assert!(b.contains(shown), "{shown} is not in {b}");
    }
    for shown in [
        "Ratio C / A",
        ">C: target-2<",
        "<th>C</th>",
        "no difference",
    ] {
        assert!(c.contains(shown), "{shown} is not in {c}");
    }
    let table = runs::table_of_runs(&runs).into_string();
    assert!(
        table.contains("<td>1 A</td>") && table.contains("<td>3 C</td>"),
        "{table}"
    );
}

#[test]
fn an_interval_that_goes_on_outside_the_axis_has_an_arrow() {
    let runs = interleaved(&[1.0, 1.5]);
    let mut compared = crate::report::compare(&runs, &[]).unwrap().remove(0);
    let arrows = |compared: &Comparison| {
        let drawn = comparing::comparison(compared, &runs).into_string();
        drawn.matches("class=\"arrow").count()
    };
    assert_eq!(arrows(&compared), 0);
    let interval = compared.metrics[0].interval.as_mut().unwrap();
    (interval.low, interval.high) = (1e-3, 1e6);
    assert_eq!(arrows(&compared), 2);
}

#[test]
fn errors_are_the_first_figure_if_there_are_any() {
    let mut run = run(0, "a");
    assert!(!headline(&run).into_string().contains("alarm"));
    run.counts.errors = 12;
    let shown = headline(&run).into_string();
    let (alarm, rate) = (shown.find("alarm"), shown.find("messages a second"));
    assert!(alarm.is_some() && alarm < rate, "{shown}");
}

#[test]
fn conditions_read_as_results() {
    let result = |met| AssertionResult {
        condition: "p99>20ms".to_owned(),
        figure: "p99".to_owned(),
        limit: "20 ms".to_owned(),
        met,
        observed: "1.19 ms".to_owned(),
        runs_needed: None,
    };
    let shown = conditions(&[result(Some(false)), result(Some(true)), result(None)]).into_string();
    for word in [
        "pass</strong> p99 1.19 ms (limit 20 ms)",
        "FAIL</strong>",
        "UNKNOWN</strong>",
    ] {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
}

#[test]
fn a_flat_line_is_a_sentence_and_another_is_drawn() {
    let mut run = run(0, "a");
    assert!(!figures::fairness(&run).into_string().contains("<svg"));
    (run.fairness.min, run.fairness.max) = (100, 300);
    assert!(figures::fairness(&run).into_string().contains("<svg"));
}

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
        "Fairness",
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

//! Writes the report as text for a terminal: first whether it is valid, then the figures.

mod drawing;
mod errors;
mod lines;
mod several;

use std::fmt::Write;

use super::document::{Document, Loop, Run, Validity, Verdict};
use super::findings::{AssertionResult, Comparison};
use super::latency::Latency;
use super::units;
use errors::errors;
use lines::{line, prose};

/// Writes the whole report as text.
#[must_use]
pub fn text(document: &Document) -> String {
    let mut text = String::new();
    verdict(&mut text, &document.validity);
    match document.runs.as_slice() {
        // Interrupted in the warm-up: there are no figures.
        [run] if run.interrupted && run.window_ns == 0 => {}
        [run] => one_run(&mut text, run, document),
        runs => several::runs(&mut text, runs),
    }
    if let Some(comparison) = &document.comparison {
        text.push_str(&several::compared(comparison));
    }
    if let Some(found) = &document.find_max {
        line(&mut text, &several::found_maximum(found));
    }
    for assertion in &document.assertions {
        line(&mut text, &asserted(assertion));
    }
    text
}

/// Writes a comparison and the results of its conditions as text, without runs.
#[must_use]
pub fn comparison_text(comparison: &Comparison, assertions: &[AssertionResult]) -> String {
    let mut text = several::compared(comparison);
    for assertion in assertions {
        line(&mut text, &asserted(assertion));
    }
    text
}

/// Writes a condition with its result. A condition of `--fail-if` that is met is a failure.
fn asserted(assertion: &AssertionResult) -> String {
    let verdict = match assertion.met {
        Some(true) => "FAIL",
        Some(false) => "ok",
        None => "UNKNOWN",
    };
    format!("{verdict}: {}: {}", assertion.condition, assertion.observed)
}

/// Writes whether the report is valid, the reasons if it is not, and the notes.
fn verdict(text: &mut String, validity: &Validity) {
    match validity.verdict {
        Verdict::Valid => line(text, "valid"),
        Verdict::Overloaded => line(text, "OVERLOADED"),
        Verdict::Invalid => line(text, "INVALID"),
    }
    for reason in &validity.reasons {
        prose(text, "  because ", reason);
    }
    for note in &validity.notes {
        prose(text, "  note: ", note);
    }
}

/// Writes all figures of a single run.
fn one_run(text: &mut String, run: &Run, document: &Document) {
    let how = match run.kind {
        Loop::Open => "open loop",
        Loop::Closed => "closed loop",
    };
    let parameters = &run.parameters;
    line(text, "");
    prose(
        text,
        "",
        &format!(
            "{}, {how}: {}, {} bytes a message, up to {} under way on each, {}",
            run.target,
            units::counted(parameters.connections as u64, "connection"),
            parameters.size,
            units::counted(parameters.pipeline as u64, "message"),
            units::time(run.window_ns as f64)
        ),
    );
    rates(text, run, document.options.verify);
    latencies(text, run);
    if run.latency.response.count > 0 {
        line(text, "");
        text.push_str(&drawing::histogram(&run.latency.response.histogram));
    }
    if run.intervals.len() > 1 {
        line(text, &drawing::over_time(&run.intervals));
    }
    errors(text, run);
    generator(text, run);
    // Each process of a merged report has seeds of its own.
    if run.common_window_ns.is_none() {
        line(
            text,
            &format!(
                "  repeat     --seed {} --payload-key {}",
                parameters.seed, parameters.payload_key
            ),
        );
    }
}

/// Writes the rate and the counts.
fn rates(text: &mut String, run: &Run, verify: bool) {
    let throughput = run.throughput;
    let asked = match run.parameters.rate {
        Some(rate) => format!(" of {} asked for", units::rate(rate)),
        None => String::new(),
    };
    line(
        text,
        &format!(
            "  rate       {} messages/s{asked}, {}/s each way",
            units::rate(throughput.messages_per_second),
            units::bytes(throughput.bytes_per_second)
        ),
    );
    let counts = run.counts;
    let how = match verify {
        true => "every byte compared",
        false => "lengths only",
    };
    line(
        text,
        &format!(
            "  verified   {} echoes, {how}; errors: {}",
            units::count(counts.ok),
            units::count(counts.errors)
        ),
    );
    line(
        text,
        &format!(
            "  scheduled  {} messages; failed: {}, unfinished: {}",
            units::count(counts.scheduled),
            units::count(counts.failed),
            units::count(counts.unfinished)
        ),
    );
}

/// Writes the table of the percentiles.
fn latencies(text: &mut String, run: &Run) {
    let latency = &run.latency;
    let mut head = format!("  {:<10}", "");
    for (name, _) in COLUMNS {
        let _ = write!(head, "{name:>10}");
    }
    line(text, "");
    line(text, &format!("{head}{:>10}", "max"));
    let at_least = (latency.lower_bounds.count > 0).then_some(latency.lower_bounds.min);
    row(text, "response", &latency.response, at_least);
    row(text, "service", &latency.service, at_least);
    row(text, "connect", &latency.connect, None);
}

/// Writes a row of the table. Values from `at_least` on include ages of messages that did not come back: they are lower
/// bounds, and have a ≥.
fn row(text: &mut String, name: &str, latency: &Latency, at_least: Option<u64>) {
    let mut row = format!("  {name:<10}");
    let show = |ns: u64| {
        let bound = if at_least.is_some_and(|least| ns >= least) {
            "≥ "
        } else {
            ""
        };
        format!("{bound}{}", units::time(ns as f64))
    };
    for (_, percent) in COLUMNS {
        let cell = latency.percentile(percent).map_or("–".to_owned(), show);
        let _ = write!(row, "{cell:>10}");
    }
    let max = if latency.count > 0 {
        show(latency.max)
    } else {
        "–".to_owned()
    };
    line(text, &format!("{row}{max:>10}"));
}

/// Writes the state of the generator and the fairness.
fn generator(text: &mut String, run: &Run) {
    let generator = &run.generator;
    let lateness = match (run.kind, generator.lateness.percentile(99.0)) {
        (Loop::Closed, _) => String::new(),
        (Loop::Open, Some(ns)) => format!("sends late by {} (p99), ", units::time(ns as f64)),
        (Loop::Open, None) => {
            format!(
                "sends late by {} (max), ",
                units::time(generator.lateness.max as f64)
            )
        }
    };
    // In an open loop the generator polls until a message is due, and this uses most of its processor time. So the
    // processor time for a message says nothing there.
    let each = match run.kind {
        Loop::Open => String::new(),
        Loop::Closed => {
            let each = generator.cpu_ns as f64 / run.throughput.messages.max(1) as f64;
            format!(", {} of processor time a message", units::time(each))
        }
    };
    line(
        text,
        &format!(
            "  generator  {lateness}busy {} of the time{each}",
            units::percent(generator.busy_share)
        ),
    );
    line(
        text,
        &format!(
            "             longest turn {}, {:.1} messages under way on average",
            units::time(generator.longest_turn_ns as f64),
            generator.in_flight
        ),
    );
    let fairness = &run.fairness;
    line(
        text,
        &format!(
            "  fairness   {} to {} messages a connection, median {}; Jain's index {:.3}",
            units::count(fairness.min),
            units::count(fairness.max),
            units::count(fairness.median),
            fairness.jain
        ),
    );
}

/// The percentiles in the table, with their names.
const COLUMNS: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
];

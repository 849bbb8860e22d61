//! Writes the report as text for a terminal of 80 columns: first whether it is valid, then the figures.

mod colour;
mod drawing;
mod errors;
mod lines;
mod several;

use super::document::{Document, Loop, Run, Validity, Verdict};
use super::findings::{AssertionResult, Comparison};
use super::latency::Latency;
use super::units;
use colour::{Colours, Tone};
use errors::errors;
use lines::{Column, line, prose, table};
pub(super) use several::{
    detectable, different, heading, interval, knee, maximum, short_outcome, show, vary,
};

/// Writes the whole report as text.
#[must_use]
pub fn text(document: &Document) -> String {
    written(document, Colours::Off)
}

/// Writes the whole report as text with colours: ANSI escape sequences (ECMA-48).
#[must_use]
pub fn coloured_text(document: &Document) -> String {
    written(document, Colours::On)
}

fn written(document: &Document, colours: Colours) -> String {
    let mut text = String::new();
    verdict(&mut text, &document.validity, colours);
    match document.runs.as_slice() {
        // Interrupted in the warm-up: there are no figures.
        [run] if run.interrupted && run.window_ns == 0 => {}
        [run] => one_run(&mut text, run, document),
        _ => several::runs(&mut text, document),
    }
    for comparison in &document.comparisons {
        several::compared(&mut text, comparison, colours);
    }
    if let Some(found) = &document.find_max {
        several::found_maximum(&mut text, found);
    }
    if let Some(found) = &document.knee {
        line(&mut text, "");
        prose(&mut text, "", &knee(found));
    }
    conditions(&mut text, &document.assertions, colours);
    text
}

/// Writes a comparison and the results of its conditions as text, without runs.
#[must_use]
pub fn comparison_text(comparison: &Comparison, assertions: &[AssertionResult]) -> String {
    compared(comparison, assertions, Colours::Off)
}

/// Writes the same with colours: ANSI escape sequences (ECMA-48).
#[must_use]
pub fn coloured_comparison_text(comparison: &Comparison, assertions: &[AssertionResult]) -> String {
    compared(comparison, assertions, Colours::On)
}

fn compared(comparison: &Comparison, assertions: &[AssertionResult], colours: Colours) -> String {
    let mut text = String::new();
    several::compared(&mut text, comparison, colours);
    conditions(&mut text, assertions, colours);
    text
}

/// Writes the conditions with their results. A condition of `--fail-if` that is met is a failure.
fn conditions(text: &mut String, assertions: &[AssertionResult], colours: Colours) {
    if !assertions.is_empty() {
        line(text, "");
    }
    for assertion in assertions {
        let (word, tone) = match assertion.met {
            Some(true) => ("FAIL", Tone::Bad),
            Some(false) => ("pass", Tone::Good),
            None => ("UNKNOWN", Tone::Doubtful),
        };
        let mut sentence = String::new();
        prose(&mut sentence, &format!("{word}  "), &asserted(assertion));
        text.push_str(&sentence.replacen(word, &colours.paint(tone, word), 1));
    }
}

/// Writes the observed value of a condition, and its limit.
pub(super) fn asserted(assertion: &AssertionResult) -> String {
    let AssertionResult {
        figure,
        observed,
        limit,
        ..
    } = assertion;
    match observed
        .split_once(": ")
        .filter(|_| assertion.met.is_none())
    {
        None => format!("{figure} {observed} (limit {limit})"),
        Some((value, why)) => format!("{figure} {value} (limit {limit}): {why}"),
    }
}

/// Writes whether the report is valid, the reasons if it is not, and the notes.
fn verdict(text: &mut String, validity: &Validity, colours: Colours) {
    let (word, tone) = match validity.verdict {
        Verdict::Valid => ("valid", Tone::Good),
        Verdict::Overloaded => ("OVERLOADED", Tone::Bad),
        Verdict::Invalid => ("INVALID", Tone::Bad),
    };
    line(text, &colours.paint(tone, word));
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
    prose(
        text,
        "  rate       ",
        &format!(
            "{} messages/s{asked}, {}/s each way",
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

/// A kind of time of a run: its name, its figures, and the time from which they are lower bounds.
pub(super) type KindOfTime<'a> = (String, &'a Latency, Option<u64>);

/// Returns the kinds of times that a run has, and the response times of each size of message.
pub(super) fn kinds_of_times(run: &Run) -> Vec<KindOfTime<'_>> {
    let latency = &run.latency;
    let at_least = (latency.lower_bounds.count > 0).then_some(latency.lower_bounds.min);
    let mut rows = vec![
        ("response".to_owned(), &latency.response, at_least),
        ("service".to_owned(), &latency.service, at_least),
    ];
    if latency.connect.count > 0 {
        rows.push(("first byte".to_owned(), &latency.first_byte, at_least));
        rows.push(("connect".to_owned(), &latency.connect, None));
    }
    if latency.cycle.count > 0 {
        rows.push(("cycle".to_owned(), &latency.cycle, None));
    }
    if latency.connect.count == 0 {
        rows.push(("opening".to_owned(), &latency.opening, None));
    }
    let sizes = run.sizes.iter();
    rows.extend(sizes.map(|size| (format!("{} B", size.class), &size.response, at_least)));
    rows
}

/// Writes the table of the percentiles: a line for each kind of time.
fn latencies(text: &mut String, run: &Run) {
    let rows = kinds_of_times(run);
    let mut columns = vec![Column::words(
        "",
        rows.iter().map(|(name, _, _)| name.clone()).collect(),
    )];
    for (name, percent) in COLUMNS {
        let cells = rows.iter().map(|(_, latency, at_least)| {
            let ns = latency.percentile(percent);
            ns.map_or("–".to_owned(), |ns| bounded(ns, *at_least))
        });
        columns.push(Column::figures(name, cells.collect()));
    }
    let most = rows
        .iter()
        .map(|(_, latency, at_least)| match latency.count {
            0 => "–".to_owned(),
            _ => bounded(latency.max, *at_least),
        });
    columns.push(Column::figures("max", most.collect()));
    line(text, "");
    table(text, &columns);
}

/// Writes a time. From `at_least` on, times include ages of messages that did not come back: they are lower bounds, and
/// have a ≥.
pub(super) fn bounded(ns: u64, at_least: Option<u64>) -> String {
    let is_bound = at_least.is_some_and(|least| ns >= least);
    let bound = if is_bound { "≥ " } else { "" };
    format!("{bound}{}", units::time(ns as f64))
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
    prose(
        text,
        "  generator  ",
        &format!(
            "{lateness}busy {} of the time{each}",
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
    prose(
        text,
        "  fairness   ",
        &format!(
            "{} to {} messages a connection, median {}; Jain's index {:.3}",
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

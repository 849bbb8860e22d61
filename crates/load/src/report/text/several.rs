//! Writes the results of several runs: a table of the runs, comparisons, the highest rate that was found, and the knee.

use super::colour::{Colours, Tone};
use super::errors::errors;
use super::lines::{Column, line, prose, table};
use crate::report::document::{Document, Loop, Run, Verdict};
use crate::report::findings::{
    Comparison, Difference, Finding, Knee, KnownMaximum, Metric, Origin, Outcome, RATE,
};
use crate::report::units;

/// Writes a table with one line for each run, then the errors of each run. A setting that all runs have in common is
/// above the table.
pub(super) fn runs(text: &mut String, document: &Document) {
    let runs = document.runs.as_slice();
    let cells = |cell: &dyn Fn(&Run) -> String| runs.iter().map(cell).collect::<Vec<String>>();
    let targets = cells(&|run| run.target.clone());
    let connections = cells(&|run| units::count(run.parameters.connections as u64));
    let sizes = cells(&|run| run.parameters.size.clone());
    let asked = cells(&|run| run.parameters.rate.map_or("–".to_owned(), units::rate));
    line(text, "");
    settings(text, document);
    let at = |run: &Run, percent| {
        let ns = run.latency.response.percentile(percent);
        ns.map_or("–".to_owned(), |ns| units::time(ns as f64))
    };
    let mut columns = vec![Column::figures(
        "run",
        cells(&|run| (run.index + 1).to_string()),
    )];
    if runs.iter().any(|run| run.side.is_some()) {
        let letter = |run: &Run| run.side.map_or(String::new(), |side| side.letter().into());
        columns.push(Column::words("", cells(&letter)));
    } else if vary(&targets) {
        columns.push(Column::words("target", targets));
    }
    for (name, cells) in [
        ("connections", connections),
        ("bytes", sizes),
        ("asked/s", asked),
    ] {
        if vary(&cells) {
            columns.push(Column::figures(name, cells));
        }
    }
    let verdict = |run: &Run| match run.validity.verdict {
        Verdict::Valid => String::new(),
        Verdict::Overloaded => "overloaded".to_owned(),
        Verdict::Invalid => "invalid".to_owned(),
    };
    columns.extend([
        Column::figures(
            "achieved/s",
            cells(&|run| units::rate(run.throughput.messages_per_second)),
        ),
        Column::figures("p50", cells(&|run| at(run, 50.0))),
        Column::figures("p99", cells(&|run| at(run, 99.0))),
        Column::figures(
            "max",
            cells(&|run| units::time(run.latency.response.max as f64)),
        ),
        Column::figures("errors", cells(&|run| units::count(run.counts.errors))),
        Column::words("", cells(&verdict)),
    ]);
    table(text, &columns);
    for run in runs.iter().filter(|run| !run.errors.is_empty()) {
        line(text, &format!("run {}:", run.index + 1));
        errors(text, run);
    }
}

/// Whether the cells of a column differ.
pub(in crate::report) fn vary(cells: &[String]) -> bool {
    let first = cells.first();
    cells.iter().any(|cell| Some(cell) != first)
}

/// Writes the settings that all runs have in common, and the name of each side.
fn settings(text: &mut String, document: &Document) {
    let runs = document.runs.as_slice();
    let Some(first) = runs.first() else { return };
    let same = |of: &dyn Fn(&Run) -> String| {
        let value = of(first);
        runs.iter().all(|run| of(run) == value).then_some(value)
    };
    let loop_of = |run: &Run| match (run.kind, run.parameters.rate) {
        (Loop::Open, Some(rate)) => format!("open loop at {}/s", units::rate(rate)),
        (Loop::Open, None) => "open loop".to_owned(),
        (Loop::Closed, _) => "closed loop".to_owned(),
    };
    let common = [
        same(&|run| run.target.clone()),
        same(&loop_of),
        same(&|run| units::counted(run.parameters.connections as u64, "connection")),
        same(&|run| format!("{} bytes a message", run.parameters.size)),
        same(&|run| format!("up to {} under way on each", run.parameters.pipeline)),
    ];
    let common: Vec<String> = common.into_iter().flatten().collect();
    if !common.is_empty() {
        prose(text, "", &common.join(", "));
    }
    for (side, target) in sides(runs) {
        prose(text, &format!("  {side}  "), &target);
    }
}

/// Returns the letter and the target of each side.
fn sides(runs: &[Run]) -> Vec<(char, String)> {
    let mut sides: Vec<(char, String)> = Vec::new();
    for run in runs {
        if let Some(side) = run.side
            && !sides.iter().any(|(known, _)| *known == side.letter())
        {
            sides.push((side.letter(), run.target.clone()));
        }
    }
    sides.sort();
    sides
}

/// Writes the result of `--find-max`: the highest rate, its bound and the reason for it, and whether the runs agree.
pub(super) fn found_maximum(text: &mut String, found: &KnownMaximum) {
    line(text, "");
    prose(text, "", &maximum(found));
    let rates = &found.tried;
    let cells = |cell: &dyn Fn(&crate::report::TriedRate) -> String| {
        rates.iter().map(cell).collect::<Vec<String>>()
    };
    let columns = [
        Column::figures("rate/s", cells(&|tried| units::rate(tried.rate))),
        Column::figures(
            "held",
            cells(&|tried| format!("{} of {}", tried.held, tried.runs)),
        ),
        Column::words("", cells(&|tried| short_outcome(tried.outcome).to_owned())),
        Column::words("", cells(&|tried| shortened(&tried.why))),
    ];
    table(text, &columns);
}

/// Describes the result of `--find-max` in sentences.
pub(in crate::report) fn maximum(found: &KnownMaximum) -> String {
    let condition = &found.condition;
    let Some(rate) = found.rate else {
        return format!("{condition} held at no rate that was tried.");
    };
    let runs = |rate: f64| {
        let tried = found.tried.iter().find(|tried| tried.rate == rate);
        tried.map_or(String::new(), |tried| {
            format!(" ({} of {} runs)", tried.held, tried.runs)
        })
    };
    let mut said = format!(
        "{condition} holds up to {} messages/s{}",
        units::rate(rate),
        runs(rate)
    );
    match found.bound.zip(found.bound_outcome) {
        None => said.push_str(", and failed at no higher rate that was tried."),
        Some((bound, outcome)) => {
            let at = units::rate(bound);
            said.push_str(&match outcome {
                Outcome::Failed | Outcome::Held => {
                    format!(", and does not hold at {at}{}.", runs(bound))
                }
                Outcome::Overloaded => format!(". At {at} the server cannot keep the rate."),
                Outcome::Connections
                | Outcome::Generator
                | Outcome::Invalid
                | Outcome::Undecided => format!(
                    ". Whether it holds at {at} is not known: {}.",
                    outcome.words()
                ),
            });
        }
    }
    if let (Some(failed), Some(held)) = (found.failed_from, found.held_up_to)
        && failed <= held
    {
        let (failed, held) = (units::rate(failed), units::rate(held));
        said.push_str(&match failed == held {
            true => format!(
                " Single runs contradict each other at {held}: the state of the machine changed during the search."
            ),
            false => format!(
                " Single runs contradict this: it failed in one at {failed}, and held in one at {held}. The state of \
                 the machine changed during the search."
            ),
        });
    }
    if !found.confirmed {
        said.push_str(" The two rates are not confirmed by three runs each.");
    }
    said
}

/// Returns the outcome in one word, for a table.
pub(in crate::report) fn short_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Held => "held",
        Outcome::Failed => "failed",
        Outcome::Overloaded => "overloaded",
        Outcome::Connections => "connections",
        Outcome::Generator => "generator",
        Outcome::Invalid => "invalid",
        Outcome::Undecided => "undecided",
    }
}

/// Shortens a reason, so that a line of the table fits on a terminal.
fn shortened(why: &str) -> String {
    if why.chars().count() <= LONGEST_REASON {
        return why.to_owned();
    }
    let kept: String = why.chars().take(LONGEST_REASON - 1).collect();
    kept + "…"
}

/// Describes the knee of a sweep.
pub(in crate::report) fn knee(knee: &Knee) -> String {
    let rounds = units::counted(knee.rounds as u64, "round");
    match knee.low == knee.high {
        true => format!(
            "The knee, where latency begins to rise faster than the rate, is at {} messages/s in all {rounds}.",
            units::rate(knee.low)
        ),
        false => format!(
            "The knee, where latency begins to rise faster than the rate, is between {} and {} messages/s ({rounds}).",
            units::rate(knee.low),
            units::rate(knee.high)
        ),
    }
}

/// Writes a comparison with the baseline.
pub(super) fn compared(text: &mut String, comparison: &Comparison, colours: Colours) {
    let letter = comparison.letter();
    line(text, "");
    prose(text, "", &heading(comparison));
    let metrics = &comparison.metrics;
    let cells = |cell: &dyn Fn(&Metric) -> String| metrics.iter().map(cell).collect::<Vec<_>>();
    let figures = [
        Column::words("", cells(&|metric| metric.name.clone())),
        Column::figures("A", cells(&|metric| show(metric, metric.a))),
        Column::figures(&letter.to_string(), cells(&|metric| show(metric, metric.b))),
        Column::figures(
            &format!("{letter} / A"),
            cells(&|metric| units::ratio(metric.ratio)),
        ),
        Column::figures("interval", cells(&interval)),
        Column::figures("detectable", cells(&detectable)),
        Column::words(
            "",
            cells(&|metric| {
                let words = metric.finding.words(letter);
                match tone(metric.finding) {
                    Some(tone) => colours.paint(tone, &words),
                    None => words,
                }
            }),
        ),
    ];
    table(text, &figures);
    if metrics.iter().any(|metric| metric.interval.is_some()) {
        let (confidence, intervals) = (comparison.confidence * 100.0, comparison.intervals);
        let all = match intervals {
            1 => String::new(),
            n => format!(" for all {n} intervals together"),
        };
        prose(text, "  ", &format!("confidence {confidence:.0} %{all}"));
    }
    for difference in &comparison.differences {
        prose(text, "  note: ", &different(difference));
    }
    for note in &comparison.notes {
        prose(text, "  note: ", note);
    }
}

/// Describes what is compared.
pub(in crate::report) fn heading(comparison: &Comparison) -> String {
    let control = match &comparison.control {
        Some(control) => format!(", each divided by {control}"),
        None => String::new(),
    };
    format!(
        "{} ({}) compared with {} (A){control}: {} and {} runs{}",
        comparison.b,
        comparison.letter(),
        comparison.a,
        comparison.count_b,
        comparison.count_a,
        if comparison.paired { ", in pairs" } else { "" }
    )
}

/// Describes a difference of two saved reports.
pub(in crate::report) fn different(difference: &Difference) -> String {
    let Difference { of, name, a, b } = difference;
    match of {
        Origin::Option => format!("the loads differ: --{name} {a} (A) and {b} (B)"),
        Origin::Program => format!("the load generators differ: {a} (A) and {b} (B)"),
        Origin::Environment => format!("the machines differ: {name} is {a} (A) and {b} (B)"),
    }
}

/// Writes a value of a compared figure with its unit.
pub(in crate::report) fn show(metric: &Metric, value: f64) -> String {
    match metric.name == RATE {
        true => format!("{}/s", units::rate(value)),
        false => units::time(value),
    }
}

/// Writes the interval of a ratio.
pub(in crate::report) fn interval(metric: &Metric) -> String {
    metric.interval.map_or("–".to_owned(), |interval| {
        let (low, high) = (units::ratio(interval.low), units::ratio(interval.high));
        format!("{low} to {high}")
    })
}

/// Writes the change that a comparison would find.
pub(in crate::report) fn detectable(metric: &Metric) -> String {
    match (metric.interval, metric.finding) {
        (None, _) | (_, Finding::TooNoisy) => "–".to_owned(),
        (Some(interval), _) => units::percent(interval.detectable),
    }
}

fn tone(finding: Finding) -> Option<Tone> {
    match finding {
        Finding::Worse => Some(Tone::Bad),
        Finding::Better => Some(Tone::Good),
        Finding::TooNoisy | Finding::TwoSittings => Some(Tone::Doubtful),
        Finding::Same | Finding::NotShown => None,
    }
}

/// The longest reason in the table of the tried rates, in characters.
const LONGEST_REASON: usize = 40;

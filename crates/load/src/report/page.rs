//! Writes the report as a page: one HTML file without scripts. It needs no other file and fetches nothing.
//!
//! The plots are SVG. The style sheet has their colours, for light mode, dark mode and paper.

mod axis;
mod comparing;
mod figures;
mod plot;
mod runs;
mod searching;
mod time;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Document, Loop, Run, Validity, Verdict};
use super::findings::{AssertionResult, Comparison};
use super::side::Side;
use super::text::asserted;
use super::units;

/// Writes the whole page.
#[must_use]
pub fn page(document: &Document) -> String {
    let title = format!("Echo benchmark: {}", targets(&document.runs).join(" and "));
    let program = &document.program;
    let when = format!(
        "{} · {} {}",
        document.started_at, program.name, program.version
    );
    let body = html! {
        (validity(None, &document.validity))
        (conditions(&document.assertions))
        (figures(document))
        (settings(&[("", document)]))
    };
    framed(&title, &when, &body)
}

/// Writes the page of the comparison of two saved reports.
#[must_use]
pub fn comparison_page(
    a: &Document,
    b: &Document,
    comparison: &Comparison,
    assertions: &[AssertionResult],
) -> String {
    let title = format!("Echo comparison: {} and {}", comparison.a, comparison.b);
    let when = format!("A: {} · B: {}", a.started_at, b.started_at);
    let mut compared = measured(a, Side::A);
    compared.extend(measured(b, Side::of(1)));
    let body = html! {
        (validity(Some("A"), &a.validity))
        (validity(Some("B"), &b.validity))
        (conditions(assertions))
        (comparing::comparison(comparison, &compared))
        (runs::table_of_runs(&compared))
        (settings(&[("A", a), ("B", b)]))
    };
    framed(&title, &when, &body)
}

/// Returns the runs of the measured target, with this side: the second target if the first one is the control.
fn measured(document: &Document, side: Side) -> Vec<Run> {
    let has_control = document.options.targets.len() > 1;
    let runs = document.runs.iter().filter(|run| !run.interrupted);
    runs.filter(|run| !has_control || run.side == Some(Side::of(1)))
        .cloned()
        .map(|run| Run {
            side: Some(side),
            ..run
        })
        .collect()
}

/// Writes the frame of a page: its title, its style, and nothing that the browser would fetch.
fn framed(title: &str, when: &str, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Even if a target's name contained markup, the browser would fetch nothing and run no script.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p.when { (when) }
                }
                main { (body) }
            }
        }
    };
    markup.into_string()
}

/// Returns each target once.
fn targets(runs: &[Run]) -> Vec<&str> {
    let mut targets: Vec<&str> = Vec::new();
    for run in runs {
        if !targets.contains(&run.target.as_str()) {
            targets.push(&run.target);
        }
    }
    targets
}

/// Writes whether the report is valid, the reasons if it is not, and the notes. `of` names the report if there are two.
fn validity(of: Option<&str>, validity: &Validity) -> Markup {
    let (class, word) = match validity.verdict {
        Verdict::Valid => ("valid", "Valid"),
        Verdict::Overloaded => ("overloaded", "Overloaded"),
        Verdict::Invalid => ("invalid", "Invalid"),
    };
    html! {
        section.verdict.(class) {
            h2 { @if let Some(of) = of { (of) ": " } (word) }
            @if validity.verdict == Verdict::Valid && validity.notes.is_empty() {
                p { "No echo was wrong, and no check found a problem with the figures." }
            }
            ul {
                @for reason in &validity.reasons { li.reason { (reason) } }
                @for note in &validity.notes { li { (note) } }
            }
        }
    }
}

/// Writes the result of each condition. A condition of `--fail-if` that is met is a failure.
fn conditions(assertions: &[AssertionResult]) -> Markup {
    html! {
        @if !assertions.is_empty() {
            section {
                h2 { "Conditions" }
                ul.conditions {
                    @for assertion in assertions {
                        @let (class, word) = match assertion.met {
                            Some(true) => ("bad", "FAIL"),
                            Some(false) => ("good", "pass"),
                            None => ("doubtful", "UNKNOWN"),
                        };
                        li { strong class=(class) { (word) } " " (asserted(assertion)) }
                    }
                }
            }
        }
    }
}

/// Writes the figures of the only run, or of all runs together and of each.
fn figures(document: &Document) -> Markup {
    match document.runs.as_slice() {
        [] => html! {},
        [run] => html! {
            p.what { (describe(run)) }
            (headline(run))
            (details(run))
        },
        runs => html! {
            @for comparison in &document.comparisons { (comparing::comparison(comparison, runs)) }
            @if let Some(found) = &document.find_max { (searching::search(found)) }
            @if let Some(varied) = searching::varied(runs) { (searching::latency_by(varied, document)) }
            (runs::table_of_runs(runs))
            @for run in runs {
                details.run {
                    summary {
                        "Run " (run.index + 1)
                        @if let Some(side) = run.side { " (" (side.letter()) ")" }
                        ": " (describe(run))
                    }
                    (headline(run))
                    (details(run))
                }
            }
        },
    }
}

/// Writes the main figures of a run: first the errors if there are any, the rate and the p99 large, the others small.
fn headline(run: &Run) -> Markup {
    let response = &run.latency.response;
    let at = |percent| {
        let ns = response.percentile(percent);
        ns.map_or("–".to_owned(), |ns| units::time(ns as f64))
    };
    let throughput = &run.throughput;
    let asked = match run.parameters.rate {
        Some(rate) => format!("of {} asked for", units::rate(rate)),
        None => "closed loop".to_owned(),
    };
    let kinds: Vec<String> = run
        .errors
        .iter()
        .map(|error| format!("{} {}", units::count(error.count), error.kind))
        .collect();
    let small = [
        ("response p50", at(50.0)),
        ("response max", units::time(response.max as f64)),
        (
            "each way",
            format!("{}/s", units::bytes(throughput.bytes_per_second)),
        ),
        ("echoes verified", units::count(run.counts.ok)),
    ];
    html! {
        dl.tiles.main {
            @if run.counts.errors > 0 {
                div.alarm {
                    dt { "errors" } dd { (units::count(run.counts.errors)) }
                    dd.beside { (kinds.join(", ")) }
                }
            }
            div {
                dt { "messages a second" } dd { (units::rate(throughput.messages_per_second)) }
                dd.beside { (asked) }
            }
            div {
                dt { "response p99" } dd { (at(99.0)) }
                dd.beside { "p99.9 " (at(99.9)) }
            }
        }
        dl.tiles {
            @for (name, value) in small { div { dt { (name) } dd { (value) } } }
            @if run.counts.errors == 0 { div { dt { "errors" } dd { "0" } } }
        }
    }
}

/// Describes the settings of a run in one line.
fn describe(run: &Run) -> String {
    let parameters = &run.parameters;
    let how = match (run.kind, parameters.rate) {
        (Loop::Open, Some(rate)) => {
            format!("open loop, {} messages/s asked for", units::rate(rate))
        }
        _ => "closed loop".to_owned(),
    };
    format!(
        "{}: {how}, {}, {} bytes a message, up to {} under way on each, {}",
        run.target,
        units::counted(parameters.connections as u64, "connection"),
        parameters.size,
        units::counted(parameters.pipeline as u64, "message"),
        units::time(run.window_ns as f64)
    )
}

/// Writes all figures of one run.
fn details(run: &Run) -> Markup {
    html! {
        div.figures {
            (figures::percentiles(run))
            (time::heat_map(run))
            (time::throughput(run))
            (time::p99(run))
            (figures::fairness(run))
            (figures::generator(run))
        }
        (time::seconds(run))
        (figures::errors(run))
    }
}

/// Writes the options and the system on which the generator ran: a column for each document, under its name.
fn settings(documents: &[(&str, &Document)]) -> Markup {
    let columns: Vec<Vec<(String, String)>> = documents
        .iter()
        .map(|(_, document)| machine_and_options(document))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let value = |column: &[(String, String)], name: &str| {
        let found = column.iter().find(|(known, _)| known == name);
        found.map_or("–".to_owned(), |(_, value)| value.clone())
    };
    html! {
        section.settings {
            h2 { "Settings and machine" }
            div.scroll { table {
                @if documents.len() > 1 {
                    thead { tr { th { "" } @for (name, _) in documents { th.left { (name) } } } }
                }
                tbody {
                    @for name in names {
                        tr { th { (name) } @for column in &columns { td { (value(column, name)) } } }
                    }
                }
            } }
        }
    }
}

/// Returns the properties of the machine and the options that have a value.
fn machine_and_options(document: &Document) -> Vec<(String, String)> {
    let environment = &document.environment;
    let (os, kernel) = (&environment.os, &environment.kernel);
    let mut rows = vec![
        (
            "system".to_owned(),
            format!("{os} {kernel}, {}", environment.architecture),
        ),
        (
            "processor".to_owned(),
            format!("{}, {} cores", environment.cpu, environment.cores),
        ),
    ];
    let limits = environment.limits.iter();
    rows.extend(limits.map(|(name, value)| (name.clone(), value.clone())));
    let options = serde_json::to_value(&document.options).unwrap_or_default();
    let options = options.as_object().into_iter().flatten();
    rows.extend(options.filter_map(|(name, value)| Some((name.clone(), setting(value)?))));
    rows
}

/// Writes the value of an option; `None` if the option has no value.
fn setting(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(list) if list.is_empty() => None,
        serde_json::Value::Array(list) => Some(
            list.iter()
                .filter_map(setting)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        other => Some(other.to_string()),
    }
}

const STYLE: &str = include_str!("page/style.css");

#[cfg(test)]
mod tests;

//! Writes the report as a page: one HTML file without scripts. It needs no other file and fetches nothing.
//!
//! The plots are SVG. The style sheet has their colours, for light mode, dark mode and paper.

mod axis;
mod comparing;
mod figures;
mod plot;
mod time;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Document, Loop, Run, Validity, Verdict};
use super::findings::{AssertionResult, Comparison};
use super::units;

/// Writes the whole page.
#[must_use]
pub fn page(document: &Document) -> String {
    let title = title(document);
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
                    p.when { (document.started_at) " · " (document.program.name) " " (document.program.version) }
                }
                main {
                    (validity(&document.validity))
                    (body(document))
                    (assertions(document))
                    (settings(document))
                }
            }
        }
    };
    markup.into_string()
}

/// Writes the page of the comparison of two saved reports.
#[must_use]
pub fn comparison_page(
    a: &Document,
    b: &Document,
    comparison: &Comparison,
    assertions: &[AssertionResult],
) -> String {
    let mut document = b.clone();
    document.comparisons = vec![comparison.clone()];
    document.assertions = assertions.to_vec();
    document.runs.extend(a.runs.iter().cloned());
    page(&document)
}

/// Returns the title, with all targets.
fn title(document: &Document) -> String {
    let mut targets: Vec<&str> = Vec::new();
    for run in &document.runs {
        if !targets.contains(&run.target.as_str()) {
            targets.push(&run.target);
        }
    }
    format!("Echo benchmark: {}", targets.join(" and "))
}

/// Writes whether the report is valid, the reasons if it is not, and the notes.
fn validity(validity: &Validity) -> Markup {
    let (class, word) = match validity.verdict {
        Verdict::Valid => ("valid", "Valid"),
        Verdict::Overloaded => ("overloaded", "Overloaded"),
        Verdict::Invalid => ("invalid", "Invalid"),
    };
    html! {
        section.verdict.(class) {
            h2 { (word) }
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

/// Writes the figures of the only run, or of each run and of all together.
fn body(document: &Document) -> Markup {
    match document.runs.as_slice() {
        [] => html! {},
        [run] => html! {
            p.what { (describe(run)) }
            (headline(run))
            (details(run))
        },
        runs => html! {
            @for comparison in &document.comparisons { (comparing::comparison(comparison, runs)) }
            @if comparing::is_a_sweep(runs) { (comparing::rate_and_latency(runs, document)) }
            (comparing::table_of_runs(runs))
            @for run in runs {
                details.run open[run.index == 0] {
                    summary { "Run " (run.index + 1) ": " (describe(run)) }
                    (headline(run))
                    (details(run))
                }
            }
        },
    }
}

/// Writes the main figures of a run.
fn headline(run: &Run) -> Markup {
    let response = &run.latency.response;
    let at = |percent| {
        let ns = response.percentile(percent);
        ns.map_or("–".to_owned(), |ns| units::time(ns as f64))
    };
    let tiles = [
        (
            "messages a second",
            units::rate(run.throughput.messages_per_second),
        ),
        (
            "each way",
            format!("{}/s", units::bytes(run.throughput.bytes_per_second)),
        ),
        ("response p50", at(50.0)),
        ("response p99", at(99.0)),
        ("response max", units::time(response.max as f64)),
        ("echoes verified", units::count(run.counts.ok)),
        ("errors", units::count(run.counts.errors)),
    ];
    html! {
        dl.tiles {
            @for (name, value) in tiles {
                div { dt { (name) } dd { (value) } }
            }
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

/// Writes the conditions of `--fail-if` and their results.
fn assertions(document: &Document) -> Markup {
    html! {
        @if !document.assertions.is_empty() {
            section {
                h2 { "Conditions" }
                div.scroll { table {
                    thead { tr { th { "fail if" } th { "observed" } th { "" } } }
                    tbody {
                        @for assertion in &document.assertions {
                            tr {
                                td { (assertion.condition) }
                                td { (assertion.observed) }
                                td {
                                    (match assertion.met {
                                        Some(true) => "failed",
                                        Some(false) => "ok",
                                        None => "unknown",
                                    })
                                }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// Writes the options and the system on which the generator ran.
fn settings(document: &Document) -> Markup {
    let options = serde_json::to_value(&document.options).unwrap_or_default();
    let environment = &document.environment;
    let machine = [
        (
            "system",
            format!(
                "{} {}, {}",
                environment.os, environment.kernel, environment.architecture
            ),
        ),
        (
            "processor",
            format!("{}, {} cores", environment.cpu, environment.cores),
        ),
    ];
    html! {
        section.settings {
            h2 { "Settings and machine" }
            div.scroll { table {
                tbody {
                    @for (name, value) in machine { tr { th { (name) } td { (value) } } }
                    @for (name, value) in &environment.limits { tr { th { (name) } td { (value) } } }
                    @for (name, value) in options.as_object().into_iter().flatten() {
                        @if let Some(value) = setting(value) { tr { th { (name) } td { (value) } } }
                    }
                }
            } }
        }
    }
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

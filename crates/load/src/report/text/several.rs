//! Writes the results of several runs: a table of the runs, a comparison, and the highest rate that was found.

use std::fmt::Write;

use super::errors::errors;
use super::lines::{line, prose};
use crate::report::document::{KnownMaximum, Run, Verdict};
use crate::report::findings::Comparison;
use crate::report::units;

/// Writes a table with one line for each run, then the errors of each run.
pub(super) fn runs(text: &mut String, runs: &[Run]) {
    line(text, "");
    line(
        text,
        &format!(
            "  {:>3}  {:<24}{:>12}{:>12}{:>11}{:>12}{:>10}{:>10}{:>10}{:>8}",
            "run",
            "target",
            "connections",
            "bytes",
            "asked/s",
            "achieved/s",
            "p50",
            "p99",
            "max",
            "errors"
        ),
    );
    for run in runs {
        let response = &run.latency.response;
        let at = |percent| {
            let ns = response.percentile(percent);
            ns.map_or("–".to_owned(), |ns| units::time(ns as f64))
        };
        let mark = match run.validity.verdict {
            Verdict::Valid => "",
            Verdict::Overloaded => "  overloaded",
            Verdict::Invalid => "  invalid",
        };
        line(
            text,
            &format!(
                "  {:>3}  {:<24}{:>12}{:>12}{:>11}{:>12}{:>10}{:>10}{:>10}{:>8}{mark}",
                run.index + 1,
                run.target,
                run.parameters.connections,
                run.parameters.size,
                run.parameters.rate.map_or("–".to_owned(), units::rate),
                units::rate(run.throughput.messages_per_second),
                at(50.0),
                at(99.0),
                units::time(response.max as f64),
                run.counts.errors
            ),
        );
    }
    for run in runs.iter().filter(|run| !run.errors.is_empty()) {
        line(text, &format!("run {}:", run.index + 1));
        errors(text, run);
    }
}

/// Writes the result of `--find-max`.
pub(super) fn found_maximum(found: &KnownMaximum) -> String {
    match (found.rate, found.failed_at) {
        (Some(rate), Some(failed)) => format!(
            "\n{} holds up to {} messages/s, and does not hold at {}",
            found.condition,
            units::rate(rate),
            units::rate(failed)
        ),
        (Some(rate), None) => format!(
            "\n{} holds at every rate that was tried, up to {} messages/s",
            found.condition,
            units::rate(rate)
        ),
        (None, _) => format!(
            "\n{} did not hold at any rate that was tried",
            found.condition
        ),
    }
}

/// Writes the comparison of the second side with the first.
pub(super) fn compared(comparison: &Comparison) -> String {
    let mut text = format!(
        "\n{} (B) compared with {} (A): {} and {} {}{}\n",
        comparison.b,
        comparison.a,
        comparison.count_b,
        comparison.count_a,
        comparison.unit,
        if comparison.paired { ", in pairs" } else { "" }
    );
    let confidence = comparison.confidence * 100.0;
    let _ = writeln!(
        text,
        "  {:<6}{:>12}{:>12}{:>9}  {:<18}{:<13}",
        "",
        "A",
        "B",
        "B / A",
        format!("{confidence:.0} % interval"),
        "detectable"
    );
    for metric in &comparison.metrics {
        let show = |value| match metric.name.as_str() {
            "rate" => format!("{}/s", units::rate(value)),
            _ => units::time(value),
        };
        let verdict = metric.verdict();
        let _ = writeln!(
            text,
            "  {:<6}{:>12}{:>12}{:>9.3}  {:<18}{:<13}{verdict}",
            metric.name,
            show(metric.a),
            show(metric.b),
            metric.ratio,
            format!("{:.3} to {:.3}", metric.low, metric.high),
            units::percent(metric.detectable)
        );
    }
    for note in &comparison.notes {
        prose(&mut text, "  note: ", note);
    }
    text
}

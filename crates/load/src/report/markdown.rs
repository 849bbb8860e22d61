//! Writes a report as Markdown for a comment on a pull request (GitHub Flavored Markdown).

use std::fmt::Write;

use super::document::{Document, Run, Verdict};
use super::findings::{AssertionResult, Comparison};
use super::text::{asserted, detectable, different, heading, interval, knee, maximum, show, vary};
use super::units;

/// Writes the verdict, the conditions, the comparisons and a line for each run.
#[must_use]
pub fn markdown(document: &Document) -> String {
    let validity = &document.validity;
    let verdict = match validity.verdict {
        Verdict::Valid => "valid",
        Verdict::Overloaded => "overloaded",
        Verdict::Invalid => "invalid",
    };
    let mut text = format!("**The measurement is {verdict}.**\n\n");
    list(&mut text, &validity.reasons);
    conditions(&mut text, &document.assertions);
    for comparison in &document.comparisons {
        compared(&mut text, comparison);
    }
    if let Some(found) = &document.find_max {
        paragraph(&mut text, &maximum(found));
    }
    if let Some(found) = &document.knee {
        paragraph(&mut text, &knee(found));
    }
    runs(&mut text, &document.runs);
    if !validity.notes.is_empty() {
        text.push_str("Notes:\n\n");
        list(&mut text, &validity.notes);
    }
    text
}

/// Writes the comparison of two saved reports, and its conditions.
#[must_use]
pub fn comparison_markdown(comparison: &Comparison, assertions: &[AssertionResult]) -> String {
    let mut text = String::new();
    conditions(&mut text, assertions);
    compared(&mut text, comparison);
    text
}

/// Writes each condition with its result.
fn conditions(text: &mut String, assertions: &[AssertionResult]) {
    let lines = assertions.iter().map(|assertion| {
        let word = match assertion.met {
            Some(true) => "**FAIL**",
            Some(false) => "pass",
            None => "**UNKNOWN**",
        };
        format!("{word}: {}", escaped(&asserted(assertion)))
    });
    let lines: Vec<String> = lines.collect();
    for line in &lines {
        let _ = writeln!(text, "- {line}");
    }
    if !lines.is_empty() {
        text.push('\n');
    }
}

fn compared(text: &mut String, comparison: &Comparison) {
    let letter = comparison.letter();
    paragraph(text, &format!("{}.", heading(comparison)));
    let _ = writeln!(
        text,
        "| | A | {letter} | {letter} / A | {:.0} % interval | detectable | |\n|---|---:|---:|---:|---:|---:|---|",
        comparison.confidence * 100.0
    );
    for metric in &comparison.metrics {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            metric.name,
            show(metric, metric.a),
            show(metric, metric.b),
            units::ratio(metric.ratio),
            interval(metric),
            detectable(metric),
            metric.finding.words(letter)
        );
    }
    text.push('\n');
    let differences = comparison.differences.iter().map(different);
    let notes: Vec<String> = differences
        .chain(comparison.notes.iter().cloned())
        .collect();
    list(text, &notes);
}

/// Writes a table with one line for each run. A setting that all runs have in common is not in it.
fn runs(text: &mut String, runs: &[Run]) {
    if runs.is_empty() {
        return;
    }
    let cells = |cell: &dyn Fn(&Run) -> String| runs.iter().map(cell).collect::<Vec<String>>();
    let at = |run: &Run, percent| {
        let ns = run.latency.response.percentile(percent);
        ns.map_or("–".to_owned(), |ns| units::time(ns as f64))
    };
    let target = |run: &Run| {
        let side = run
            .side
            .map_or(String::new(), |side| format!("{}: ", side.letter()));
        format!("{side}{}", escaped(&run.target))
    };
    let verdict = |run: &Run| match run.validity.verdict {
        Verdict::Valid => String::new(),
        Verdict::Overloaded => "overloaded".to_owned(),
        Verdict::Invalid => "invalid".to_owned(),
    };
    let parameters = [
        (
            "asked/s",
            cells(&|run| run.parameters.rate.map_or("–".to_owned(), units::rate)),
        ),
        (
            "connections",
            cells(&|run| units::count(run.parameters.connections as u64)),
        ),
        ("bytes", cells(&|run| escaped(&run.parameters.size))),
    ];
    let mut columns = vec![
        ("run", cells(&|run| (run.index + 1).to_string())),
        ("target", cells(&target)),
    ];
    columns.extend(parameters.into_iter().filter(|(_, cells)| vary(cells)));
    columns.extend([
        (
            "messages/s",
            cells(&|run| units::rate(run.throughput.messages_per_second)),
        ),
        ("p50", cells(&|run| at(run, 50.0))),
        ("p99", cells(&|run| at(run, 99.0))),
        (
            "max",
            cells(&|run| units::time(run.latency.response.max as f64)),
        ),
        ("errors", cells(&|run| units::count(run.counts.errors))),
        ("", cells(&verdict)),
    ]);
    let row = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<&str> = cells.collect();
        format!("| {} |\n", cells.join(" | "))
    };
    text.push_str(&row(&mut columns.iter().map(|(name, _)| *name)));
    let rules = columns.iter().map(|(name, _)| match *name {
        "target" | "" => "---",
        _ => "---:",
    });
    let rules: Vec<&str> = rules.collect();
    text.push_str(&format!("|{}|\n", rules.join("|")));
    for n in 0..runs.len() {
        let cells = columns.iter().filter_map(|(_, cells)| cells.get(n));
        text.push_str(&row(&mut cells.map(String::as_str)));
    }
    text.push('\n');
}

fn list(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "- {}", escaped(line));
    }
    if !lines.is_empty() {
        text.push('\n');
    }
}

fn paragraph(text: &mut String, sentence: &str) {
    let _ = writeln!(text, "{}\n", escaped(sentence));
}

/// Escapes the characters that Markdown would take for markup, such as those of a command in a target's name.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if matches!(
            letter,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~'
        ) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_markup_stays_as_it_is() {
        assert_eq!(escaped("a|b <c> *d*"), r"a\|b \<c\> \*d\*");
    }
}

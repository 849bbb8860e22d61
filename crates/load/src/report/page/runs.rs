//! Writes a table with one line for each run.

use maud::{Markup, html};

use crate::report::document::{Run, Verdict};
use crate::report::text::vary;
use crate::report::units;

/// A column: its name, and the cell of each run.
struct Column {
    name: &'static str,
    cells: Vec<String>,
}

/// Writes the table. The figures that matter most are on the left, so that a phone shows them. A setting that all runs
/// have in common is not in it.
pub(super) fn table_of_runs(runs: &[Run]) -> Markup {
    let column = |name: &'static str, cell: &dyn Fn(&Run) -> String| Column {
        name,
        cells: runs.iter().map(cell).collect(),
    };
    let at = |run: &Run, percent| {
        let ns = run.latency.response.percentile(percent);
        ns.map_or("–".to_owned(), |ns| units::time(ns as f64))
    };
    let letter = |run: &Run| {
        run.side
            .map_or(String::new(), |side| format!(" {}", side.letter()))
    };
    let settings = [
        column("asked/s", &|run| {
            run.parameters.rate.map_or("–".to_owned(), units::rate)
        }),
        column("connections", &|run| {
            units::count(run.parameters.connections as u64)
        }),
        column("bytes", &|run| run.parameters.size.clone()),
    ];
    let mut columns = vec![column("run", &|run| {
        format!("{}{}", run.index + 1, letter(run))
    })];
    columns.extend(settings.into_iter().filter(|column| vary(&column.cells)));
    columns.extend([
        column("achieved/s", &|run| {
            units::rate(run.throughput.messages_per_second)
        }),
        column("p50", &|run| at(run, 50.0)),
        column("p99", &|run| at(run, 99.0)),
        column("max", &|run| units::time(run.latency.response.max as f64)),
        column("errors", &|run| units::count(run.counts.errors)),
        column("", &|run| verdict(run.validity.verdict).to_owned()),
        column("target", &|run| run.target.clone()),
    ]);
    html! {
        section {
            h2 { "Runs" }
            div.scroll { table.runs {
                thead { tr { @for column in &columns { th { (column.name) } } } }
                tbody {
                    @for n in 0..runs.len() {
                        tr {
                            @for column in &columns {
                                td { @if let Some(cell) = column.cells.get(n) { (cell) } }
                            }
                        }
                    }
                }
            } }
        }
    }
}

/// Writes the verdict of a run, unless it is valid.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "",
        Verdict::Overloaded => "overloaded",
        Verdict::Invalid => "invalid",
    }
}

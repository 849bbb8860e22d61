//! The measurements as a Markdown table, and the goals.

use crate::common::output::aligned;
use crate::common::process::has_two_cores;
use crate::common::spread::Median;
use crate::generator::CONNECTIONS;
use crate::pairs::{Placement, Row, Timing, WARMUP};

/// Returns the title, the machine and how it was measured.
pub(crate) fn heading(machine: &str, timing: Timing) -> String {
    let only_one_core = match has_two_cores() {
        true => "",
        false => " Only one core is allowed, so the placement \"own cores\" is left out.",
    };
    format!(
        "# Bulk through a pipe compared with read and write\n\n\
         {machine}. Pairs: {}, {} ms each after {} ms of warm-up. {CONNECTIONS} connections; the echo is not \
         verified.{only_one_core} Ratios are pipe ÷ read and write of the same pair: the median and in brackets its \
         95 % confidence interval. CPU is the server's processor time.\n",
        timing.pairs,
        timing.window.as_millis(),
        WARMUP.as_millis(),
    )
}

/// Returns a line for each row, and below the table the errors of rows that could not be measured.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        [
            "",
            "pipe, MiB/s",
            "r/w, MiB/s",
            "rate ratio",
            "pipe, ns/KiB",
            "r/w, ns/KiB",
            "CPU ratio",
            "through the pipe",
        ]
        .map(str::to_owned),
    ];
    lines.extend(rows.iter().map(cells));
    let mut text = aligned(&lines);
    for row in rows {
        if let Some(fault) = &row.fault {
            text += &format!("\n- **{}**: cannot be measured: {fault}\n", row.name());
        }
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    if !row.is_measured() {
        let mut cells = [const { String::new() }; 8];
        cells[0] = row.name();
        cells[1] = "see below".to_owned();
        return cells;
    }
    [
        row.name(),
        format!("{:.0}", row.median(|pair| pair.pipe.rate)),
        format!("{:.0}", row.median(|pair| pair.plain.rate)),
        row.rate_ratio().to_string(),
        format!("{:.0}", row.median(|pair| pair.pipe.cpu)),
        format!("{:.0}", row.median(|pair| pair.plain.cpu)),
        row.cpu_ratio().to_string(),
        format!("{:.0} %", 100.0 * row.median(|pair| pair.pipe.spliced)),
    ]
}

/// Returns one line for each goal of the measured rows.
pub(crate) fn goals(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| row.is_measured()) {
        let ratio = row.rate_ratio();
        lines.push(format!(
            "- {}: {}, rate at least {LEAST_RATE:.2} × read and write: {ratio}",
            judge(ratio, Bound::AtLeast(LEAST_RATE)),
            row.name()
        ));
        if (row.workload.name, row.placement) == ("1 MiB", Placement::OwnCores) {
            let ratio = row.cpu_ratio();
            lines.push(format!(
                "- {}: {}, CPU a byte at most {MOST_CPU:.2} × read and write: {ratio}",
                judge(ratio, Bound::AtMost(MOST_CPU)),
                row.name()
            ));
        }
    }
    format!("## Goals\n\n{}\n", lines.join("\n"))
}

/// The bound of a goal.
#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Judges by the whole confidence interval: a median alone can be on the wrong side of the bound by chance.
fn judge(ratio: Median, bound: Bound) -> &'static str {
    let Some((low, high)) = ratio.interval else {
        return "too few pairs to judge";
    };
    let (reached, missed) = match bound {
        Bound::AtLeast(bound) => (low >= bound, high < bound),
        Bound::AtMost(bound) => (high <= bound, low > bound),
    };
    match (reached, missed) {
        (true, _) => "reached",
        (_, true) => "**missed**",
        _ => "undecided",
    }
}

/// The least ratio of rates.
const LEAST_RATE: f64 = 0.97;
/// The largest ratio of processor times for messages of 1 MiB.
const MOST_CPU: f64 = 0.8;

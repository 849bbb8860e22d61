//! Checks whether the figures reach the project's goals.

use crate::block::Sample;
use crate::race::{BUSY_POLLING, Comparison, LIMIT, OURS, Row};

/// Returns one line for each goal whose workloads were measured.
pub(crate) fn of(comparisons: &[Comparison]) -> String {
    let mut lines = Vec::new();
    for name in ["50 clients", "1,000 clients", "10,000 clients"] {
        at_most(&mut lines, comparisons, name, 1.03);
    }
    at_most(&mut lines, comparisons, "1 MiB messages", 0.8);
    lines.extend(comparisons.iter().filter_map(no_server_needs_less_cpu));
    busy_polling(&mut lines, comparisons);
    idle_ones(&mut lines, comparisons);
    if lines.is_empty() {
        return String::new();
    }
    let rounds = comparisons
        .iter()
        .flat_map(|comparison| &comparison.rows)
        .map(|row| row.samples.len());
    if rounds.max().unwrap_or(0) < FEWEST {
        return format!("## Goals\n\nNot judged: that needs at least {FEWEST} rounds.\n");
    }
    format!("## Goals\n\n{}\n", lines.join("\n"))
}

fn find<'a>(comparisons: &'a [Comparison], name: &str) -> Option<&'a Comparison> {
    comparisons
        .iter()
        .find(|comparison| comparison.workload.name == name)
}

fn line(reached: bool, what: &str) -> String {
    let verdict = if reached { "reached" } else { "**missed**" };
    format!("- {verdict}: {what}")
}

/// Adds the goal that our processor time a message is at most `bound` times that of the epoll limit.
fn at_most(lines: &mut Vec<String>, comparisons: &[Comparison], name: &str, bound: f64) {
    let Some(comparison) = find(comparisons, name) else {
        return;
    };
    if let (Some(ours), Some(limit)) = (comparison.row(OURS), comparison.row(LIMIT)) {
        let ratio = ours.by(limit, cpu);
        let what = format!("{name}, CPU ÷ epoll limit at most {bound:.2}: {ratio}");
        lines.push(line(ratio.median <= bound, &what));
    }
}

/// Judges whether another server needs less processor time a message than ours, in at least three of four rounds.
fn no_server_needs_less_cpu(comparison: &Comparison) -> Option<String> {
    let ours = comparison.row(OURS)?;
    if rivals(comparison).all(|row| row.samples.iter().all(Option::is_none)) {
        return None;
    }
    let ahead: Vec<String> = rivals(comparison)
        .filter_map(|row| {
            let ratio = row.by(ours, cpu);
            (ratio.high < 1.0).then(|| format!("{} {ratio}", row.name))
        })
        .collect();
    let name = comparison.workload.name;
    Some(match ahead.is_empty() {
        true => line(
            true,
            &format!("{name}, no other server needs less CPU a message in three of four rounds"),
        ),
        false => line(
            false,
            &format!(
                "{name}, less CPU a message than ours (CPU ÷ ours): {}",
                ahead.join(", ")
            ),
        ),
    })
}

/// Adds the goals of busy polling against every other server: its rate at least 2.5 times theirs, its p50 at most 0.40
/// times theirs.
fn busy_polling(lines: &mut Vec<String>, comparisons: &[Comparison]) {
    let Some(comparison) = find(comparisons, "1 client") else {
        return;
    };
    let Some(awake) = comparison.row(BUSY_POLLING) else {
        return;
    };
    for row in rivals(comparison).chain(comparison.row(OURS)) {
        let rate = awake.by(row, |sample| sample.rate);
        let p50 = awake.by(row, |sample| sample.p50_us);
        let what = format!(
            "1 client, busy-poll ÷ {}: rate at least 2.50: {rate}, p50 at most 0.40: {p50}",
            row.name
        );
        lines.push(line(rate.median >= 2.5 && p50.median <= 0.4, &what));
    }
}

/// Adds the goal that 10,000 idle connections cost at most 5 % of the rate of 50 busy ones.
fn idle_ones(lines: &mut Vec<String>, comparisons: &[Comparison]) {
    let busy =
        find(comparisons, "50 busy among 10,000 idle").and_then(|comparison| comparison.row(OURS));
    let alone = find(comparisons, "50 clients").and_then(|comparison| comparison.row(OURS));
    if let (Some(busy), Some(alone)) = (busy, alone) {
        let ratio = busy.by(alone, |sample| sample.rate);
        let what = format!("50 busy among 10,000 idle ÷ 50 clients: rate at least 0.95: {ratio}");
        lines.push(line(ratio.median >= 0.95, &what));
    }
}

/// All servers but ours and the epoll limit.
fn rivals(comparison: &Comparison) -> impl Iterator<Item = &Row> {
    let is_rival = |row: &&Row| ![OURS, BUSY_POLLING, LIMIT].contains(&row.name.as_str());
    comparison.rows.iter().filter(is_rival)
}

/// Rounds that a judgement needs: quartiles of fewer rounds say nothing.
const FEWEST: usize = 3;

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_us
}

//! Checks whether the figures reach the project's goals.
//!
//! A goal is reached if the quartiles of the rounds are both on the right side of the bound, and missed if both are on
//! the wrong side. Otherwise the rounds do not show it. The rate is beside the processor time: one alone can hide a
//! loss.

use crate::block::Sample;
use crate::common::spread::{Judgement, Spread};
use crate::race::{BUSY_POLLING, Comparison, OURS, Row};
use crate::servers::BARE;

/// Returns one line for each goal whose workloads were measured.
pub(crate) fn of(comparisons: &[Comparison]) -> String {
    let mut lines = Vec::new();
    for name in ["50 clients", "1,000 clients", "10,000 clients"] {
        at_most(&mut lines, comparisons, name, 1.03);
    }
    at_most(&mut lines, comparisons, "1 MiB messages", 0.8);
    at_most(&mut lines, comparisons, "64 KiB messages", 0.8);
    lines.extend(comparisons.iter().filter_map(no_server_needs_less_cpu));
    busy_polling(&mut lines, comparisons);
    idle_ones(&mut lines, comparisons);
    section("Goals", &lines, rounds(comparisons))
}

/// Returns the section of these lines; nothing if there are none.
pub(crate) fn section(title: &str, lines: &[String], rounds: usize) -> String {
    if lines.is_empty() {
        return String::new();
    }
    if rounds < FEWEST {
        return format!("## {title}\n\nNot judged: that needs at least {FEWEST} rounds.\n");
    }
    format!(
        "## {title}\n\nReached or missed: both quartiles are on that side of the bound. Not shown: the bound is \
         between them.\n\n{}\n",
        lines.join("\n")
    )
}

/// Returns the number of rounds.
pub(crate) fn rounds(comparisons: &[Comparison]) -> usize {
    let rows = comparisons.iter().flat_map(|comparison| &comparison.rows);
    rows.map(|row| row.rounds.len()).max().unwrap_or(0)
}

fn find<'a>(comparisons: &'a [Comparison], name: &str) -> Option<&'a Comparison> {
    comparisons
        .iter()
        .find(|comparison| comparison.workload.name == name)
}

pub(crate) fn line(judgement: Judgement, what: &str) -> String {
    format!("- {judgement}: {what}")
}

/// Adds the goal that our processor time a message is at most `bound` times that of the cheaper bare epoll loop.
fn at_most(lines: &mut Vec<String>, comparisons: &[Comparison], name: &str, bound: f64) {
    let Some(comparison) = find(comparisons, name) else {
        return;
    };
    if let (Some(ours), Some(bare)) = (comparison.row(OURS), comparison.barest(cpu)) {
        let (ratio, speed) = (judged(ours, bare, cpu), judged(ours, bare, rate));
        let other = &bare.name;
        let what =
            format!("{name}, CPU ÷ {other} at most {bound:.2}: {ratio} at a rate of {speed}");
        lines.push(line(ratio.at_most(bound), &what));
    }
}

/// Judges whether another server needs less processor time a message than ours.
fn no_server_needs_less_cpu(comparison: &Comparison) -> Option<String> {
    let ours = comparison.row(OURS)?;
    let rivals: Vec<&Row> = rivals(comparison).filter(|row| !row.is_empty()).collect();
    if rivals.is_empty() {
        return None;
    }
    let judgement = |row: &&Row| judged(row, ours, cpu).at_least(1.0);
    let all = rivals.iter().map(judgement).reduce(Judgement::and)?;
    let name = comparison.workload.name;
    let others: Vec<String> = rivals
        .iter()
        .filter(|row| judgement(row) != Judgement::Reached)
        .map(|row| {
            format!(
                "{} {} at a rate of {}",
                row.name,
                row.by(ours, cpu),
                row.by(ours, rate)
            )
        })
        .collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!(" (CPU and rate ÷ ours: {})", others.join(", ")),
    };
    Some(line(
        all,
        &format!("{name}, no other server needs less CPU a message{others}"),
    ))
}

/// Adds the goals of busy polling against every other server but the bare epoll loops: its rate at least 2.5 times
/// theirs, its p50 at most 0.40 times theirs.
fn busy_polling(lines: &mut Vec<String>, comparisons: &[Comparison]) {
    let Some(comparison) = find(comparisons, "1 client") else {
        return;
    };
    let Some(awake) = comparison.row(BUSY_POLLING) else {
        return;
    };
    for row in rivals(comparison).chain(comparison.row(OURS)) {
        let (speed, p50) = (
            judged(awake, row, rate),
            judged(awake, row, |sample| sample.p50_us),
        );
        let what = format!(
            "1 client, busy-poll ÷ {}: rate at least 2.50: {speed}, p50 at most 0.40: {p50}; CPU {}",
            row.name,
            awake.by(row, cpu)
        );
        lines.push(line(speed.at_least(2.5).and(p50.at_most(0.4)), &what));
    }
}

/// Adds the goal that 10,000 idle connections cost at most 5 % of the rate of 50 busy ones.
fn idle_ones(lines: &mut Vec<String>, comparisons: &[Comparison]) {
    let busy =
        find(comparisons, "50 busy among 10,000 idle").and_then(|comparison| comparison.row(OURS));
    let alone = find(comparisons, "50 clients").and_then(|comparison| comparison.row(OURS));
    if let (Some(busy), Some(alone)) = (busy, alone) {
        let (speed, cost) = (judged(busy, alone, rate), judged(busy, alone, cpu));
        let what = format!(
            "50 busy among 10,000 idle ÷ 50 clients: rate at least 0.95: {speed} at a CPU of {cost}"
        );
        lines.push(line(speed.at_least(0.95), &what));
    }
}

/// Returns the ratio of one figure for a judgement. It has no value if fewer than three rounds have both servers: the
/// quartiles of fewer rounds say nothing.
pub(crate) fn judged(row: &Row, other: &Row, figure: fn(&Sample) -> f64) -> Spread {
    match row.pairs(other) >= FEWEST {
        true => row.by(other, figure),
        false => Spread::of([]),
    }
}

/// All servers but ours and the bare epoll loops.
fn rivals(comparison: &Comparison) -> impl Iterator<Item = &Row> {
    let is_rival = |row: &&Row| {
        let name = row.name.as_str();
        name != OURS && name != BUSY_POLLING && !BARE.contains(&name)
    };
    comparison.rows.iter().filter(is_rival)
}

/// Rounds that a judgement needs: quartiles of fewer rounds say nothing.
const FEWEST: usize = 3;

pub(crate) fn cpu(sample: &Sample) -> f64 {
    sample.cpu_us
}

pub(crate) fn rate(sample: &Sample) -> f64 {
    sample.rate
}

//! What the figures are meant to reach, beside what they have reached.

use crate::block::Sample;
use crate::race::{AWAKE, Heat, LIMIT, OURS, Row};

/// One line for each goal whose workloads were measured.
pub(crate) fn of(heats: &[Heat]) -> String {
    let mut lines = Vec::new();
    for name in ["50 clients", "1,000 clients", "10,000 clients"] {
        at_most(&mut lines, heats, name, 1.03);
    }
    at_most(&mut lines, heats, "1 MiB messages", 0.8);
    lines.extend(heats.iter().filter_map(nobody_is_ahead));
    busy_polling(&mut lines, heats);
    idle_ones(&mut lines, heats);
    if lines.is_empty() {
        return String::new();
    }
    let rounds = heats
        .iter()
        .flat_map(|heat| &heat.rows)
        .map(|row| row.samples.len());
    if rounds.max().unwrap_or(0) < FEWEST {
        return format!("## Goals\n\nFewer than {FEWEST} rounds are too few to judge by.\n");
    }
    format!("## Goals\n\n{}\n", lines.join("\n"))
}

fn find<'a>(heats: &'a [Heat], name: &str) -> Option<&'a Heat> {
    heats.iter().find(|heat| heat.workload.name == name)
}

fn line(reached: bool, what: &str) -> String {
    let verdict = if reached { "reached" } else { "**missed**" };
    format!("- {verdict}: {what}")
}

fn at_most(lines: &mut Vec<String>, heats: &[Heat], name: &str, bound: f64) {
    let Some(heat) = find(heats, name) else {
        return;
    };
    if let (Some(ours), Some(limit)) = (heat.row(OURS), heat.row(LIMIT)) {
        let ratio = ours.by(limit, cpu);
        let what = format!("{name}, CPU ÷ the limit's at most {bound:.2}: {ratio}");
        lines.push(line(ratio.median <= bound, &what));
    }
}

/// A peer is ahead when three of four rounds say so.
fn nobody_is_ahead(heat: &Heat) -> Option<String> {
    let ours = heat.row(OURS)?;
    if rivals(heat).all(|row| row.samples.iter().all(Option::is_none)) {
        return None;
    }
    let ahead: Vec<String> = rivals(heat)
        .filter_map(|row| {
            let ratio = row.by(ours, cpu);
            (ratio.high < 1.0).then(|| format!("{} {ratio}", row.name))
        })
        .collect();
    let name = heat.workload.name;
    Some(match ahead.is_empty() {
        true => line(
            true,
            &format!("{name}, nobody's CPU a message is ahead of ours beyond the spread"),
        ),
        false => line(
            false,
            &format!("{name}, CPU a message ahead of ours: {}", ahead.join(", ")),
        ),
    })
}

fn busy_polling(lines: &mut Vec<String>, heats: &[Heat]) {
    let Some(heat) = find(heats, "1 client") else {
        return;
    };
    let Some(awake) = heat.row(AWAKE) else {
        return;
    };
    for row in rivals(heat).chain(heat.row(OURS)) {
        let rate = awake.by(row, |sample| sample.rate);
        let p50 = awake.by(row, |sample| sample.p50_us);
        let what = format!(
            "1 client, busy-poll beside {}, the rate at least 2.5: {rate}, p50 at most 0.40: {p50}",
            row.name
        );
        lines.push(line(rate.median >= 2.5 && p50.median <= 0.4, &what));
    }
}

fn idle_ones(lines: &mut Vec<String>, heats: &[Heat]) {
    let busy = find(heats, "50 busy among 10,000 idle").and_then(|heat| heat.row(OURS));
    let alone = find(heats, "50 clients").and_then(|heat| heat.row(OURS));
    if let (Some(busy), Some(alone)) = (busy, alone) {
        let ratio = busy.by(alone, |sample| sample.rate);
        let what =
            format!("50 busy among 10,000 idle by 50 alone, the rate at least 0.95: {ratio}");
        lines.push(line(ratio.median >= 0.95, &what));
    }
}

/// Everybody but us and the limit.
fn rivals(heat: &Heat) -> impl Iterator<Item = &Row> {
    let is_rival = |row: &&Row| ![OURS, AWAKE, LIMIT].contains(&row.name.as_str());
    heat.rows.iter().filter(is_rival)
}

/// Quartiles of fewer rounds are none.
const FEWEST: usize = 3;

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_us
}

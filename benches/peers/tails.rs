//! The tails: p99 and p99.9 of each server in an open loop, at a rate that all of them can keep.
//!
//! In a closed loop a slow server gets fewer messages, and its tail is of another load. So the rate is fixed: half of
//! what the slowest server echoes in a closed loop, measured first in the same sitting.

use crate::block::{Contender, Sample, Timing};
use crate::common::output::aligned;
use crate::goals::{self, cpu, rate};
use crate::race::{self, Comparison, OURS, Row};
use crate::report::{faults, micros};
use crate::servers::{TOKIO, chooses_its_buffer};
use crate::workloads::{Workload, ping_pong};

/// Measures the tails. Returns the text of the report, and how many rows make the bench fail.
pub(crate) fn measure(contenders: &[Contender], rounds: usize, timing: Timing) -> (String, usize) {
    // The size of a buffer does not matter for small messages.
    let takes_part = |contender: &&Contender| {
        contender.name != race::BUSY_POLLING && !chooses_its_buffer(&contender.name)
    };
    let contenders: Vec<Contender> = contenders.iter().filter(takes_part).cloned().collect();
    let closed = CONNECTIONS.map(ping_pong);
    let capacities = race::run(&closed, &contenders, rounds.min(ROUNDS_OF_CAPACITY), timing);
    let mut failures = race::failures(&capacities);
    let mut text = String::new();
    let mut lines = Vec::new();
    for capacity in &capacities {
        let Some(slowest) = slowest(capacity) else {
            text.push_str(&faults(capacity));
            continue;
        };
        let highest = slowest.spread(rate).median;
        let workload = Workload {
            rate: Some((highest * SHARE).round()),
            ..capacity.workload
        };
        let timing = Timing {
            window: timing.window * LONGER,
            ..timing
        };
        let measured = race::run(&[workload], &contenders, rounds, timing);
        failures += race::failures(&measured);
        for comparison in &measured {
            let about = format!(
                "{} connections, {:.0} messages/s: half of the {highest:.0} of {} in a closed loop",
                workload.clients,
                highest * SHARE,
                slowest.name
            );
            text.push_str(&format!(
                "{about}.\n\n{}\n{}",
                table(comparison),
                faults(comparison)
            ));
            lines.extend(judged(comparison));
        }
    }
    let heading = "## Tails\n\nResponse times in an open loop, from when a message was due, in microseconds. Medians; \
                   in brackets the quartiles of the rounds.\n\n";
    let goals = goals::section("Goals of the tails", &lines, rounds);
    (format!("{heading}{text}\n{goals}"), failures)
}

/// Returns the server with the lowest rate, among those that can be measured.
fn slowest(comparison: &Comparison) -> Option<&Row> {
    let rows = comparison.rows.iter().filter(|row| !row.is_empty());
    rows.min_by(|a, b| a.spread(rate).median.total_cmp(&b.spread(rate).median))
}

fn table(comparison: &Comparison) -> String {
    let header = [
        "",
        "messages/s",
        "CPU µs/message",
        "p50",
        "p99",
        "p99.9",
        "p99.9 ÷ mio-echo",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    for row in &comparison.rows {
        let spread = |figure: fn(&Sample) -> f64| {
            let spread = row.spread(figure);
            match spread.median.is_nan() {
                true => "–".to_owned(),
                false => format!("{spread:.0}"),
            }
        };
        let ratio = comparison.row(OURS).map(|ours| row.by(ours, p999));
        lines.push(match row.is_empty() {
            true => [&row.name, "see below", "", "", "", "", ""].map(str::to_owned),
            false => [
                row.name.clone(),
                format!("{:.0}", row.spread(rate).median),
                format!("{:.2}", row.spread(cpu).median),
                micros(row.spread(|sample| sample.p50_us).median),
                spread(|sample| sample.p99_us),
                spread(p999),
                ratio
                    .filter(|ratio| !ratio.median.is_nan())
                    .map_or("–".to_owned(), |ratio| ratio.to_string()),
            ],
        });
    }
    aligned(&lines)
}

/// Judges the goals of the tail at the highest number of connections.
fn judged(comparison: &Comparison) -> Vec<String> {
    let Some(ours) = comparison.row(OURS) else {
        return Vec::new();
    };
    if comparison.workload.clients != CONNECTIONS[CONNECTIONS.len() - 1] {
        return Vec::new();
    }
    let others = [(comparison.barest(p999), 0.8), (comparison.row(TOKIO), 0.5)];
    let line = |(other, bound): (Option<&Row>, f64)| {
        let other = other?;
        let ratio = goals::judged(ours, other, p999);
        let what = format!(
            "{} connections, p99.9 ÷ {} at most {bound:.2}: {ratio} at a rate of {} and a CPU of {}",
            comparison.workload.clients,
            other.name,
            ours.by(other, rate),
            ours.by(other, cpu)
        );
        Some(goals::line(ratio.at_most(bound), &what))
    };
    others.into_iter().filter_map(line).collect()
}

fn p999(sample: &Sample) -> f64 {
    sample.p999_us
}

const CONNECTIONS: [usize; 2] = [1_000, 10_000];
/// The share of the slowest server's capacity.
const SHARE: f64 = 0.5;
/// The capacity only chooses the rate, so a few rounds are enough.
const ROUNDS_OF_CAPACITY: usize = 3;
/// A p99.9 needs ten thousand messages and more. So its window is so many times longer than that of other workloads.
const LONGER: u32 = 5;

//! Merges reports of one load, each from its own process, into one report.
//!
//! Histograms are added, so nothing is lost. Rates are calculated over the time in which at least one process measured.
//! So the rates of processes that ran at the same time add up. The rates of processes that ran one after another are
//! averaged.

use std::fmt;

use super::document::{
    Document, ErrorSummary, Generator, IntervalSummary, LatencySet, Run, Throughput,
};
use super::latency::Latency;
use super::{summary, validity};

/// The reason why reports cannot be merged, as a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeError(String);

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MergeError {}

/// Merges reports of one load: the n-th run of each report with the n-th runs of the others.
///
/// # Errors
/// The reports are not of one load, one of them is given twice, or there is none.
pub fn merge(documents: &[Document]) -> Result<Document, MergeError> {
    let Some((first, others)) = documents.split_first() else {
        return Err(MergeError("there is nothing to merge".to_owned()));
    };
    for (n, other) in others.iter().enumerate() {
        check(first, other)?;
        let same =
            |known: &Document| known.started_at == other.started_at && known.runs == other.runs;
        if documents.iter().take(n + 1).any(same) {
            return Err(MergeError("one report is given twice".to_owned()));
        }
    }
    let mut merged = first.clone();
    merged.runs = (first.runs.iter().enumerate())
        .map(|(index, run)| {
            let others = others
                .iter()
                .filter_map(|document| document.runs.get(index));
            merge_runs(run, &others.collect::<Vec<_>>())
        })
        .collect();
    let options = &mut merged.options;
    for other in others {
        options.targets.extend(other.options.targets.clone());
        options.source.extend(other.options.source.clone());
        options.connections += other.options.connections;
        options.threads += other.options.threads;
        options.rate = options.rate.zip(other.options.rate).map(|(a, b)| a + b);
        options.count = options.count.zip(other.options.count).map(|(a, b)| a + b);
    }
    options.targets.sort();
    options.targets.dedup();
    merged.validity = validity::of_runs(&merged.runs);
    // These results are about one report alone, and not about the merged runs.
    merged.comparison = None;
    merged.find_max = None;
    merged.assertions.clear();
    Ok(merged)
}

/// Checks that two reports are of one load.
fn check(first: &Document, other: &Document) -> Result<(), MergeError> {
    let (n, m) = (first.runs.len(), other.runs.len());
    if n != m {
        return Err(MergeError(format!(
            "one report has {n} runs and another has {m}: all reports need the same number of runs"
        )));
    }
    if first
        .runs
        .iter()
        .chain(&other.runs)
        .any(|run| run.side.is_some())
    {
        return Err(MergeError(
            "a report that compares two targets cannot be merged".to_owned(),
        ));
    }
    for (one, other) in first.runs.iter().zip(&other.runs) {
        if one.kind != other.kind {
            return Err(MergeError(
                "one was measured in an open loop and the other in a closed loop: their latencies have different \
                 meanings"
                    .to_owned(),
            ));
        }
        let (a, b) = (&one.parameters, &other.parameters);
        if (&a.size, a.pipeline, a.verify) != (&b.size, b.pipeline, b.verify) {
            return Err(MergeError(
                "the reports are not of one load: sizes, pipelines or verification differ"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

/// Merges a run with the runs of the same number in the other reports.
fn merge_runs(first: &Run, others: &[&Run]) -> Run {
    let all = [&[first], others].concat();
    let starts = all.iter().map(|run| run.started_at_ns);
    let start_ns = starts.min().unwrap_or(first.started_at_ns);
    let window_ns = union_ns(&all);
    let mut merged = first.clone();
    for interval in &mut merged.intervals {
        shift(interval, first, start_ns);
    }
    for run in others {
        merged.counts.add(run.counts);
        merged.parameters.connections += run.parameters.connections;
        merged.parameters.count = merged
            .parameters
            .count
            .zip(run.parameters.count)
            .map(|(a, b)| a + b);
        if !merged.target.split(", ").any(|target| target == run.target) {
            merged.target = format!("{}, {}", merged.target, run.target);
        }
        merged.throughput.messages += run.throughput.messages;
        merged.throughput.bytes += run.throughput.bytes;
        merged.interrupted |= run.interrupted;
        for error in &run.errors {
            add_error(&mut merged.errors, error);
        }
        add_latencies(&mut merged.latency, &run.latency);
        add_generator(&mut merged.generator, &run.generator);
        merged.fairness.shares.extend(&run.fairness.shares);
        for interval in &run.intervals {
            let mut interval = interval.clone();
            shift(&mut interval, run, start_ns);
            add_interval(&mut merged.intervals, interval);
        }
        for (ours, theirs) in [
            (&mut merged.validity.reasons, &run.validity.reasons),
            (&mut merged.validity.notes, &run.validity.notes),
        ] {
            let new: Vec<String> = theirs
                .iter()
                .filter(|said| !ours.contains(said))
                .cloned()
                .collect();
            ours.extend(new);
        }
    }
    finish(&mut merged, start_ns, window_ns, &all);
    merged
}

/// Calculates the figures of the merged run that are not sums.
fn finish(merged: &mut Run, start_ns: u64, window_ns: u64, all: &[&Run]) {
    merged.started_at_ns = start_ns;
    merged.window_ns = window_ns;
    merged.intervals.sort_by_key(|interval| interval.start_ns);
    merged.errors.sort_by_key(|error| error.kind);
    let seconds = window_ns.max(1) as f64 / 1e9;
    let Throughput {
        messages, bytes, ..
    } = merged.throughput;
    merged.throughput.messages_per_second = messages as f64 / seconds;
    merged.throughput.bytes_per_second = bytes as f64 / seconds;
    let generator = &mut merged.generator;
    let most = |of: fn(&Generator) -> f64| {
        let all = all.iter().map(|run| of(&run.generator));
        all.fold(0.0, f64::max)
    };
    generator.cpu_share = most(|g| g.cpu_share);
    generator.busy_share = most(|g| g.busy_share);
    let weighed = |of: fn(&Generator) -> f64| {
        let all = all
            .iter()
            .map(|run| of(&run.generator) * run.window_ns as f64);
        all.sum::<f64>() / window_ns.max(1) as f64
    };
    // The rates that were asked for add up only for processes that ran at the same time.
    let asked = all
        .iter()
        .map(|run| run.parameters.rate.map(|rate| rate * run.window_ns as f64));
    merged.parameters.rate = asked
        .sum::<Option<f64>>()
        .map(|sum| sum / window_ns.max(1) as f64);
    generator.in_flight = weighed(|g| g.in_flight);
    generator.connections_down = weighed(|g| g.connections_down);
    generator.in_flight_by_littles_law = weighed(|g| g.in_flight_by_littles_law);
    // A report of more than 101 connections has only a sample of the messages of each connection. So the number of
    // connections is not the length of the list.
    let mut fairness = summary::fairness(std::mem::take(&mut merged.fairness.shares));
    fairness.connections = all.iter().map(|run| run.fairness.connections).sum();
    merged.fairness = fairness;
    merged.validity = validity::of(
        std::mem::take(&mut merged.validity.reasons),
        std::mem::take(&mut merged.validity.notes),
    );
}

/// Returns the length of the time in which at least one of the runs measured.
fn union_ns(runs: &[&Run]) -> u64 {
    let mut windows: Vec<(u64, u64)> = runs
        .iter()
        .map(|run| (run.started_at_ns, run.started_at_ns + run.window_ns))
        .collect();
    windows.sort_unstable();
    let (mut covered_ns, mut until_ns) = (0, 0);
    for (start_ns, end_ns) in windows {
        covered_ns += end_ns.saturating_sub(start_ns.max(until_ns));
        until_ns = until_ns.max(end_ns);
    }
    covered_ns
}

/// Changes the start of an interval of `run`: it counts from the start of the merged window, rounded to a second.
fn shift(interval: &mut IntervalSummary, run: &Run, start_ns: u64) {
    let at_ns = run.started_at_ns - start_ns + interval.start_ns;
    interval.start_ns = (at_ns + SECOND_NS / 2) / SECOND_NS * SECOND_NS;
}

fn add_interval(ours: &mut Vec<IntervalSummary>, interval: IntervalSummary) {
    match ours.iter_mut().find(|i| i.start_ns == interval.start_ns) {
        None => ours.push(interval),
        Some(ours) => {
            ours.length_ns = ours.length_ns.max(interval.length_ns);
            ours.sent += interval.sent;
            ours.ok += interval.ok;
            ours.errors += interval.errors;
            ours.connections += interval.connections;
            add_latency(&mut ours.response, &interval.response);
        }
    }
}

fn add_error(ours: &mut Vec<ErrorSummary>, error: &ErrorSummary) {
    match ours.iter_mut().find(|known| known.kind == error.kind) {
        None => ours.push(error.clone()),
        Some(known) => {
            known.count += error.count;
            known.messages += error.messages;
        }
    }
}

fn add_latencies(ours: &mut LatencySet, theirs: &LatencySet) {
    add_latency(&mut ours.response, &theirs.response);
    add_latency(&mut ours.service, &theirs.service);
    add_latency(&mut ours.first_byte, &theirs.first_byte);
    add_latency(&mut ours.connect, &theirs.connect);
    add_latency(&mut ours.lower_bounds, &theirs.lower_bounds);
}

fn add_generator(ours: &mut Generator, theirs: &Generator) {
    ours.threads += theirs.threads;
    ours.cpu_ns += theirs.cpu_ns;
    add_latency(&mut ours.lateness, &theirs.lateness);
    ours.longest_turn_ns = ours.longest_turn_ns.max(theirs.longest_turn_ns);
    if theirs.longest_silence_ns < ours.longest_silence_ns {
        // During the silence of one report's connections, others may have received echoes. The silence of all
        // connections is at most the shortest of the reports' longest silences.
        ours.longest_silence_ns = theirs.longest_silence_ns;
        ours.longest_silence_at_ns = theirs.longest_silence_at_ns;
    }
    ours.connections_opened += theirs.connections_opened;
    ours.connections_made += theirs.connections_made;
    ours.queued_ns = ours.queued_ns.max(theirs.queued_ns);
    ours.absent_ns = ours.absent_ns.max(theirs.absent_ns);
    ours.ends_verified += theirs.ends_verified;
    ours.ends_without_end_of_stream += theirs.ends_without_end_of_stream;
    ours.ends_not_checked += theirs.ends_not_checked;
    ours.connections_silent += theirs.connections_silent;
    ours.silent_since_ns = ours.silent_since_ns.max(theirs.silent_since_ns);
}

fn add_latency(ours: &mut Latency, theirs: &Latency) {
    let mut histogram = ours.histogram.clone();
    crate::add(&mut histogram, &theirs.histogram);
    *ours = Latency::new(histogram);
}

const SECOND_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;

//! Merges reports of one load, each from its own process, into one report.
//!
//! Histograms and counts are added, so nothing is lost. Rates are calculated over the common window: the time in which
//! all processes measured. Reports with a short common window are refused, because their load was not one load.

use std::fmt;
use std::ops::Range;

use serde_json::Value;

use super::document::{
    Document, ErrorSummary, Generator, IntervalSummary, LatencySet, Run, SizeLatency, Throughput,
};
use super::latency::Latency;
use super::options::{as_written, option_name};
use super::{summary, units, validity};
use crate::Arrivals;

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
/// The reports are not of one load, their windows overlap too little, one of them is given twice, or there is none.
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
        check_seeds(documents.iter().take(n + 1), other)?;
    }
    let mut merged = first.clone();
    merged.interrupted = documents.iter().any(|document| document.interrupted);
    merged.runs = (first.runs.iter().enumerate())
        .map(|(index, run)| {
            let others = others
                .iter()
                .filter_map(|document| document.runs.get(index));
            merge_runs(run, &others.collect::<Vec<_>>()).map_err(|MergeError(why)| {
                match first.runs.len() {
                    1 => MergeError(why),
                    _ => MergeError(format!("run {}: {why}", index + 1)),
                }
            })
        })
        .collect::<Result<_, _>>()?;
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
    merged.validity.notes.extend(different_options(documents));
    // These results are about one report alone, and not about the merged runs.
    merged.comparisons.clear();
    merged.knee = None;
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
            "a report that compares targets cannot be merged".to_owned(),
        ));
    }
    if first
        .runs
        .iter()
        .chain(&other.runs)
        .any(|run| run.common_window_ns.is_some())
    {
        return Err(MergeError(
            "one report is already merged: merge the reports of all processes at once".to_owned(),
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

/// Checks that a report of Poisson arrivals has another seed than the reports before it.
fn check_seeds<'a>(
    mut before: impl Iterator<Item = &'a Document>,
    other: &Document,
) -> Result<(), MergeError> {
    if other.options.arrivals != Some(Arrivals::Poisson) {
        return Ok(());
    }
    let seeds = |document: &'a Document| document.runs.iter().map(|run| run.parameters.seed);
    let equal = before.find_map(|known| {
        let pairs = seeds(known).zip(other.runs.iter().map(|run| run.parameters.seed));
        pairs.filter(|(a, b)| a == b).map(|(seed, _)| seed).next()
    });
    match equal {
        None => Ok(()),
        Some(seed) => Err(MergeError(format!(
            "two reports of Poisson arrivals have the same seed ({seed}), so their arrivals are not independent: give \
             each process its own --seed, or none"
        ))),
    }
}

/// Names the options that differ between the reports, each in a note with all its values.
fn different_options(documents: &[Document]) -> Vec<String> {
    let options = |document: &Document| serde_json::to_value(&document.options).ok();
    let all: Vec<Value> = documents.iter().filter_map(options).collect();
    let Some(Value::Object(first)) = all.first() else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    for name in first.keys().filter(|name| !OWN.contains(&name.as_str())) {
        let mut values: Vec<String> = Vec::new();
        for value in all.iter().filter_map(|options| options.get(name)) {
            let value = as_written(name, value);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() > 1 {
            let (option, values) = (option_name(name), values.join(" and "));
            notes.push(format!(
                "the processes had different values of --{option}: {values}"
            ));
        }
    }
    notes
}

/// Merges a run with the runs of the same number in the other reports.
///
/// # Errors
/// The windows overlap too little.
fn merge_runs(first: &Run, others: &[&Run]) -> Result<Run, MergeError> {
    let all = [&[first], others].concat();
    let starts = all.iter().map(|run| run.started_at_ns);
    let start_ns = starts.min().unwrap_or(first.started_at_ns);
    let (common, note) = common_window(&all)?;
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
        merged.throughput.backlog += run.throughput.backlog;
        merged.throughput.bytes += run.throughput.bytes;
        merged.interrupted |= run.interrupted;
        for error in &run.errors {
            add_error(&mut merged.errors, error);
        }
        add_latencies(&mut merged.latency, &run.latency);
        add_sizes(&mut merged.sizes, &run.sizes);
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
    merged.validity.notes.extend(note);
    finish(&mut merged, start_ns, &common, &all);
    Ok(merged)
}

/// Returns the time in which all runs measured, in nanoseconds since the start of 1970. A note says how much of the
/// longest window it is, if a reader must know.
///
/// # Errors
/// It is less than [`LEAST_OVERLAP`] of the longest window.
fn common_window(runs: &[&Run]) -> Result<(Range<u64>, Option<String>), MergeError> {
    let start_ns = runs.iter().map(|run| run.started_at_ns).max().unwrap_or(0);
    let end_ns = runs.iter().map(|run| end_ns(run)).min().unwrap_or(0);
    let longest_ns = runs.iter().map(|run| run.window_ns).max().unwrap_or(0);
    let common_ns = end_ns.saturating_sub(start_ns);
    let share = common_ns as f64 / longest_ns.max(1) as f64;
    let figures = || {
        format!(
            "{}, which is {} of the longest window ({})",
            units::time(common_ns as f64),
            units::percent(share),
            units::time(longest_ns as f64)
        )
    };
    if share < LEAST_OVERLAP {
        return Err(MergeError(format!(
            "the processes did not make one load: all of them measured together for only {}, and at least {} are \
             needed (start them at the same time, with --start-at)",
            figures(),
            units::percent(LEAST_OVERLAP)
        )));
    }
    let note = (share < NOTED_OVERLAP).then(|| {
        format!(
            "all processes measured together for {}: the rate is the rate of this time",
            figures()
        )
    });
    Ok((start_ns..end_ns, note))
}

/// Returns the end of the window, in nanoseconds since the start of 1970.
fn end_ns(run: &Run) -> u64 {
    run.started_at_ns.saturating_add(run.window_ns)
}

/// Returns how many messages of the run came back within a time. A second that lies partly within this time counts by
/// its share, as if its messages had come back at equal intervals.
fn messages_within(run: &Run, time: &Range<u64>) -> f64 {
    if time.start <= run.started_at_ns && end_ns(run) <= time.end {
        return run.throughput.messages as f64;
    }
    let within = |second: &IntervalSummary| {
        let start_ns = run.started_at_ns.saturating_add(second.start_ns);
        let end_ns = start_ns.saturating_add(second.length_ns).min(time.end);
        let within_ns = end_ns.saturating_sub(start_ns.max(time.start));
        second.ok as f64 * within_ns as f64 / second.length_ns.max(1) as f64
    };
    run.intervals.iter().map(within).sum()
}

/// Calculates the figures of the merged run that are not sums.
fn finish(merged: &mut Run, start_ns: u64, common: &Range<u64>, all: &[&Run]) {
    merged.started_at_ns = start_ns;
    let ends = all.iter().map(|run| end_ns(run));
    merged.window_ns = ends.max().unwrap_or(start_ns) - start_ns;
    merged.common_window_ns = Some(common.end - common.start);
    merged.intervals.sort_by_key(|interval| interval.start_ns);
    merged.errors.sort_by_key(|error| error.kind);
    let seconds = (common.end - common.start).max(1) as f64 / 1e9;
    let messages: f64 = all.iter().map(|run| messages_within(run, common)).sum();
    merged.throughput.messages_per_second = messages / seconds;
    // The seconds have no bytes. The messages within the common window are as large as the others on average.
    let bytes = all.iter().map(|run| {
        let Throughput {
            messages, bytes, ..
        } = run.throughput;
        bytes as f64 * messages_within(run, common) / messages.max(1) as f64
    });
    merged.throughput.bytes_per_second = bytes.sum::<f64>() / seconds;
    let generator = &mut merged.generator;
    let most = |of: fn(&Generator) -> f64| {
        let all = all.iter().map(|run| of(&run.generator));
        all.fold(0.0, f64::max)
    };
    generator.cpu_share = most(|g| g.cpu_share);
    generator.busy_share = most(|g| g.busy_share);
    // The processes ran at the same time, so their averages add up.
    let sum = |of: fn(&Generator) -> f64| all.iter().map(|run| of(&run.generator)).sum::<f64>();
    generator.in_flight = sum(|g| g.in_flight);
    generator.connections_down = sum(|g| g.connections_down);
    generator.in_flight_by_littles_law = sum(|g| g.in_flight_by_littles_law);
    merged.parameters.rate = all.iter().map(|run| run.parameters.rate).sum();
    // A report of more than 101 connections has only a sample of the messages of each connection. So the number of
    // connections is not the length of the list.
    let mut fairness = summary::fairness(std::mem::take(&mut merged.fairness.shares));
    fairness.connections = all.iter().map(|run| run.fairness.connections).sum();
    merged.fairness = fairness;
    let verdicts = all.iter().map(|run| run.validity.verdict);
    merged.validity.verdict = verdicts.max().unwrap_or(merged.validity.verdict);
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
            ours.queued_ns = ours.queued_ns.max(interval.queued_ns);
            ours.absent_ns = ours.absent_ns.max(interval.absent_ns);
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
    add_latency(&mut ours.opening, &theirs.opening);
    add_latency(&mut ours.cycle, &theirs.cycle);
    add_latency(&mut ours.lower_bounds, &theirs.lower_bounds);
}

fn add_sizes(ours: &mut Vec<SizeLatency>, theirs: &[SizeLatency]) {
    for size in theirs {
        match ours.iter_mut().find(|known| known.class == size.class) {
            Some(known) => add_latency(&mut known.response, &size.response),
            None => ours.push(size.clone()),
        }
    }
    ours.sort_by_key(|size| size.class);
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
    ours.threads_not_accounted += theirs.threads_not_accounted;
    let fastest = [ours.fastest_service_ns, theirs.fastest_service_ns];
    ours.fastest_service_ns = fastest.into_iter().flatten().min();
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

/// The options that each process has for itself. Its `start_at` differs because `+5s` counts from its own start.
const OWN: [&str; 5] = ["targets", "source", "payload_key", "seed", "start_at"];

/// The least share of the longest window that must be common to all runs. With less, the server had a smaller load than
/// the sum for much of the time, and the latencies are mostly those of other loads.
const LEAST_OVERLAP: f64 = 0.8;

/// A smaller share than this is noted.
const NOTED_OVERLAP: f64 = 0.95;

#[cfg(test)]
mod tests;

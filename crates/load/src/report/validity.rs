//! Judges whether a measurement is valid: finds the reasons against it, and the notes that a reader needs.
//!
//! Invalid does not mean that the measurement failed. It means that the figures would mislead a reader: the generator
//! was slower than its schedule, fewer connections were made than asked for, or echoes were wrong.
//!
//! Overloaded means that the figures are right, and that the rate was not reached: the server, or the connections of
//! the plan, were the limit.

use super::document::{Limit, Loop, Run, Validity, Verdict};
use super::units;
use crate::FaultKind;

/// Judges a run.
pub(super) fn judge(run: &Run) -> Validity {
    if run.window_ns == 0 && run.interrupted {
        let why = "interrupted in the warm-up: nothing was measured";
        let wrong = wrong_echoes(run).into_iter();
        return of(wrong.chain([why.to_owned()]).collect(), Vec::new());
    }
    let mut reasons = Vec::new();
    reasons.extend(wrong_echoes(run));
    reasons.extend(nothing_measured(run));
    reasons.extend(missing_connections(run));
    reasons.extend(silence(run));
    reasons.extend(count_not_reached(run));
    reasons.extend(the_clients_limits(run));
    reasons.extend(absence(run));
    reasons.extend(no_processor(run));
    let mut overloaded = Vec::new();
    let mut limit = None;
    if run.kind == Loop::Open {
        if let Some(late) = late_sending(run) {
            limit = Some(Limit::Generator);
            reasons.push(late);
        }
        if let Some(missed) = rate_not_reached(run) {
            limit = limit.or(Some(missed.limit));
            match missed.limit {
                Limit::Generator => reasons.push(missed.why),
                Limit::Server | Limit::Connections => overloaded.push(missed.why),
            }
        }
    }
    let losses = lost_connections(run).into_iter().chain(lost_messages(run));
    // A server that is too slow for the rate answers more and more messages too late. These timeouts are part of the
    // result.
    let is_only_slow =
        reasons.is_empty() && !overloaded.is_empty() && timeouts_are_the_only_errors(run);
    match is_only_slow {
        true => overloaded.extend(losses),
        false => reasons.extend(losses),
    }
    if !reasons.is_empty() {
        // Another reason, such as missing connections, explains the missed rate too.
        overloaded.clear();
    }
    let mut notes = notes(run);
    notes.extend(planned_ends(run));
    let queued = queued_share(run);
    if queued > QUEUED_SHARE_OF_A_NOTE && queued <= QUEUED_SHARE {
        notes.push(format!(
            "the generator waited for a processor for {} of the measured time, which is part of the latencies",
            units::percent(queued)
        ));
    }
    if run.generator.threads_not_accounted > 0 {
        notes.push(
            "this system does not report how long a thread waits for a processor: a generator that waited, or was \
             stopped, is not noticed"
                .to_owned(),
        );
    }
    if !run.parameters.verify {
        notes.push("only the lengths of the echoes were checked, not their bytes".to_owned());
    }
    let judged = match overloaded.is_empty() {
        true => of(reasons, notes),
        false => Validity {
            verdict: Verdict::Overloaded,
            ..of(overloaded, notes)
        },
    };
    Validity { limit, ..judged }
}

/// Makes a judgement: invalid if there are reasons.
pub(super) fn of(reasons: Vec<String>, notes: Vec<String>) -> Validity {
    let verdict = match reasons.is_empty() {
        true => Verdict::Valid,
        false => Verdict::Invalid,
    };
    Validity {
        verdict,
        reasons,
        limit: None,
        notes,
    }
}

/// Makes the placeholder for a run that is not judged yet.
pub(super) fn unjudged() -> Validity {
    of(Vec::new(), Vec::new())
}

/// Makes the judgement of a document from those of its runs: the worst of their verdicts. A reason or note that not all
/// runs have in common says to which run, or to how many runs, it belongs.
pub(super) fn of_runs(runs: &[Run]) -> Validity {
    let gather = |pick: fn(&Validity) -> &Vec<String>| {
        let mut all: Vec<(String, Vec<usize>)> = Vec::new();
        for run in runs {
            for said in pick(&run.validity) {
                match all.iter_mut().find(|(known, _)| known == said) {
                    Some((_, of)) => of.push(run.index),
                    None => all.push((said.clone(), vec![run.index])),
                }
            }
        }
        let told = all.into_iter().map(|(said, of)| match of.as_slice() {
            _ if of.len() == runs.len() => said,
            [one] => format!("run {}: {said}", one + 1),
            of => format!("{} of {} runs: {said}", of.len(), runs.len()),
        });
        told.collect()
    };
    let worst = runs.iter().map(|run| run.validity.verdict).max();
    Validity {
        verdict: worst.unwrap_or(Verdict::Valid),
        reasons: gather(|v| &v.reasons),
        limit: match runs {
            [run] => run.validity.limit,
            _ => None,
        },
        notes: gather(|v| &v.notes),
    }
}

/// Returns a sentence for each run with wrong echoes.
pub(super) fn wrong_echoes_of(runs: &[Run]) -> Vec<String> {
    let of = |run: &Run| Some(format!("run {}: {}", run.index + 1, wrong_echoes(run)?));
    runs.iter().filter_map(of).collect()
}

fn wrong_echoes(run: &Run) -> Option<String> {
    let wrong = run.errors.iter().filter(|e| e.kind.is_a_wrong_echo());
    let count: u64 = wrong.clone().map(|error| error.count).sum();
    let kinds: Vec<String> = wrong.map(|e| format!("{} {}", e.count, e.kind)).collect();
    let first = run.errors.iter().find(|e| e.kind.is_a_wrong_echo())?;
    let offset = first.first.offset.unwrap_or(0);
    Some(format!(
        "{} wrong: {} (the first: connection {}, offset {offset}: {})",
        plural(count, "echo was", "echoes were"),
        kinds.join(", "),
        first.first.connection,
        first.first.detail
    ))
}

fn nothing_measured(run: &Run) -> Option<String> {
    if run.counts.ok > 0 && run.throughput.messages > 0 {
        return None;
    }
    let sent = plural(run.counts.sent, "message was", "messages were");
    Some(match (run.counts.sent, run.throughput.messages) {
        (0, 0) if run.generator.in_flight > 0.0 => {
            "no message of the warm-up came back, so no message was sent after the warm-up"
                .to_owned()
        }
        (0, 0) => "nothing was sent".to_owned(),
        (0, _) => {
            "the messages of the warm-up took so long that no message was sent after the warm-up"
                .to_owned()
        }
        (_, 0) if run.counts.ok > 0 => {
            format!("{sent} sent, and none came back before the end of the measured time")
        }
        (_, _) => format!("{sent} sent, and none came back"),
    })
}

fn missing_connections(run: &Run) -> Option<String> {
    let asked = run.parameters.connections as u64;
    let made = run.generator.connections_opened;
    (made < asked).then(|| {
        format!(
            "{} connections were asked for, and only {} were open at the start",
            units::count(asked),
            units::count(made)
        )
    })
}

/// Many connections were down: the server ended, it refuses new connections, or it closes connections faster than the
/// generator replaces them.
fn lost_connections(run: &Run) -> Option<String> {
    let (opened, down) = (
        run.generator.connections_opened,
        run.generator.connections_down,
    );
    (down > DOWN_SHARE * opened as f64).then(|| {
        format!(
            "{down:.1} of {} connections were down on average, after errors",
            units::count(opened)
        )
    })
}

fn lost_messages(run: &Run) -> Option<String> {
    let (failed, scheduled) = (run.counts.failed, run.counts.scheduled);
    let many = failed as f64 > LOST_SHARE * scheduled as f64;
    many.then(|| {
        format!(
            "{} of {} messages were lost because of errors of their connections",
            units::count(failed),
            units::count(scheduled)
        )
    })
}

/// Whether every error was a timeout, or a silence before one.
fn timeouts_are_the_only_errors(run: &Run) -> bool {
    let is_late = |kind| matches!(kind, FaultKind::Timeout | FaultKind::Silent);
    run.errors.iter().all(|error| is_late(error.kind))
}

/// The server sends nothing more on many connections: it hangs, or it has lost messages.
fn silence(run: &Run) -> Option<String> {
    let (silent, opened) = (
        run.generator.connections_silent,
        run.generator.connections_opened,
    );
    (silent as f64 > SILENT_SHARE * opened as f64).then(|| {
        format!(
            "{} of {} silent at the end: no byte came on them after the first {} of the measured time",
            units::count(silent),
            plural(opened, "connection was", "connections were"),
            units::time(run.generator.silent_since_ns as f64)
        )
    })
}

fn count_not_reached(run: &Run) -> Option<String> {
    let asked = run.parameters.count?;
    let ended = run.counts.ok + run.counts.failed;
    (ended < asked && !run.interrupted).then(|| {
        format!(
            "{} messages were asked for, and only {} came back or failed",
            units::count(asked),
            units::count(ended)
        )
    })
}

/// The generator's thread neither ran nor waited for a processor nor slept by its own choice. Echoes waited for it in
/// the meantime, so the server seems slow.
fn absence(run: &Run) -> Option<String> {
    let absent = run.generator.absent_ns;
    let long = absent > ABSENT_NS && absent as f64 > ABSENT_SHARE * run.window_ns as f64;
    long.then(|| {
        format!(
            "the generator itself stood still for {} of the measured time, and for up to {} at once: it was stopped, \
             or its virtual processor was taken away",
            units::time(absent as f64),
            units::time(run.generator.longest_turn_ns as f64)
        )
    })
}

/// The generator's thread could run, and had to wait for a processor.
fn no_processor(run: &Run) -> Option<String> {
    let share = queued_share(run);
    (share > QUEUED_SHARE && run.generator.queued_ns > ABSENT_NS).then(|| {
        format!(
            "the generator waited for a processor for {} of the measured time: other programs, or the server, need \
             it too",
            units::percent(share)
        )
    })
}

/// Returns the share of the window in which the generator's thread waited for a processor.
fn queued_share(run: &Run) -> f64 {
    run.generator.queued_ns as f64 / run.window_ns.max(1) as f64
}

fn the_clients_limits(run: &Run) -> Option<String> {
    let limit = run
        .errors
        .iter()
        .find(|e| e.kind == FaultKind::ClientLimit)?;
    Some(format!(
        "a limit of the client was reached {}: {}",
        plural(limit.count, "time", "times"),
        limit.first.detail
    ))
}

/// A rate that was not reached, and the limit.
struct MissedRate {
    why: String,
    limit: Limit,
}

/// At a rate: fewer messages came back than were due. The comparison uses the messages that were due, and not the rate
/// that was asked for, because with random arrivals the two differ.
fn rate_not_reached(run: &Run) -> Option<MissedRate> {
    let seconds = run.window_ns as f64 / 1e9;
    let (asked, tolerance) = match (run.parameters.count, run.parameters.rate) {
        // With a number of messages (`--count`) the window ends with the last echo. Then all messages were due within
        // it, even if the server was slow. So the rate that was asked for is compared. With random arrivals the time in
        // which the messages become due varies: 3/√count is three standard deviations.
        (Some(count), Some(rate)) => (rate, RATE_TOLERANCE.max(3.0 / (count as f64).sqrt())),
        _ => (run.counts.scheduled as f64 / seconds, RATE_TOLERANCE),
    };
    let achieved = run.throughput.messages_per_second;
    // If there are few messages, one that comes back after the end of the window is more than the tolerance.
    let missing = (asked - achieved) * seconds;
    let few = FEW_MESSAGES.min(FEW_SHARE * run.counts.scheduled as f64);
    if achieved >= asked * (1.0 - tolerance) || missing < few {
        return None;
    }
    let (busy, queued) = (run.generator.busy_share, queued_share(run));
    let (limit, because) = if busy > BUSY {
        let why = format!(
            "the generator was the limit, because it was busy for {} of the time",
            units::percent(busy)
        );
        (Limit::Generator, why)
    } else if queued > QUEUED_SHARE {
        let why = format!(
            "the generator was the limit, because it waited for a processor for {} of the time",
            units::percent(queued)
        );
        (Limit::Generator, why)
    } else if let Some(most) = most_of_the_connections(run).filter(|most| *most < asked) {
        let why = format!(
            "the connections were the limit: {} × {} under way reach at most {} a second, even if each echo is as fast \
             as the fastest one; use more connections (-c) or a deeper pipeline (-P)",
            units::counted(run.parameters.connections as u64, "connection"),
            units::counted(run.parameters.pipeline as u64, "message"),
            units::rate(most)
        );
        (Limit::Connections, why)
    } else {
        let why = "the server was the limit, because messages that were due had to wait for earlier echoes";
        (Limit::Server, why.to_owned())
    };
    let backlog = match run.throughput.backlog {
        0 => String::new(),
        earlier => format!(
            ", and {} that were due before the measured time",
            units::rate(earlier as f64 / seconds)
        ),
    };
    let (asked, achieved) = (units::rate(asked), units::rate(achieved));
    Some(MissedRate {
        why: format!(
            "asked for {asked} messages a second, achieved {achieved}{backlog}: {because}"
        ),
        limit,
    })
}

/// Returns how many messages a second the connections can send at most. Each has at most the pipeline's depth of
/// messages under way, and no message took less than the shortest service time.
fn most_of_the_connections(run: &Run) -> Option<f64> {
    let fastest_ns = run.generator.fastest_service_ns?.max(1);
    let places = run.parameters.connections * run.parameters.pipeline;
    Some(places as f64 * 1e9 / fastest_ns as f64)
}

/// At a rate: half of all messages were sent late.
fn late_sending(run: &Run) -> Option<String> {
    late_at(run, 50.0, LATE_SHARE_OF_ALL).map(|late| {
        format!("messages were sent late ({late}): the generator has too little processor time for this rate")
    })
}

/// Describes how late messages were sent, at a percentile. `None` if this is at most [`LATENESS_NS`], or at most
/// `share` of the response time at the same percentile.
fn late_at(run: &Run, percent: f64, share: f64) -> Option<String> {
    let lateness = run.generator.lateness.percentile(percent)?;
    let response = run.latency.response.percentile(percent)?;
    let too_late = lateness > LATENESS_NS && lateness as f64 > share * response as f64;
    too_late.then(|| {
        format!(
            "lateness p{percent} {}, response time p{percent} {}",
            units::time(lateness as f64),
            units::time(response as f64)
        )
    })
}

fn notes(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if run.interrupted {
        notes.push("interrupted: the figures are for the time before the interruption".to_owned());
    }
    if run.kind == Loop::Closed {
        notes.extend(what_a_closed_loop_cannot_see(run));
        if run.generator.busy_share > BUSY {
            notes.push(format!(
                "the generator was busy for more than {} of the time: the server may be able to do more",
                units::percent(BUSY)
            ));
        }
    }
    if run.kind == Loop::Open
        && let Some(late) = late_at(run, 99.0, LATE_SHARE_OF_THE_TAIL)
    {
        notes.push(format!(
            "some messages were sent late ({late}): the highest percentiles include delays of the generator or its \
             machine"
        ));
    }
    let lost = run.counts.unfinished + run.counts.failed;
    if lost > 0 {
        notes.push(format!(
            "{} not come back, and the oldest was {} old; each counts with its age, so the highest percentiles are \
             lower bounds",
            plural(lost, "message did", "messages did"),
            units::time(run.latency.lower_bounds.max as f64)
        ));
    }
    let (counted, by_law) = (
        run.generator.in_flight,
        run.generator.in_flight_by_littles_law,
    );
    let apart = (counted - by_law).abs() > LITTLE_TOLERANCE * counted.max(by_law);
    if apart && run.counts.failed == 0 && run.counts.unfinished == 0 && run.counts.ok > 1000 {
        notes.push(format!(
            "{counted:.1} messages were under way on average, but Little's law gives {by_law:.1} (throughput × \
             service time): load or latency changed much during the run"
        ));
    }
    notes
}

/// Notes on what was not checked after the last echo of a connection.
fn planned_ends(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if !run.parameters.half_close {
        notes.push(
            "the client did not end its own stream first (--no-half-close): bytes after the last echo of a connection \
             were not checked"
                .to_owned(),
        );
    }
    let generator = &run.generator;
    if generator.ends_without_end_of_stream > 0 {
        notes.push(format!(
            "at the end of {} the server did not end its stream in time after the client's end of stream, or it \
             reset the connection",
            plural(generator.ends_without_end_of_stream, "connection", "connections")
        ));
    }
    if generator.ends_not_checked > 0 {
        notes.push(format!(
            "{} closed without a check of the bytes after the last echo: too many connections were ending",
            plural(generator.ends_not_checked, "connection was", "connections were")
        ));
    }
    notes
}

/// Notes on coordinated omission. While no echo comes back, a closed loop sends nothing. If the server stops for a
/// second, the figures have one slow message for each connection, instead of all messages that would have been sent in
/// this second.
fn what_a_closed_loop_cannot_see(run: &Run) -> Vec<String> {
    let mut notes = vec![
        "a closed loop cannot measure messages that it did not send while it waited (coordinated omission): see -r"
            .to_owned(),
    ];
    let silence_ns = run.generator.longest_silence_ns;
    if silence_ns >= LONG_SILENCE_NS {
        let missed = run.throughput.messages_per_second * silence_ns as f64 / 1e9;
        notes.push(format!(
            "nothing came back for {}, beginning {} after the start of the measured time. About {} messages would \
             have been sent in that time, but the latencies have only the messages that were under way",
            units::time(silence_ns as f64),
            units::time(run.generator.longest_silence_at_ns as f64),
            units::count(missed as u64)
        ));
    }
    notes
}

/// Writes a number and its noun with a verb: `1 echo was`, `2 echoes were`.
fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", units::count(n), if n == 1 { one } else { many })
}

/// How far the achieved rate may be below the rate that was asked for, as a share.
const RATE_TOLERANCE: f64 = 0.005;

/// If fewer than [`FEW_MESSAGES`] are missing at the end of the window, and less than [`FEW_SHARE`] of the scheduled
/// messages, the rate counts as reached.
const FEW_MESSAGES: f64 = 10.0;
const FEW_SHARE: f64 = 0.05;

/// If a larger share of the connections is silent at the end, the server hangs or has lost messages.
const SILENT_SHARE: f64 = 0.05;

/// If a larger share of the connections is down, the load is not the load that was asked for.
const DOWN_SHARE: f64 = 0.1;

/// If a larger share of the messages is lost, the remaining messages do not represent all messages.
const LOST_SHARE: f64 = 0.01;

/// An absence of the generator makes a run invalid if it is longer than [`ABSENT_NS`] and longer than [`ABSENT_SHARE`]
/// of the window. An absence of more than that share shows in the p99 of all times.
const ABSENT_NS: u64 = 100_000_000;
const ABSENT_SHARE: f64 = 0.01;

/// If the generator waits for a processor for a larger share of the time, the figures are those of the scheduler.
const QUEUED_SHARE: f64 = 1.0 / 3.0;

/// A smaller share is a note: the wait is part of the latencies.
const QUEUED_SHARE_OF_A_NOTE: f64 = 0.05;

/// How late messages may be sent: less than a scheduler's time slice, or less than a share of their response times. The
/// lateness is part of the response time, so a late generator makes a server look slower, and never faster. So a note
/// is enough if some messages are late. The run is invalid if half of the messages are late.
const LATENESS_NS: u64 = 1_000_000;
const LATE_SHARE_OF_THE_TAIL: f64 = 0.1;
const LATE_SHARE_OF_ALL: f64 = 0.5;

/// A generator that is busy for a larger share of the time is, or may be, the limit.
const BUSY: f64 = 0.9;

/// How far the two numbers of messages under way may differ, as a share. Little's law is exact over an infinite time.
/// In a window, the messages that cross its start or its end cause a difference.
const LITTLE_TOLERANCE: f64 = 0.1;

/// A time without an echo that is worth a note.
const LONG_SILENCE_NS: u64 = 100_000_000;

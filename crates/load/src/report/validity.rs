//! Whether a measurement may be believed: each reason why not, and each thing to know when reading it.
//!
//! An invalid measurement is not a failed one. It says that the figures are not what they would be taken for: the
//! generator was slower than its schedule, fewer connections were made than asked for, echoes were wrong.

use super::document::{Loop, Run, Validity, Verdict};
use super::units;
use crate::FaultKind;

/// Judges a run.
pub(super) fn judge(run: &Run) -> Validity {
    if run.window_ns == 0 && run.interrupted {
        let why = "interrupted in the warm-up: nothing was measured";
        return of(vec![why.to_owned()], Vec::new());
    }
    let mut reasons = Vec::new();
    reasons.extend(wrong_echoes(run));
    reasons.extend(nothing_measured(run));
    reasons.extend(missing_connections(run));
    reasons.extend(lost_connections(run));
    reasons.extend(lost_messages(run));
    reasons.extend(count_not_reached(run));
    reasons.extend(the_clients_limits(run));
    reasons.extend(standstill(run));
    if run.kind == Loop::Open {
        reasons.extend(rate_not_reached(run));
        reasons.extend(late_sending(run));
    }
    let mut notes = notes(run);
    if !run.parameters.verify {
        notes.push("only the lengths of the echoes were checked, not their bytes".to_owned());
    }
    of(reasons, notes)
}

/// With these reasons against it.
pub(super) fn of(reasons: Vec<String>, notes: Vec<String>) -> Validity {
    let verdict = match reasons.is_empty() {
        true => Verdict::Valid,
        false => Verdict::Invalid,
    };
    Validity {
        verdict,
        reasons,
        notes,
    }
}

/// Until it is judged.
pub(super) fn unjudged() -> Validity {
    of(Vec::new(), Vec::new())
}

/// A document's: that of its runs, each named where there are several.
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
    of(gather(|v| &v.reasons), gather(|v| &v.notes))
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
    let sent = units::count(run.counts.sent);
    Some(match (run.counts.sent, run.throughput.messages) {
        (0, 0) if run.generator.in_flight > 0.0 => {
            "nothing came back of the messages of the warm-up, so that none was sent after it"
                .to_owned()
        }
        (0, 0) => "nothing was sent".to_owned(),
        (0, _) => "the messages of the warm-up took so long that none of those after it was sent"
            .to_owned(),
        (_, 0) if run.counts.ok > 0 => {
            format!(
                "nothing came back of {sent} messages before the end of the time that is measured"
            )
        }
        (_, _) => format!("nothing came back of {sent} messages"),
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

/// The server ended, or refuses who comes back, or drops connections faster than they are made anew.
fn lost_connections(run: &Run) -> Option<String> {
    let (opened, down) = (
        run.generator.connections_opened,
        run.generator.connections_down,
    );
    (down > DOWN_SHARE * opened as f64).then(|| {
        format!(
            "of {} connections {down:.1} were down on average, after errors",
            units::count(opened)
        )
    })
}

fn lost_messages(run: &Run) -> Option<String> {
    let (failed, scheduled) = (run.counts.failed, run.counts.scheduled);
    let many = failed as f64 > LOST_SHARE * scheduled as f64;
    many.then(|| {
        format!(
            "{} of {} messages were lost by errors of their connections",
            units::count(failed),
            units::count(scheduled)
        )
    })
}

fn count_not_reached(run: &Run) -> Option<String> {
    let asked = run.parameters.count?;
    let ended = run.counts.ok + run.counts.failed;
    (ended < asked && !run.interrupted).then(|| {
        format!(
            "{} messages were asked for, and only {} came to an end",
            units::count(asked),
            units::count(ended)
        )
    })
}

/// Somebody else had the processor, or a signal stopped it. The server's answers waited meanwhile, and seem slow.
fn standstill(run: &Run) -> Option<String> {
    let stalled = run.generator.stalled_ns;
    let long = stalled > STALLED_NS && stalled as f64 > STALLED_SHARE * run.window_ns as f64;
    long.then(|| {
        format!(
            "the generator itself stood still for {} in all, at most {} at once: its processor was given to others",
            units::time(stalled as f64),
            units::time(run.generator.longest_turn_ns as f64)
        )
    })
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

/// What was asked for, or what fell due: by lot that is more or less.
fn rate_not_reached(run: &Run) -> Option<String> {
    let seconds = run.window_ns as f64 / 1e9;
    let (asked, tolerance) = match (run.parameters.count, run.parameters.rate) {
        // The window of a count ends with the last echo: what fell due within it says nothing.
        (Some(count), Some(rate)) => (rate, RATE_TOLERANCE.max(3.0 / (count as f64).sqrt())),
        _ => (run.counts.scheduled as f64 / seconds, RATE_TOLERANCE),
    };
    let achieved = run.throughput.messages_per_second;
    // Of a few messages one that falls on the other side of the end is more than that.
    let missing = (asked - achieved) * seconds;
    if achieved >= asked * (1.0 - tolerance) || missing < FEW_MESSAGES {
        return None;
    }
    let busy = run.generator.busy_share;
    Some(format!(
        "asked for {} messages a second, achieved {}: {}",
        units::rate(asked),
        units::rate(achieved),
        match busy > BUSY {
            true => format!(
                "the generator was the limit, busy {} of the time",
                units::percent(busy)
            ),
            false =>
                "the server was the limit, as messages that were due waited for echoes".to_owned(),
        }
    ))
}

/// More than now and then: in the middle of all messages.
fn late_sending(run: &Run) -> Option<String> {
    late_at(run, 50.0, LATE_SHARE_OF_ALL).map(|late| {
        format!("messages left late: {late}; the generator has too little processor for this rate")
    })
}

/// How late messages left at a percentile, if that is much, and at least such a share of their response times.
fn late_at(run: &Run, percent: f64, share: f64) -> Option<String> {
    let lateness = run.generator.lateness.percentile(percent)?;
    let response = run.latency.response.percentile(percent)?;
    let too_late = lateness > LATENESS_NS && lateness as f64 > share * response as f64;
    too_late.then(|| {
        format!(
            "p{percent} {}, of a response p{percent} of {}",
            units::time(lateness as f64),
            units::time(response as f64)
        )
    })
}

fn notes(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if run.interrupted {
        notes.push("interrupted: this is what was measured until then".to_owned());
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
            "some messages left late ({late}): the tail is in part the generator's, or its machine's"
        ));
    }
    if run.counts.unfinished > 0 {
        notes.push(format!(
            "{} not come back at the end, the oldest after {}; each counts with its age, so the highest percentiles \
             are lower bounds",
            plural(run.counts.unfinished, "message had", "messages had"),
            units::time(run.latency.unfinished.max as f64)
        ));
    }
    let (counted, by_law) = (
        run.generator.in_flight,
        run.generator.in_flight_by_littles_law,
    );
    let apart = (counted - by_law).abs() > LITTLE_TOLERANCE * counted.max(by_law);
    if apart && run.counts.failed == 0 && run.counts.unfinished == 0 && run.counts.ok > 1000 {
        notes.push(format!(
            "{counted:.1} messages were under way on average, and Little's law has {by_law:.1}: load or latency changed \
             much within the run"
        ));
    }
    notes
}

/// Coordinated omission: while nothing comes back, a closed loop asks nothing, and a second's standstill is one slow
/// message a connection instead of all that would have been asked meanwhile.
fn what_a_closed_loop_cannot_see(run: &Run) -> Vec<String> {
    let mut notes = vec![
        "a closed loop asks only after an answer, so its latencies leave out what it did not ask while it waited \
         (coordinated omission); measure at a rate (-r) to see that"
            .to_owned(),
    ];
    let silence_ns = run.generator.longest_silence_ns;
    if silence_ns >= LONG_SILENCE_NS {
        let missed = run.throughput.messages_per_second * silence_ns as f64 / 1e9;
        notes.push(format!(
            "nothing came back for {} from {} on: at this rate about {} messages would have met that, and only those \
             under way did",
            units::time(silence_ns as f64),
            units::time(run.generator.longest_silence_at_ns as f64),
            units::count(missed as u64)
        ));
    }
    notes
}

/// `1 echo was`, `2 echoes were`.
fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", units::count(n), if n == 1 { one } else { many })
}

/// How far the achieved rate may stay behind the asked one.
const RATE_TOLERANCE: f64 = 0.005;

/// So many messages may be missing at the end of any window.
const FEW_MESSAGES: f64 = 10.0;

/// Above this share of connections that are down the load is not what was asked for.
const DOWN_SHARE: f64 = 0.1;

/// Above this share of lost messages those that are left are no sample of all.
const LOST_SHARE: f64 = 0.01;

/// Above this share of the window a standstill of the generator is in the p99 of everything.
const STALLED_NS: u64 = 100_000_000;
const STALLED_SHARE: f64 = 0.01;

/// How late messages may leave: less than a scheduler's time slice, or than a share of the response times that they are
/// part of. Whatever it is, it is in the response times: a late generator can slander a server, and never flatter it. So
/// now and then is worth a note, and half of the messages are worth the verdict.
const LATENESS_NS: u64 = 1_000_000;
const LATE_SHARE_OF_THE_TAIL: f64 = 0.1;
const LATE_SHARE_OF_ALL: f64 = 0.5;

/// Busy for more than this share of its time a generator is the limit, or may be.
const BUSY: f64 = 0.9;

/// Little's law holds exactly over a long time; over a window, but for its ends.
const LITTLE_TOLERANCE: f64 = 0.1;

const LONG_SILENCE_NS: u64 = 100_000_000;

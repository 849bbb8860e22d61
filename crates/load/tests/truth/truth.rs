//! What a recording must say, calculated from the ledger.

use std::fmt::Debug;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio_echo_load::{Counts, FaultKind, Until, histogram};
use sim::timed::{ConnectionLedger, InjectedError, Ledger, MessageTimes, Wrong};

use super::case::{Case, Outcome};
use super::due::due_ns;

/// The figures that follow from the ledger.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) counts: Counts,
    pub(crate) completed: u64,
    pub(crate) backlog: u64,
    pub(crate) response: Histogram<u64>,
    pub(crate) service: Histogram<u64>,
    pub(crate) first_byte: Histogram<u64>,
    pub(crate) lower_bounds: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    pub(crate) opening: Histogram<u64>,
    pub(crate) cycle: Histogram<u64>,
    /// The response times of the messages that came back, in the order of their due times.
    pub(crate) responses_ns: Vec<(u64, u64)>,
}

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It came back, at this time.
    Back(u64),
    /// It was lost with its connection, at this time.
    Failed(u64),
    /// It had not come back at the end.
    Unfinished,
}

/// Runs a case and returns the first violation.
pub(crate) fn violation(case: &Case) -> Option<String> {
    match case.run() {
        Ok(outcome) => violation_of(case, &outcome),
        Err(error) => Some(format!("the run failed: {error}")),
    }
}

/// Returns the first difference between a recording and the truth.
pub(crate) fn violation_of(case: &Case, outcome: &Outcome) -> Option<String> {
    let Outcome { recording, ledger } = outcome;
    let truth = Truth::of(case, ledger);
    let ours = Counts {
        errors: 0,
        ..recording.counts
    };
    differ("counts", ours, truth.counts)
        .or_else(|| {
            let Counts {
                ok,
                unfinished,
                failed,
                scheduled,
                ..
            } = ours;
            differ(
                "ok + unfinished + failed",
                ok + unfinished + failed,
                scheduled,
            )
        })
        .or_else(|| differ("completed messages", recording.completed, truth.completed))
        .or_else(|| {
            let bytes = truth.completed * case.settings.message;
            differ("completed bytes", recording.completed_bytes, bytes)
        })
        .or_else(|| buckets_differ("response", &recording.response, &truth.response))
        .or_else(|| buckets_differ("service", &recording.service, &truth.service))
        .or_else(|| buckets_differ("first byte", &recording.first_byte, &truth.first_byte))
        .or_else(|| buckets_differ("lower bounds", &recording.lower_bounds, &truth.lower_bounds))
        .or_else(|| buckets_differ("connect", &recording.connect, &truth.connect))
        .or_else(|| buckets_differ("opening", &recording.opening, &truth.opening))
        .or_else(|| buckets_differ("cycle", &recording.cycle, &truth.cycle))
        .or_else(|| differ("backlog", recording.backlog, truth.backlog))
        .or_else(|| {
            let shares: u64 = recording.shares.iter().sum();
            differ("messages of all connections", shares, ours.ok)
        })
        .or_else(|| neglected(case, ledger))
        .or_else(|| wrong_lateness(case, outcome))
        .or_else(|| wrong_faults(case, outcome))
}

impl Truth {
    /// Calculates the truth of a run.
    pub(crate) fn of(case: &Case, ledger: &Ledger) -> Truth {
        let mut truth = Truth {
            counts: Counts::default(),
            completed: 0,
            backlog: 0,
            response: histogram(),
            service: histogram(),
            first_byte: histogram(),
            lower_bounds: histogram(),
            connect: histogram(),
            opening: histogram(),
            cycle: histogram(),
            responses_ns: Vec::new(),
        };
        let start_ns = schedule_start_ns(ledger);
        let window_ns = window_ns(case, start_ns);
        for connection in &ledger.connections {
            let connect_ns = connection.connect_ns;
            let Some(made_ns) = connection.made_ns else {
                continue;
            };
            if window_ns.contains(&connect_ns) {
                record(&mut truth.connect, made_ns - connect_ns);
                if let Some(last_ns) = last_of_all(case, connection) {
                    record(&mut truth.cycle, last_ns - connect_ns);
                }
            } else if connect_ns < start_ns {
                record(&mut truth.opening, made_ns - connect_ns);
            }
        }
        for slot in 0..case.plan.connections {
            truth.add_slot(case, ledger, slot, start_ns);
        }
        truth.responses_ns.sort_unstable();
        truth
    }

    /// Adds the messages of a slot. Its schedule goes on when a new connection replaces a failed one.
    fn add_slot(&mut self, case: &Case, ledger: &Ledger, slot: usize, start_ns: u64) {
        let plan = &case.plan;
        let window_ns = window_ns(case, start_ns);
        let end_ns = counted_ns(ledger, window_ns.end);
        let mut schedule = plan.rate.map(|rate| {
            let due_ns = due_ns(plan, rate, slot);
            due_ns.map(move |due_ns| start_ns + due_ns)
        });
        let connections = ledger.connections.iter();
        for connection in connections.filter(|connection| slot_of(connection) == Some(slot)) {
            for message in &connection.messages {
                let due_ns = match &mut schedule {
                    None => message.offered_ns,
                    Some(schedule) => schedule.next().unwrap(),
                };
                let fate = fate(connection, message);
                // The driver counts the unfinished messages right before it ends its streams.
                let end_ns = connection.shut_down_ns.unwrap_or(end_ns);
                if let Fate::Back(back_ns) = fate {
                    let is_earlier = schedule.is_some() && due_ns < window_ns.start;
                    let within = u64::from(window_ns.contains(&back_ns));
                    match is_earlier {
                        true => self.backlog += within,
                        false => self.completed += within,
                    }
                }
                if window_ns.contains(&due_ns) {
                    self.counts.sent += 1;
                    self.add(message, due_ns, fate, end_ns);
                }
            }
        }
        // Messages that were due and were not sent.
        if let (Some(schedule), Until::Elapsed(_)) = (schedule, plan.until) {
            for due_ns in schedule.take_while(|due_ns| *due_ns < window_ns.end) {
                if window_ns.contains(&due_ns) {
                    self.counts.scheduled += 1;
                    self.counts.unfinished += 1;
                    record(&mut self.lower_bounds, end_ns.saturating_sub(due_ns));
                    record(&mut self.response, end_ns.saturating_sub(due_ns));
                }
            }
        }
    }

    /// Adds the times of a message that did not come back: its age at this time.
    fn add_lower_bounds(&mut self, message: &MessageTimes, due_ns: u64, end_ns: u64) {
        let service_ns = end_ns - message.offered_ns;
        record(&mut self.lower_bounds, end_ns - due_ns);
        record(&mut self.response, end_ns - due_ns);
        record(&mut self.service, service_ns);
        let first_ns = message.first_byte_ns.filter(|first_ns| *first_ns <= end_ns);
        let first_byte_ns = first_ns.map_or(service_ns, |first_ns| first_ns - message.offered_ns);
        record(&mut self.first_byte, first_byte_ns);
    }

    /// Adds a message that was sent.
    fn add(&mut self, message: &MessageTimes, due_ns: u64, fate: Fate, end_ns: u64) {
        self.counts.scheduled += 1;
        match fate {
            Fate::Back(back_ns) => {
                self.counts.ok += 1;
                self.responses_ns.push((due_ns, back_ns - due_ns));
                record(&mut self.response, back_ns - due_ns);
                record(&mut self.service, back_ns - message.offered_ns);
                let first_ns = message.first_byte_ns.unwrap_or(back_ns);
                record(&mut self.first_byte, first_ns - message.offered_ns);
            }
            Fate::Failed(closed_ns) => {
                self.counts.failed += 1;
                self.add_lower_bounds(message, due_ns, closed_ns);
            }
            Fate::Unfinished => {
                self.counts.unfinished += 1;
                self.add_lower_bounds(message, due_ns, end_ns);
            }
        }
    }
}

/// Returns when the last echo of a connection came back, if the connection has sent all its messages and each came back
/// before its planned end.
fn last_of_all(case: &Case, connection: &ConnectionLedger) -> Option<u64> {
    let all = case.plan.reconnect?;
    if connection.messages.len() as u64 != all {
        return None;
    }
    let back_ns = |message: &MessageTimes| match fate(connection, message) {
        Fate::Back(back_ns) => Some(back_ns),
        Fate::Failed(_) | Fate::Unfinished => None,
    };
    let back: Option<Vec<u64>> = connection.messages.iter().map(back_ns).collect();
    back?.into_iter().max()
}

/// Returns the slot of a connection. The other bits of its key count the connections of the slot.
fn slot_of(connection: &ConnectionLedger) -> Option<usize> {
    connection.key.map(|key| key & ((1 << 24) - 1))
}

/// Returns when the driver counted the messages that had not come back: right before it ended its streams, or else at
/// the end of the run. Connections that end during the window have sent all their messages.
fn counted_ns(ledger: &Ledger, window_end_ns: u64) -> u64 {
    let connections = ledger.connections.iter();
    let ended_ns = connections.filter_map(|connection| connection.shut_down_ns);
    let last_ns = ended_ns.filter(|ended_ns| *ended_ns >= window_end_ns).max();
    last_ns.unwrap_or(ledger.last_reading_ns)
}

/// Returns the start of the schedule: the driver wakes all drivers up when the last one has made its connections, and
/// the schedule starts a fixed time later.
pub(crate) fn schedule_start_ns(ledger: &Ledger) -> u64 {
    const HEAD_START_NS: u64 = 2_000_000;
    ledger.wakes_ns[0] + HEAD_START_NS
}

/// Returns the window. A run of a count of messages measures all of them.
pub(crate) fn window_ns(case: &Case, start_ns: u64) -> std::ops::Range<u64> {
    let ns = |time: Duration| time.as_nanos() as u64;
    let from_ns = start_ns + ns(case.plan.warmup);
    match case.plan.until {
        Until::Elapsed(duration) => from_ns..from_ns + ns(duration),
        Until::Count(_) => from_ns..u64::MAX,
    }
}

/// A connection that the driver closes without ending its stream has failed, or has no message under way.
fn fate(connection: &ConnectionLedger, message: &MessageTimes) -> Fate {
    match (
        message.back_ns,
        connection.shut_down_ns,
        connection.closed_reading_ns,
    ) {
        // After the planned end of a connection its echoes are only verified.
        (Some(back_ns), Some(ended_ns), _) if back_ns > ended_ns => Fate::Unfinished,
        (Some(back_ns), ..) => Fate::Back(back_ns),
        (None, None, Some(closed_ns)) => Fate::Failed(closed_ns),
        (None, ..) => Fate::Unfinished,
    }
}

/// A driver must not leave bytes or an end of stream in a receive queue, or room in a send buffer that was full. The
/// ledger cannot know that the missing calls would have made a difference.
fn neglected(case: &Case, ledger: &Ledger) -> Option<String> {
    const A_TURN_NS: u64 = 10_000_000;
    let stalls_ns: u64 = case
        .settings
        .stalls
        .iter()
        .map(|stall| stall.length_ns)
        .sum();
    for (number, connection) in ledger.connections.iter().enumerate() {
        let end_ns = connection.closed_ns.unwrap_or(ledger.last_reading_ns);
        let for_ns = |since_ns: Option<u64>| end_ns.saturating_sub(since_ns.unwrap_or(end_ns));
        let is_over = connection.ended_ns.is_some();
        // After the end of its stream a connection writes nothing more.
        let writes = !is_over && connection.shut_down_ns.is_none();
        let unread_ns = for_ns(connection.unread_ns.filter(|_| !is_over));
        for (what, unused_ns) in [
            (
                "the receive queue",
                unread_ns.max(connection.longest_unread_ns),
            ),
            (
                "room in the send buffer",
                for_ns(connection.unused_room_ns.filter(|_| writes)),
            ),
        ] {
            if unused_ns > A_TURN_NS + stalls_ns {
                return Some(format!(
                    "connection {number}: {what} was not used for {unused_ns} ns"
                ));
            }
        }
    }
    None
}

/// A message of an open loop has a lateness, and a message of a closed loop has none.
fn wrong_lateness(case: &Case, outcome: &Outcome) -> Option<String> {
    let recording = &outcome.recording;
    let expected = match case.plan.rate {
        None => 0,
        Some(_) => recording.counts.sent,
    };
    differ("lateness: messages", recording.lateness.len(), expected)
}

/// Each error of the server has its kind, its connection and its offset in the recording. A recording names only the
/// first error of each kind.
fn wrong_faults(case: &Case, outcome: &Outcome) -> Option<String> {
    let Outcome { recording, ledger } = outcome;
    let mut possible: Vec<FaultKind> = Vec::new();
    for error in &ledger.injected {
        let number = error.injection.connection;
        let connection = &ledger.connections[number];
        let Some(kinds) = expected_kinds(case, error, connection) else {
            // Bytes that the server left out may be missing at the end, even if no wrong byte came.
            if matches!(error.injection.wrong, Wrong::Omit(_) | Wrong::Silence) {
                possible.push(FaultKind::Short);
            }
            continue;
        };
        let is_named = recording.faults.iter().any(|(kind, faults)| {
            let first = &faults.first;
            let is_it = first.connection == number as u32 && first.offset == Some(connection.right);
            kinds.contains(kind) && (is_it || faults.count > 1)
        });
        if is_named {
            possible.extend(kinds);
        } else {
            return Some(format!(
                "{error:?} is not named as one of {kinds:?} at offset {} of connection {number}, but: {:?}",
                connection.right, recording.faults
            ));
        }
    }
    let invented = recording.faults.iter().find(|(kind, faults)| {
        let made = possible.iter().filter(|possible| possible == kind).count();
        kind.is_a_wrong_echo() && faults.count > made as u64
    });
    invented.map(|(kind, faults)| format!("no server made this error: {kind}: {faults:?}"))
}

/// Returns the kinds that name an error right. `None`: the client could not see the error.
fn expected_kinds(
    case: &Case,
    error: &InjectedError,
    connection: &ConnectionLedger,
) -> Option<Vec<FaultKind>> {
    use FaultKind::*;
    let wrong = error.injection.wrong;
    let came = (connection.read - connection.right) as usize;
    let exact = |kind, needed: usize| match came >= needed {
        true => vec![kind],
        // So few bytes do not show where they come from.
        false => vec![kind, Corrupt, Surplus],
    };
    if let Wrong::Silence = wrong {
        let closed_ns = connection
            .closed_ns
            .filter(|_| connection.shut_down_ns.is_none())?;
        // The server sends nothing, and it ends its stream if the client does.
        return (closed_ns > error.at_ns).then(|| vec![Timeout, Silent, Short]);
    }
    if let Wrong::End | Wrong::Reset = wrong {
        connection.ended_ns?;
        let within = !connection.right.is_multiple_of(case.settings.message);
        return Some(match wrong {
            // The client had sent more, and the answer was a reset.
            Wrong::End if case.plan.pipeline > 1 => vec![Short, Closed, Reset],
            Wrong::End if within => vec![Short],
            Wrong::End => vec![Closed],
            _ => vec![Reset],
        });
    }
    connection.wrong_ns?;
    Some(match wrong {
        Wrong::Corrupt => vec![Corrupt],
        Wrong::Insert(_) | Wrong::Repeat(_) => exact(Surplus, error.bytes + 16),
        // The diagnosis looks at up to 32 bytes. If other bytes follow earlier, they seem corrupt.
        Wrong::Foreign if error.bytes < 32 => vec![Foreign, Corrupt, Surplus],
        Wrong::Foreign => exact(Foreign, 32),
        _ => exact(Short, 16),
    })
}

fn differ<T: PartialEq + Debug>(what: &str, measured: T, truth: T) -> Option<String> {
    (measured != truth).then(|| format!("{what}: measured {measured:?}, the truth is {truth:?}"))
}

/// Compares two histograms, bucket by bucket.
fn buckets_differ(what: &str, measured: &Histogram<u64>, truth: &Histogram<u64>) -> Option<String> {
    if measured == truth {
        return None;
    }
    let buckets = |histogram: &Histogram<u64>| -> Vec<(u64, u64)> {
        let recorded = histogram.iter_recorded();
        recorded
            .map(|at| (at.value_iterated_to(), at.count_at_value()))
            .collect()
    };
    let (measured, truth) = (buckets(measured), buckets(truth));
    let first = measured.iter().zip(&truth).find(|(a, b)| a != b);
    Some(format!(
        "{what} times: the first bucket that differs (end in ns, count): measured and true {first:?}; {} and {} \
         buckets",
        measured.len(),
        truth.len()
    ))
}

fn record(histogram: &mut Histogram<u64>, value_ns: u64) {
    histogram.record(value_ns).unwrap();
}

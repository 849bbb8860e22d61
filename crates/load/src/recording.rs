//! What was measured: counts, histograms, seconds, errors; and how those of several threads add up.
//!
//! All histograms are HDR with three digits: any value is off by at most a thousandth, none is cut off, and adding up
//! loses nothing. Knows no socket and no clock.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::diagnosis::FaultKind;

/// What was measured, by one thread or by all of them together.
#[derive(Clone, Debug)]
pub struct Recording {
    /// How long the window was, warm-up excluded, in nanoseconds.
    pub window_ns: u64,
    /// What became of the messages that were due within it.
    pub counts: Counts,
    /// Messages that came back within the window, whenever they were due.
    pub completed: u64,
    /// Their bytes, each way.
    pub completed_bytes: u64,
    /// From when the schedule wanted a message sent to the last byte of its echo, in nanoseconds; to the end of the run
    /// for those that had not come back by then. In a closed loop the same as `service`.
    pub response: Histogram<u64>,
    /// From when its first byte was offered to the kernel to the last byte of its echo.
    pub service: Histogram<u64>,
    /// From when its first byte was offered to the kernel to the first byte of its echo.
    pub first_byte: Histogram<u64>,
    /// The service times of those whose first byte came in an earlier read than the last, or has not come. All others
    /// have both at once, which spares them a place in `first_byte` until all is put together.
    pub(crate) in_parts: Histogram<u64>,
    /// From connect(2) to the established connection.
    pub connect: Histogram<u64>,
    /// From when a message was due, and its connection free for it, to when it was sent: the generator's own lag.
    pub lateness: Histogram<u64>,
    /// How old those messages were at the end that had not come back; they are in `response` too.
    pub unfinished: Histogram<u64>,
    /// One each second.
    pub intervals: Vec<Interval>,
    /// Errors, by kind.
    pub faults: BTreeMap<FaultKind, Faults>,
    /// How many messages came back on each connection, in no order.
    pub shares: Vec<u64>,
    /// How the generator itself did.
    pub health: Health,
}

/// What became of messages. `scheduled` = `ok` + `unfinished` + `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Counts {
    /// Were due.
    pub scheduled: u64,
    /// Of these: left, or began to.
    pub sent: u64,
    /// Came back whole and right.
    pub ok: u64,
    /// Had not come back at the end, or had not even left.
    pub unfinished: u64,
    /// Were lost by an error of their connection.
    pub failed: u64,
    /// Errors, of connections as well as of messages; one may cost many messages, or none.
    pub errors: u64,
}

/// The errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How many.
    pub count: u64,
    /// How many messages they cost.
    pub messages: u64,
    /// The first of them.
    pub first: FirstFault,
}

/// The first error of a kind: where and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFault {
    /// The number of the connection.
    pub connection: u32,
    /// Where in its stream, in bytes.
    pub offset: Option<u64>,
    /// When, in nanoseconds from the start of the schedule; 0 if before.
    pub at_ns: u64,
    /// What was seen.
    pub detail: String,
}

/// What happened within one second.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Its number.
    pub index: usize,
    /// When it began, in nanoseconds from the start of the window.
    pub start_ns: u64,
    /// How long it was, in nanoseconds; the last one may be shorter than the others.
    pub length_ns: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that came back.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Connections that are open.
    pub connections: usize,
    /// The response times of the messages that came back.
    pub response: Histogram<u64>,
}

/// How the generator itself did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The longest turn of its loop, in nanoseconds, from when it was to wake up.
    pub longest_turn_ns: u64,
    /// Processor time within the window, in nanoseconds, all threads together.
    pub cpu_ns: u64,
    /// Time within the window in which there was nothing to do, in nanoseconds, all threads together.
    pub idle_ns: u64,
    /// Time within the window, in nanoseconds, in which a loop stood still for more than 10 ms at once: it was not given
    /// a processor, or was stopped. The longest sum of any thread.
    pub stalled_ns: u64,
    /// Connections that had failed and were not made anew yet, integrated over the window: connections × nanoseconds.
    pub down_ns: u128,
    /// Threads that this recording is of.
    pub threads: u64,
    /// Messages under way, integrated over the window: messages × nanoseconds.
    pub in_flight_ns: u128,
    /// The longest time within the window, in nanoseconds, in which nothing came back although something was owed.
    pub longest_silence_ns: u64,
    /// When that began, in nanoseconds from the start of the window.
    pub longest_silence_at_ns: u64,
    /// Connections that were open when the schedule started.
    pub opened: u64,
    /// Connections that were made in all.
    pub connections: u64,
}

impl Recording {
    /// Nothing measured yet.
    pub(crate) fn empty() -> Recording {
        Recording {
            window_ns: 0,
            counts: Counts::default(),
            completed: 0,
            completed_bytes: 0,
            response: histogram(),
            service: histogram(),
            first_byte: histogram(),
            in_parts: histogram(),
            connect: histogram(),
            lateness: histogram(),
            unfinished: histogram(),
            intervals: Vec::new(),
            faults: BTreeMap::new(),
            shares: Vec::new(),
            health: Health::default(),
        }
    }

    /// Adds what another thread has measured at the same time.
    pub(crate) fn add(&mut self, other: Recording) {
        self.window_ns = self.window_ns.max(other.window_ns);
        self.counts.add(other.counts);
        self.completed += other.completed;
        self.completed_bytes += other.completed_bytes;
        for (ours, theirs) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.in_parts, &other.in_parts),
            (&mut self.connect, &other.connect),
            (&mut self.lateness, &other.lateness),
            (&mut self.unfinished, &other.unfinished),
        ] {
            add(ours, theirs);
        }
        for interval in other.intervals {
            self.add_interval(interval);
        }
        for (kind, theirs) in other.faults {
            merge_faults(&mut self.faults, kind, theirs);
        }
        self.shares.extend(other.shares);
        self.health.add(other.health);
    }

    /// Puts the parts together, when all threads have delivered.
    pub(crate) fn complete(&mut self, open_loop: bool) {
        self.intervals.sort_by_key(|interval| interval.index);
        for interval in &self.intervals {
            add(&mut self.response, &interval.response);
        }
        if !open_loop {
            self.service = self.response.clone();
        }
        let mut at_once = self.service.clone();
        if let Err(error) = at_once.subtract(&self.in_parts) {
            log::error!("the first bytes cannot be told: {error}");
        }
        add(&mut self.first_byte, &at_once);
    }

    /// Adds one thread's part of a second.
    pub(crate) fn add_interval(&mut self, interval: Interval) {
        match self
            .intervals
            .iter_mut()
            .find(|i| i.index == interval.index)
        {
            None => self.intervals.push(interval),
            Some(ours) => {
                ours.length_ns = ours.length_ns.max(interval.length_ns);
                ours.sent += interval.sent;
                ours.ok += interval.ok;
                ours.errors += interval.errors;
                ours.connections += interval.connections;
                add(&mut ours.response, &interval.response);
            }
        }
    }
}

fn merge_faults(ours: &mut BTreeMap<FaultKind, Faults>, kind: FaultKind, theirs: Faults) {
    match ours.entry(kind) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(theirs);
        }
        std::collections::btree_map::Entry::Occupied(mut place) => {
            let ours = place.get_mut();
            ours.count += theirs.count;
            ours.messages += theirs.messages;
            if theirs.first.at_ns < ours.first.at_ns {
                ours.first = theirs.first;
            }
        }
    }
}

impl Counts {
    /// Adds up two.
    pub fn add(&mut self, other: Counts) {
        self.scheduled += other.scheduled;
        self.sent += other.sent;
        self.ok += other.ok;
        self.unfinished += other.unfinished;
        self.failed += other.failed;
        self.errors += other.errors;
    }
}

impl Health {
    /// Adds up two that are of the same time.
    pub fn add(&mut self, other: Health) {
        self.longest_turn_ns = self.longest_turn_ns.max(other.longest_turn_ns);
        self.cpu_ns += other.cpu_ns;
        self.idle_ns += other.idle_ns;
        self.stalled_ns = self.stalled_ns.max(other.stalled_ns);
        self.down_ns += other.down_ns;
        self.threads += other.threads;
        self.in_flight_ns += other.in_flight_ns;
        // Silence of one thread's connections is not everybody's. The shortest of the long ones is a bound.
        if self.threads == other.threads || other.longest_silence_ns < self.longest_silence_ns {
            self.longest_silence_ns = other.longest_silence_ns;
            self.longest_silence_at_ns = other.longest_silence_at_ns;
        }
        self.opened += other.opened;
        self.connections += other.connections;
    }
}

impl Interval {
    pub(super) fn starting(index: usize, start_ns: u64) -> Interval {
        Interval {
            index,
            start_ns,
            length_ns: 0,
            sent: 0,
            ok: 0,
            errors: 0,
            connections: 0,
            response: histogram(),
        }
    }
}

/// An empty histogram of nanoseconds, up to an hour at first; it grows when a value is larger.
///
/// Its memory is only touched where values fall, so that a new one each second costs a few pages.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    let Ok(mut histogram) = Histogram::new_with_bounds(1, HOUR_NS, DIGITS) else {
        // Bounds and digits are constants, and possible: the tests would have seen it.
        std::process::abort();
    };
    histogram.auto(true);
    histogram
}

/// Counts a value, however large: the histogram grows.
#[inline(always)]
pub(super) fn note(histogram: &mut Histogram<u64>, value_ns: u64) {
    // Fails only where a value has no place in 64 bits.
    let _ = histogram.record(value_ns);
}

/// Adds up two; both grow by themselves, so there is always room.
pub(crate) fn add(ours: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    if let Err(error) = ours.add(theirs) {
        log::error!("two histograms do not add up: {error}");
    }
}

const HOUR_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

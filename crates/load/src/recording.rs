//! The measured figures: counts, histograms, seconds and errors. Recordings of several threads can be added.
//!
//! All histograms are HDR histograms with three digits: the error of a value is at most 0.1 %, no value is cut off,
//! and a sum of histograms loses nothing. The module knows no socket and no clock.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::diagnosis::FaultKind;
use super::sizes::{SizeClass, SizeClasses};

/// The measured figures of one thread, or of all threads together. All times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The length of the window, without the warm-up.
    pub window_ns: u64,
    /// The messages that were due within the window, by their outcome.
    pub counts: Counts,
    /// Messages that came back within the window. In a closed loop this includes those that were sent before it. In an
    /// open loop, only those that were due within the window count.
    pub completed: u64,
    /// In an open loop: messages that came back within the window and were due before it. In a closed loop 0.
    pub backlog: u64,
    /// The bytes of the `completed` messages, counted in one direction.
    pub completed_bytes: u64,
    /// Response times: from the time when a message was due to the last byte of its echo. For a message that did not
    /// come back: to the error of its connection or to the end of the run. In a closed loop the same as `service`.
    pub response: Histogram<u64>,
    /// Service times: from when the first byte of a message was offered to the kernel to the last byte of its echo.
    pub service: Histogram<u64>,
    /// Times from when the first byte of a message was offered to the kernel to the first byte of its echo.
    pub first_byte: Histogram<u64>,
    /// Service times of the messages whose first byte came in an earlier read than the last byte, or came although the
    /// last byte did not. For a message whose bytes all came in one read, the service time is also the time of the
    /// first byte. For a message without any byte, it is a lower bound of that time.
    /// [`complete`](Recording::complete) adds the service times of these messages to `first_byte`.
    pub(crate) in_parts: Histogram<u64>,
    /// Times from connect(2) to the established connection, of the connections whose connect(2) was within the window.
    pub connect: Histogram<u64>,
    /// The same times of the connections that were made before the start of the schedule.
    pub opening: Histogram<u64>,
    /// Times from connect(2) within the window to the last byte of the connection's last echo, of connections that sent
    /// all their messages ([`Plan::reconnect`](crate::Plan::reconnect)).
    pub cycle: Histogram<u64>,
    /// The response times of each size class, if the messages have several sizes. Messages that were never sent have no
    /// size, and are in `response` alone.
    pub sizes: Vec<(SizeClass, Histogram<u64>)>,
    /// The generator's own delays. Each starts when a message was due and its connection could begin it, and ends when
    /// the message began. Empty in a closed loop.
    pub lateness: Histogram<u64>,
    /// The ages of the messages that did not come back: at the error of their connection, or at the end of the run.
    /// They are lower bounds of the response times, and are in `response` too.
    pub lower_bounds: Histogram<u64>,
    /// The figures of each second of the window.
    pub intervals: Vec<Interval>,
    /// The errors, by kind.
    pub faults: BTreeMap<FaultKind, Faults>,
    /// How many messages came back on each connection, in no particular order.
    pub shares: Vec<u64>,
    /// The state of the generator itself: its load and its delays.
    pub health: Health,
}

/// Numbers of messages by outcome, and of errors. `scheduled` = `ok` + `unfinished` + `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Counts {
    /// Messages that were due.
    pub scheduled: u64,
    /// Messages of `scheduled` whose sending began.
    pub sent: u64,
    /// Messages that came back complete and right.
    pub ok: u64,
    /// Messages that had not come back at the end, or had not been sent.
    pub unfinished: u64,
    /// Messages that were lost by an error of their connection.
    pub failed: u64,
    /// Errors. One error may lose many messages or none: a connection that cannot be made is an error too.
    pub errors: u64,
}

/// The errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How many errors.
    pub count: u64,
    /// How many messages were lost by these errors.
    pub messages: u64,
    /// The first of these errors.
    pub first: FirstFault,
}

/// The first error of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFault {
    /// The number of the connection.
    pub connection: u32,
    /// Where it happened, in bytes from the start of the connection's stream; `None` if the connection never opened.
    pub offset: Option<u64>,
    /// When it happened, in nanoseconds from the start of the schedule; 0 if it happened before that.
    pub at_ns: u64,
    /// A sentence that describes it.
    pub detail: String,
}

/// The figures of one second.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The number of the second, from 0.
    pub index: usize,
    /// When it began, in nanoseconds from the start of the window.
    pub start_ns: u64,
    /// Its length in nanoseconds. The last interval may be shorter than a second.
    pub length_ns: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that came back complete and right.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Connections that were open at its end.
    pub connections: usize,
    /// Time in which a thread could run and waited for a processor: the same as in [`Health`].
    pub queued_ns: u64,
    /// Time that nothing explains: the same as in [`Health`].
    pub absent_ns: u64,
    /// The response times of the messages that came back, and the ages of those that were lost.
    pub response: Histogram<u64>,
}

/// The state of the generator itself: its load and its delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The longest turn of an event loop, in nanoseconds, from the planned wake-up on.
    pub longest_turn_ns: u64,
    /// Processor time of all threads within the window, in nanoseconds.
    pub cpu_ns: u64,
    /// Time within the window in which the loops had nothing to do, in nanoseconds: the sum over all threads.
    pub idle_ns: u64,
    /// The same for the busiest thread alone: of several threads, the smallest value.
    pub least_idle_ns: u64,
    /// Time within the window, in nanoseconds, in which a thread could run and waited for a processor. Of several
    /// threads, the largest value. 0 where the system does not report it (systems other than Linux).
    pub queued_ns: u64,
    /// Time within the window, in nanoseconds, in which a thread neither ran nor waited for a processor nor slept by
    /// its own choice: it was stopped, or its virtual processor was taken away. Of several threads, the largest value.
    pub absent_ns: u64,
    /// Threads for which the system reports neither of the two.
    pub not_accounted: u64,
    /// Connections that had failed and were not replaced yet, integrated over the window: connections × nanoseconds.
    pub down_ns: u128,
    /// The number of threads in this recording.
    pub threads: u64,
    /// Messages under way, integrated over the window: messages × nanoseconds.
    pub in_flight_ns: u128,
    /// The longest time within the window, in nanoseconds, in which messages were under way and none came back.
    pub longest_silence_ns: u64,
    /// When that time began, in nanoseconds from the start of the window.
    pub longest_silence_at_ns: u64,
    /// The shortest service time of a complete echo, in nanoseconds; `u64::MAX` if there is none.
    pub fastest_service_ns: u64,
    /// Planned ends of connections at which the server ended its stream after the client, and every byte was right.
    pub ends_verified: u64,
    /// Planned ends at which the server did not end its stream in time, or reset the connection.
    pub not_ended: u64,
    /// Planned ends that were not checked, because too many connections were ending at the same time.
    pub ends_not_checked: u64,
    /// Connections that were silent at the end of the run: a message was under way or had timed out, and no byte
    /// had come for 1 s (or 10 % of the window, if that is longer), or since before the end of the window.
    pub silent: u64,
    /// When the last byte came on one of the silent connections, in nanoseconds from the start of the window; 0 if it
    /// came before that.
    pub silent_since_ns: u64,
    /// Connections that were open when the schedule started.
    pub opened: u64,
    /// Connections that were made in the whole run.
    pub connections: u64,
}

impl Recording {
    /// Makes a recording without any figures.
    pub(crate) fn empty() -> Recording {
        Recording {
            window_ns: 0,
            counts: Counts::default(),
            completed: 0,
            backlog: 0,
            completed_bytes: 0,
            response: histogram(),
            service: histogram(),
            first_byte: histogram(),
            in_parts: histogram(),
            connect: histogram(),
            opening: histogram(),
            cycle: histogram(),
            sizes: Vec::new(),
            lateness: histogram(),
            lower_bounds: histogram(),
            intervals: Vec::new(),
            faults: BTreeMap::new(),
            shares: Vec::new(),
            health: Health {
                fastest_service_ns: u64::MAX,
                ..Health::default()
            },
        }
    }

    /// Makes a recording without any figures, with a place for each size class.
    pub(crate) fn of_classes(classes: &SizeClasses) -> Recording {
        let places = classes.iter().map(|class| (*class, histogram()));
        Recording {
            sizes: places.collect(),
            ..Recording::empty()
        }
    }

    /// Records a response time of a size class. Without a class it does nothing.
    #[inline]
    pub(crate) fn record_size(&mut self, class: Option<usize>, value_ns: u64) {
        if let Some((_, times)) = class.and_then(|class| self.sizes.get_mut(class)) {
            record(times, value_ns);
        }
    }

    /// Adds the recording of another thread of the same run.
    pub(crate) fn add(&mut self, other: Recording) {
        self.window_ns = self.window_ns.max(other.window_ns);
        self.counts.add(other.counts);
        self.completed += other.completed;
        self.backlog += other.backlog;
        self.completed_bytes += other.completed_bytes;
        for (ours, theirs) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.in_parts, &other.in_parts),
            (&mut self.connect, &other.connect),
            (&mut self.opening, &other.opening),
            (&mut self.cycle, &other.cycle),
            (&mut self.lateness, &other.lateness),
            (&mut self.lower_bounds, &other.lower_bounds),
        ] {
            add(ours, theirs);
        }
        for (class, theirs) in other.sizes {
            match self.sizes.iter_mut().find(|(known, _)| *known == class) {
                Some((_, ours)) => add(ours, &theirs),
                None => self.sizes.push((class, theirs)),
            }
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

    /// Completes the histograms that depend on others. Call it once, after the recordings of all threads were added.
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
            log::error!("cannot calculate the times of the first bytes: {error}");
        }
        add(&mut self.first_byte, &at_once);
    }

    /// Adds one thread's figures of a second.
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
                ours.queued_ns = ours.queued_ns.max(interval.queued_ns);
                ours.absent_ns = ours.absent_ns.max(interval.absent_ns);
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
    /// Adds other counts to these.
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
    /// Adds the state of another thread of the same run.
    pub fn add(&mut self, other: Health) {
        self.longest_turn_ns = self.longest_turn_ns.max(other.longest_turn_ns);
        self.cpu_ns += other.cpu_ns;
        self.idle_ns += other.idle_ns;
        self.queued_ns = self.queued_ns.max(other.queued_ns);
        self.absent_ns = self.absent_ns.max(other.absent_ns);
        self.not_accounted += other.not_accounted;
        self.down_ns += other.down_ns;
        self.least_idle_ns = match self.threads {
            0 => other.least_idle_ns,
            _ => self.least_idle_ns.min(other.least_idle_ns),
        };
        self.threads += other.threads;
        self.in_flight_ns += other.in_flight_ns;
        // During the silence of one thread's connections, others may receive echoes. The silence of all connections
        // is at most the shortest of the threads' longest silences.
        if self.threads == other.threads || other.longest_silence_ns < self.longest_silence_ns {
            self.longest_silence_ns = other.longest_silence_ns;
            self.longest_silence_at_ns = other.longest_silence_at_ns;
        }
        self.fastest_service_ns = self.fastest_service_ns.min(other.fastest_service_ns);
        self.ends_verified += other.ends_verified;
        self.not_ended += other.not_ended;
        self.ends_not_checked += other.ends_not_checked;
        self.silent += other.silent;
        self.silent_since_ns = self.silent_since_ns.max(other.silent_since_ns);
        self.opened += other.opened;
        self.connections += other.connections;
    }
}

impl Interval {
    /// Makes the interval of this number, without any figures.
    pub(super) fn starting(index: usize, start_ns: u64) -> Interval {
        Interval {
            index,
            start_ns,
            length_ns: 0,
            sent: 0,
            ok: 0,
            errors: 0,
            connections: 0,
            queued_ns: 0,
            absent_ns: 0,
            response: histogram(),
        }
    }
}

/// Makes an empty histogram of nanoseconds. It holds values up to an hour, and grows for larger values.
///
/// Only the parts that count values use memory. So a new histogram each second costs a few memory pages.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    let Ok(mut histogram) = Histogram::new_with_bounds(1, HOUR_NS, DIGITS) else {
        // Not reached: bounds and digits are constants that every test uses.
        std::process::abort();
    };
    histogram.auto(true);
    histogram
}

/// Counts a value. The histogram grows if the value is larger than its range.
#[inline(always)]
pub(super) fn record(histogram: &mut Histogram<u64>, value_ns: u64) {
    // This fails only where the grown histogram has more places than a `usize` can count.
    let _ = histogram.record(value_ns);
}

/// Adds a histogram to another one, which grows if necessary.
pub(crate) fn add(ours: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    if let Err(error) = ours.add(theirs) {
        log::error!("cannot add two histograms: {error}");
    }
}

const HOUR_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

//! What a thread has measured: counts, histograms, one interval a second, and how well the generator itself did.
//!
//! Told of everything with its time; reads no clock. All histograms are HDR with three digits: any value is off by at
//! most a thousandth, none is cut off, and those of several threads add up without loss.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::diagnosis::{Fault, FaultKind};
use super::exchange::Echo;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// The longest turn of its loop, in nanoseconds.
    pub longest_turn_ns: u64,
    /// Processor time within the window, in nanoseconds, all threads together.
    pub cpu_ns: u64,
    /// Time within the window in which there was nothing to do, in nanoseconds, all threads together.
    pub idle_ns: u64,
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

/// Makes a [`Recording`].
#[derive(Debug)]
pub(crate) struct Recorder {
    open_loop: bool,
    window: Window,
    made: Recording,
    current: Interval,
    finished: Vec<Interval>,
    in_flight: u64,
    in_flight_since_ns: u64,
    silent_since_ns: u64,
}

/// When messages count, in nanoseconds of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// When the warm-up begins.
    pub(crate) schedule_ns: u64,
    /// When it is over.
    pub(crate) start_ns: u64,
    /// From when on nothing is due.
    pub(crate) end_ns: u64,
}

impl Recorder {
    pub(crate) fn new(open_loop: bool) -> Recorder {
        let window = Window {
            schedule_ns: u64::MAX,
            start_ns: u64::MAX,
            end_ns: u64::MAX,
        };
        Recorder {
            open_loop,
            window,
            made: Recording::empty(),
            current: Interval::starting(0, 0),
            finished: Vec::new(),
            in_flight: 0,
            in_flight_since_ns: 0,
            silent_since_ns: u64::MAX,
        }
    }

    /// Says when messages count.
    pub(crate) fn open(&mut self, window: Window, opened: u64) {
        self.window = window;
        self.made.health.opened = opened;
        self.in_flight_since_ns = window.start_ns;
    }

    /// Ends the window early.
    pub(crate) fn close(&mut self, end_ns: u64) {
        self.window.end_ns = end_ns.max(self.window.start_ns);
        self.pass(end_ns);
    }

    /// From when on messages count.
    pub(crate) fn start_ns(&self) -> u64 {
        self.window.start_ns
    }

    /// From when on nothing is due.
    pub(crate) fn end_ns(&self) -> u64 {
        self.window.end_ns
    }

    /// A message has been begun.
    #[inline]
    pub(crate) fn sent(&mut self, intended_ns: u64, free_ns: u64, now_ns: u64) {
        self.change_in_flight(now_ns, 1);
        if self.in_flight == 1 {
            self.silent_since_ns = now_ns;
        }
        if self.counts(intended_ns) {
            self.made.counts.sent += 1;
            self.current.sent += 1;
            if self.open_loop {
                let could_ns = intended_ns.max(free_ns);
                note(&mut self.made.lateness, now_ns.saturating_sub(could_ns));
            }
        }
    }

    /// A message has come back whole and right.
    #[inline]
    pub(crate) fn echo(&mut self, echo: &Echo) {
        let now_ns = echo.last_byte_ns;
        if now_ns >= self.current_end_ns() {
            self.pass(now_ns);
        }
        self.change_in_flight(now_ns, -1);
        self.end_silence(now_ns);
        if now_ns >= self.window.start_ns && now_ns < self.window.end_ns {
            self.made.completed += 1;
            self.made.completed_bytes += echo.bytes;
            self.current.ok += 1;
        }
        if self.counts(echo.intended_ns) {
            self.made.counts.ok += 1;
            let Recording {
                service,
                first_byte,
                ..
            } = &mut self.made;
            let response_ns = now_ns - echo.intended_ns;
            note(&mut self.current.response, response_ns);
            if self.open_loop {
                note(service, now_ns - echo.begun_ns);
            }
            note(first_byte, echo.first_byte_ns - echo.begun_ns);
        }
    }

    /// A connection has been made, after so long.
    pub(crate) fn connected(&mut self, took_ns: u64) {
        self.made.health.connections += 1;
        note(&mut self.made.connect, took_ns);
    }

    /// Something went wrong, and these messages under way on that connection with it.
    pub(crate) fn fault(
        &mut self,
        fault: Fault,
        connection: u32,
        lost_ns: impl Iterator<Item = (u64, u64)>,
        now_ns: u64,
    ) {
        let mut messages = 0;
        for (intended_ns, _) in lost_ns {
            self.change_in_flight(now_ns, -1);
            messages += u64::from(self.counts(intended_ns));
        }
        if self.in_flight == 0 {
            self.end_silence(now_ns);
        }
        self.made.counts.failed += messages;
        self.made.counts.errors += 1;
        self.current.errors += 1;
        let first = FirstFault {
            connection,
            offset: fault.offset,
            at_ns: now_ns.saturating_sub(self.window.schedule_ns),
            detail: fault.detail,
        };
        let faults = self.made.faults.entry(fault.kind).or_insert(Faults {
            count: 0,
            messages: 0,
            first,
        });
        faults.count += 1;
        faults.messages += messages;
    }

    /// At the end: a message that has left and not come back. Its time is at least its age, and is counted as that: left
    /// out, the slowest would make the others look fast.
    pub(crate) fn unfinished(&mut self, intended_ns: u64, begun_ns: u64, now_ns: u64) {
        if self.age(intended_ns, now_ns) && self.open_loop {
            note(&mut self.made.service, now_ns.saturating_sub(begun_ns));
        }
    }

    /// At the end: a message that was due and has not left.
    pub(crate) fn unsent(&mut self, intended_ns: u64, now_ns: u64) {
        let counts = self.age(intended_ns, now_ns);
        self.made.counts.scheduled += u64::from(counts);
    }

    /// Counts a message with its age, if it counts.
    fn age(&mut self, intended_ns: u64, now_ns: u64) -> bool {
        let counts = self.counts(intended_ns);
        if counts {
            self.made.counts.unfinished += 1;
            let age_ns = now_ns.saturating_sub(intended_ns);
            note(&mut self.made.unfinished, age_ns);
            note(&mut self.current.response, age_ns);
        }
        counts
    }

    /// A turn of the loop has taken so long.
    #[inline]
    pub(crate) fn turn(&mut self, took_ns: u64) {
        if took_ns > self.made.health.longest_turn_ns
            && self.in_flight_since_ns > self.window.start_ns
        {
            self.made.health.longest_turn_ns = took_ns;
        }
    }

    /// There was nothing to do for so long.
    #[inline]
    pub(crate) fn idle(&mut self, since_ns: u64, now_ns: u64) {
        let since_ns = since_ns.max(self.window.start_ns);
        self.made.health.idle_ns += now_ns.min(self.window.end_ns).saturating_sub(since_ns);
    }

    /// When [`pass`](Recorder::pass) has to be called next, or later.
    pub(crate) fn current_end_ns(&self) -> u64 {
        let end_ns = self
            .window
            .start_ns
            .saturating_add(self.current.start_ns + INTERVAL_NS);
        if self.window.start_ns == u64::MAX || self.current.start_ns >= self.length_ns() {
            return u64::MAX;
        }
        end_ns.min(self.window.end_ns)
    }

    /// Ends the intervals that are over by now.
    pub(crate) fn pass(&mut self, now_ns: u64) {
        while now_ns >= self.current_end_ns() {
            let end_ns = self.current_end_ns();
            let start_ns = end_ns - self.window.start_ns;
            let next = Interval::starting(self.current.index + 1, start_ns);
            let mut over = std::mem::replace(&mut self.current, next);
            over.length_ns = start_ns - over.start_ns;
            self.finished.push(over);
        }
    }

    /// The intervals that have ended since the last call.
    pub(crate) fn finished(&mut self, connections: usize) -> impl Iterator<Item = Interval> {
        self.finished.drain(..).map(move |mut interval| {
            interval.connections = connections;
            interval
        })
    }

    /// What was measured, but for the intervals that were handed out.
    pub(crate) fn finish(mut self, shares: Vec<u64>, cpu_ns: u64) -> Recording {
        // What came back after the window: its response times count, and it belongs to no second.
        self.made.response = self.current.response;
        self.made.window_ns = self.window.end_ns.saturating_sub(self.window.start_ns);
        self.made.counts.scheduled += self.made.counts.sent;
        self.made.shares = shares;
        self.made.health.cpu_ns = cpu_ns;
        self.made.health.threads = 1;
        self.made
    }

    fn length_ns(&self) -> u64 {
        self.window.end_ns.saturating_sub(self.window.start_ns)
    }

    #[inline]
    fn counts(&self, intended_ns: u64) -> bool {
        intended_ns >= self.window.start_ns && intended_ns < self.window.end_ns
    }

    #[inline]
    fn change_in_flight(&mut self, now_ns: u64, change: i64) {
        let now_ns = now_ns.clamp(self.window.start_ns, self.window.end_ns);
        let since_ns = now_ns.saturating_sub(self.in_flight_since_ns);
        self.made.health.in_flight_ns += u128::from(self.in_flight) * u128::from(since_ns);
        self.in_flight_since_ns = now_ns;
        self.in_flight = self.in_flight.saturating_add_signed(change);
    }

    #[inline]
    fn end_silence(&mut self, now_ns: u64) {
        let since_ns = self.silent_since_ns.max(self.window.start_ns);
        let silence_ns = now_ns.min(self.window.end_ns).saturating_sub(since_ns);
        if silence_ns > self.made.health.longest_silence_ns {
            self.made.health.longest_silence_ns = silence_ns;
            self.made.health.longest_silence_at_ns = since_ns - self.window.start_ns;
        }
        self.silent_since_ns = if self.in_flight > 0 { now_ns } else { u64::MAX };
    }
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
    fn starting(index: usize, start_ns: u64) -> Interval {
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
fn note(histogram: &mut Histogram<u64>, value_ns: u64) {
    // Fails only where a value has no place in 64 bits.
    let _ = histogram.record(value_ns);
}

/// Adds up two; both grow by themselves, so there is always room.
pub(crate) fn add(ours: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    if let Err(error) = ours.add(theirs) {
        log::error!("two histograms do not add up: {error}");
    }
}

/// A second: what progress is told in, and what is shown over time.
const INTERVAL_NS: u64 = 1_000_000_000;

const HOUR_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests;

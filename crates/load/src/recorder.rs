//! Makes a recording of what the driver reports: which messages count, what became of them, how well the generator
//! itself did.
//!
//! Each report comes with its time; reads no clock.

use super::diagnosis::Fault;
use super::exchange::Echo;
use super::recording::{Faults, FirstFault, Interval, Recording, note};

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
    down: u64,
    down_since_ns: u64,
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
            down: 0,
            down_since_ns: 0,
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
        if self.in_flight > 0 {
            self.end_silence(self.window.end_ns);
        }
        self.down(self.window.end_ns, 0);
        self.change_in_flight(self.window.end_ns, 0);
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
            let response_ns = now_ns - echo.intended_ns;
            note(&mut self.current.response, response_ns);
            let service_ns = now_ns - echo.begun_ns;
            if self.open_loop {
                note(&mut self.made.service, service_ns);
            }
            if echo.first_byte_ns != now_ns {
                note(&mut self.made.in_parts, service_ns);
                note(
                    &mut self.made.first_byte,
                    echo.first_byte_ns - echo.begun_ns,
                );
            }
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
        self.current.errors += u64::from(now_ns >= self.window.start_ns);
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

    /// At the end: a message that has left and not come back. Its time is at least its age, and is counted as
    /// that: left out, the slowest would make the others look fast.
    pub(crate) fn unfinished(&mut self, intended_ns: u64, begun_ns: u64, now_ns: u64) {
        if self.age(intended_ns, now_ns) {
            let service_ns = now_ns.saturating_sub(begun_ns);
            if self.open_loop {
                note(&mut self.made.service, service_ns);
            }
            note(&mut self.made.in_parts, service_ns);
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
        let health = &mut self.made.health;
        if took_ns > health.longest_turn_ns && self.in_flight_since_ns > self.window.start_ns {
            health.longest_turn_ns = took_ns;
        }
        if took_ns > A_STALL_NS && self.in_flight_since_ns > self.window.start_ns {
            health.stalled_ns += took_ns;
        }
    }

    /// There was nothing to do for so long.
    #[inline]
    pub(crate) fn idle(&mut self, since_ns: u64, now_ns: u64) {
        let since_ns = since_ns.max(self.window.start_ns);
        self.made.health.idle_ns += now_ns.min(self.window.end_ns).saturating_sub(since_ns);
    }

    /// So many connections more, or fewer, have failed and are not made anew yet.
    pub(crate) fn down(&mut self, now_ns: u64, change: i64) {
        let now_ns = now_ns.clamp(self.window.start_ns, self.window.end_ns);
        let since_ns = now_ns.saturating_sub(self.down_since_ns.max(self.window.start_ns));
        self.made.health.down_ns += u128::from(self.down) * u128::from(since_ns);
        self.down_since_ns = now_ns;
        self.down = self.down.saturating_add_signed(change);
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

/// From here on a turn is a standstill, and not work.
const A_STALL_NS: u64 = 10_000_000;

/// A second: what progress is told in, and what is shown over time.
const INTERVAL_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;

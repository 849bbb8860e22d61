//! Makes the recording of one driver: counts the messages of the window, their times and errors, and the driver's own
//! delays.
//!
//! The module reads no clock: the driver passes the time in each call.

use super::diagnosis::Fault;
use super::exchange::{Echo, UnderWay};
use super::presence::{Period, Totals};
use super::recording::{Faults, FirstFault, Interval, Recording, record};
use super::sizes::SizeClasses;

/// Makes the [`Recording`] of one driver. A message counts if it was due within the window.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Whether messages are sent on a schedule.
    open_loop: bool,
    /// The measured part of the run.
    window: Window,
    /// The size classes whose response times are recorded apart.
    classes: SizeClasses,
    /// The recording so far.
    made: Recording,
    /// The current second of the window. After the last second it holds the messages that come back after the window.
    current: Interval,
    /// Seconds that are over and not returned yet.
    finished: Vec<Interval>,
    /// Messages under way.
    in_flight: u64,
    /// When `in_flight` last changed.
    in_flight_since_ns: u64,
    /// When the current silence began: at the last echo, or when a message began while no other message was under way.
    /// `u64::MAX` while no message is under way.
    silent_since_ns: u64,
    /// The longest service time of a complete echo; 0 if there is none.
    slowest_service_ns: u64,
    /// Connections that have failed and are not replaced yet.
    down: u64,
    /// When `down` last changed.
    down_since_ns: u64,
}

/// The measured part of the run, in nanoseconds of the driver's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// When the warm-up begins.
    pub(crate) schedule_ns: u64,
    /// When the warm-up ends and the window begins.
    pub(crate) start_ns: u64,
    /// The end of the window: no message is due at this time or later.
    pub(crate) end_ns: u64,
}

impl Recorder {
    /// Makes a recorder whose window is not known yet.
    pub(crate) fn new(open_loop: bool, classes: SizeClasses) -> Recorder {
        let window = Window {
            schedule_ns: u64::MAX,
            start_ns: u64::MAX,
            end_ns: u64::MAX,
        };
        Recorder {
            open_loop,
            window,
            made: Recording::of_classes(&classes),
            classes,
            current: Interval::starting(0, 0),
            finished: Vec::new(),
            in_flight: 0,
            in_flight_since_ns: 0,
            silent_since_ns: u64::MAX,
            slowest_service_ns: 0,
            down: 0,
            down_since_ns: 0,
        }
    }

    /// Sets the window. `opened` is the number of connections that are open at the start of the schedule.
    pub(crate) fn open(&mut self, window: Window, opened: u64) {
        self.window = window;
        self.made.health.opened = opened;
        self.in_flight_since_ns = window.start_ns;
    }

    /// Ends the window at `end_ns`, and completes the figures that are integrated over it.
    pub(crate) fn close(&mut self, end_ns: u64) {
        self.window.end_ns = end_ns.max(self.window.start_ns);
        self.end_intervals(end_ns);
        if self.in_flight > 0 {
            self.end_silence(self.window.end_ns);
        }
        self.down(self.window.end_ns, 0);
        self.change_in_flight(self.window.end_ns, 0);
    }

    /// Returns the start of the window.
    pub(crate) fn start_ns(&self) -> u64 {
        self.window.start_ns
    }

    /// Returns the end of the window.
    pub(crate) fn end_ns(&self) -> u64 {
        self.window.end_ns
    }

    /// Counts a message that has begun. `free_ns` is when its connection could begin it.
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
                record(&mut self.made.lateness, now_ns.saturating_sub(could_ns));
            }
        }
    }

    /// Counts a message that came back complete and right. Returns whether it was due within the window.
    #[inline]
    pub(crate) fn echo(&mut self, echo: &Echo) -> bool {
        let now_ns = echo.last_byte_ns;
        if now_ns >= self.current_end_ns() {
            self.end_intervals(now_ns);
        }
        self.change_in_flight(now_ns, -1);
        self.end_silence(now_ns);
        let counts = self.counts(echo.intended_ns);
        if now_ns >= self.window.start_ns && now_ns < self.window.end_ns {
            // In an open loop, an echo of the warm-up that comes late is a backlog. With it, the rate would be above
            // the rate that was asked for. In a closed loop, as many messages of the window come back after its end.
            if counts || !self.open_loop {
                self.made.completed += 1;
                self.made.completed_bytes += echo.bytes;
                self.current.ok += 1;
            } else {
                self.made.backlog += 1;
            }
        }
        if counts {
            self.made.counts.ok += 1;
            let response_ns = now_ns - echo.intended_ns;
            record(&mut self.current.response, response_ns);
            self.made
                .record_size(self.classes.of(echo.bytes), response_ns);
            let service_ns = now_ns - echo.begun_ns;
            let fastest_ns = &mut self.made.health.fastest_service_ns;
            *fastest_ns = (*fastest_ns).min(service_ns);
            self.slowest_service_ns = self.slowest_service_ns.max(service_ns);
            if self.open_loop {
                record(&mut self.made.service, service_ns);
            }
            if echo.first_byte_ns != now_ns {
                record(&mut self.made.in_parts, service_ns);
                record(
                    &mut self.made.first_byte,
                    echo.first_byte_ns - echo.begun_ns,
                );
            }
        }
        counts
    }

    /// Counts a connection that was made. `began_ns` is when connect(2) was called.
    pub(crate) fn connected(&mut self, began_ns: u64, now_ns: u64) {
        self.made.health.connections += 1;
        let took_ns = now_ns.saturating_sub(began_ns);
        if self.counts(began_ns) {
            record(&mut self.made.connect, took_ns);
        } else if began_ns < self.window.schedule_ns {
            record(&mut self.made.opening, took_ns);
        }
    }

    /// Records the time of a connection that has sent all its messages: from connect(2) at `began_ns` to the last byte
    /// of the last echo.
    pub(crate) fn cycle(&mut self, began_ns: u64, last_byte_ns: u64) {
        if self.counts(began_ns) {
            record(&mut self.made.cycle, last_byte_ns.saturating_sub(began_ns));
        }
    }

    /// Counts an error of a connection, and the messages under way that it lost. Their ages are lower bounds of their
    /// times, and are counted as their times.
    pub(crate) fn fault(
        &mut self,
        fault: Fault,
        connection: u32,
        lost: impl Iterator<Item = UnderWay>,
        now_ns: u64,
    ) {
        let mut messages = 0;
        for message in lost {
            self.change_in_flight(now_ns, -1);
            messages += u64::from(self.at_least(&message, now_ns));
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

    /// Counts a message that was sent and has not come back at the end.
    pub(crate) fn unfinished(&mut self, message: &UnderWay, now_ns: u64) {
        self.made.counts.unfinished += u64::from(self.at_least(message, now_ns));
    }

    /// Counts a message that was due and was not sent before the end.
    pub(crate) fn unsent(&mut self, intended_ns: u64, now_ns: u64) {
        let counts = u64::from(self.age(intended_ns, now_ns));
        self.made.counts.unfinished += counts;
        self.made.counts.scheduled += counts;
    }

    /// Records the times of a message that did not come back, if it was due within the window, and returns whether it
    /// was. Its age is a lower bound of its time and is recorded as its time. Without these messages the slowest ones
    /// would be missing, and the figures would look too good.
    fn at_least(&mut self, message: &UnderWay, now_ns: u64) -> bool {
        let counts = self.age(message.intended_ns, now_ns);
        if counts {
            let age_ns = now_ns.saturating_sub(message.intended_ns);
            self.made
                .record_size(self.classes.of(message.bytes), age_ns);
            let service_ns = now_ns.saturating_sub(message.begun_ns);
            if self.open_loop {
                record(&mut self.made.service, service_ns);
            }
            // Without a first byte, the age is a lower bound of the time of the first byte too.
            if let Some(first_byte_ns) = message.first_byte_ns {
                let first_byte_ns = first_byte_ns.saturating_sub(message.begun_ns);
                record(&mut self.made.in_parts, service_ns);
                record(&mut self.made.first_byte, first_byte_ns);
            }
        }
        counts
    }

    /// Records the age of a message that did not come back, if it was due within the window. Returns whether it was.
    fn age(&mut self, intended_ns: u64, now_ns: u64) -> bool {
        let counts = self.counts(intended_ns);
        if counts {
            let age_ns = now_ns.saturating_sub(intended_ns);
            record(&mut self.made.lower_bounds, age_ns);
            record(&mut self.current.response, age_ns);
        }
        counts
    }

    /// Counts a planned end at which the server ended its stream too, and every byte was right.
    pub(crate) fn end_verified(&mut self) {
        self.made.health.ends_verified += 1;
    }

    /// Counts a planned end at which the server did not end its stream in time.
    pub(crate) fn not_ended(&mut self) {
        self.made.health.not_ended += 1;
    }

    /// Counts a planned end that was not checked, because too many connections were ending.
    pub(crate) fn end_not_checked(&mut self) {
        self.made.health.ends_not_checked += 1;
    }

    /// Returns the longest service time of a complete echo; 0 if there is none.
    pub(crate) fn slowest_service_ns(&self) -> u64 {
        self.slowest_service_ns
    }

    /// Records how many connections are silent at the end, and the time of the last byte that came on one of them.
    pub(crate) fn silent_at_the_end(&mut self, connections: u64, since_ns: u64) {
        self.made.health.silent = connections;
        self.made.health.silent_since_ns = since_ns.saturating_sub(self.window.start_ns);
    }

    /// Records how long a turn of the loop took.
    #[inline]
    pub(crate) fn turn(&mut self, took_ns: u64) {
        let health = &mut self.made.health;
        if took_ns > health.longest_turn_ns && self.in_flight_since_ns > self.window.start_ns {
            health.longest_turn_ns = took_ns;
        }
    }

    /// Counts a time in which the loop had nothing to do.
    #[inline]
    pub(crate) fn idle(&mut self, since_ns: u64, now_ns: u64) {
        let since_ns = since_ns.max(self.window.start_ns);
        self.made.health.idle_ns += now_ns.min(self.window.end_ns).saturating_sub(since_ns);
    }

    /// Changes the number of connections that are down: they have failed and are not replaced yet.
    pub(crate) fn down(&mut self, now_ns: u64, change: i64) {
        let now_ns = now_ns.clamp(self.window.start_ns, self.window.end_ns);
        let since_ns = now_ns.saturating_sub(self.down_since_ns.max(self.window.start_ns));
        self.made.health.down_ns += u128::from(self.down) * u128::from(since_ns);
        self.down_since_ns = now_ns;
        self.down = self.down.saturating_add_signed(change);
    }

    /// Returns when the current interval ends. Call [`end_intervals`](Recorder::end_intervals) then or later.
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

    /// Ends the intervals that are over at `now_ns`.
    pub(crate) fn end_intervals(&mut self, now_ns: u64) {
        while now_ns >= self.current_end_ns() {
            let end_ns = self.current_end_ns();
            let start_ns = end_ns - self.window.start_ns;
            let next = Interval::starting(self.current.index + 1, start_ns);
            let mut over = std::mem::replace(&mut self.current, next);
            over.length_ns = start_ns - over.start_ns;
            self.finished.push(over);
        }
    }

    /// Adds a period of the account of the thread's time. An interval gets the share that lies within it.
    pub(crate) fn period(&mut self, period: Period) {
        self.end_intervals(period.end_ns);
        let length_ns = (period.end_ns - period.start_ns).max(1) as f64;
        let end_ns = self.current_end_ns();
        let window_ns = self.window.start_ns;
        let current = std::iter::once((&mut self.current, end_ns));
        let finished = self.finished.iter_mut().map(|interval| {
            let end_ns = window_ns + interval.start_ns + interval.length_ns;
            (interval, end_ns)
        });
        for (interval, end_ns) in finished.chain(current) {
            let start_ns = window_ns.saturating_add(interval.start_ns);
            let within_ns = period.end_ns.min(end_ns);
            let within_ns = within_ns.saturating_sub(period.start_ns.max(start_ns));
            let share = within_ns as f64 / length_ns;
            interval.queued_ns += (share * period.queued_ns as f64) as u64;
            interval.absent_ns += (share * period.absent_ns as f64) as u64;
        }
    }

    /// Returns the intervals that have ended since the last call. `connections` is the number of open connections.
    pub(crate) fn finished(&mut self, connections: usize) -> impl Iterator<Item = Interval> {
        self.finished.drain(..).map(move |mut interval| {
            interval.connections = connections;
            interval
        })
    }

    /// Returns the recording, without the intervals that [`finished`](Recorder::finished) has returned.
    pub(crate) fn finish(mut self, shares: Vec<u64>, times: Totals) -> Recording {
        // Messages that came back after the window belong to no second, but their response times count.
        self.made.response = self.current.response;
        self.made.window_ns = self.window.end_ns.saturating_sub(self.window.start_ns);
        self.made.counts.scheduled += self.made.counts.sent;
        self.made.shares = shares;
        self.made.health.cpu_ns = times.running_ns;
        self.made.health.queued_ns = times.queued_ns;
        self.made.health.absent_ns = times.absent_ns;
        self.made.health.not_accounted = u64::from(times.is_incomplete);
        self.made.health.threads = 1;
        self.made.health.least_idle_ns = self.made.health.idle_ns;
        self.made
    }

    /// Returns the length of the window.
    fn length_ns(&self) -> u64 {
        self.window.end_ns.saturating_sub(self.window.start_ns)
    }

    /// Whether a message that was due at this time counts.
    #[inline]
    fn counts(&self, intended_ns: u64) -> bool {
        intended_ns >= self.window.start_ns && intended_ns < self.window.end_ns
    }

    /// Changes the number of messages under way, and integrates it over the window.
    #[inline]
    fn change_in_flight(&mut self, now_ns: u64, change: i64) {
        let now_ns = now_ns.clamp(self.window.start_ns, self.window.end_ns);
        let since_ns = now_ns.saturating_sub(self.in_flight_since_ns);
        self.made.health.in_flight_ns += u128::from(self.in_flight) * u128::from(since_ns);
        self.in_flight_since_ns = now_ns;
        self.in_flight = self.in_flight.saturating_add_signed(change);
    }

    /// Ends a time without an echo, and keeps the longest one.
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

/// The length of an interval: a second. Progress and the figures over time are reported by interval.
const INTERVAL_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;

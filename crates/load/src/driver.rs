//! The event loop of the load generator. Each thread has one, with its part of the connections. One turn: poll → read
//! and verify → send the messages that are due → dial → check timeouts → advance the phase.
//!
//! Only the driver connects, registers, reads the clock and closes. The exchange, the pace, the dialing and the
//! recorder calculate and return answers. The driver reaches the kernel only through [`Connector`], so it runs in
//! virtual time over a simulated kernel.
//!
//! Unlike the server's loop, this loop reads the clock after each read and before each message, because it measures
//! times. The functions between the loop and the system calls are inlined, as in the server. A non-inlined return
//! after a system call is usually mispredicted (8 to 10 % of a small message).

mod dialing;
mod ending;
mod silence;
mod slot;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::diagnosis::{Fault, FaultKind};
use crate::duration::ns;
use crate::exchange::{Exchange, Received};
use crate::pace::{Next, Pace};
use crate::payload::{MOST_CONNECTIONS, Payload};
use crate::plan::{Plan, Until};
use crate::presence::Presence;
use crate::recorder::{Recorder, Window};
use crate::recording::{Interval, Recording};
use crate::schedule::Schedule;
use crate::start_barrier::{StartBarrier, TooLate};
use crate::stopper::Stopper;
use dialing::Dialing;
use ending::{End, Ending, Endings};
use net::connect::{Attempt, Connector, Target};
use net::descriptors;
use net::outcome::{IoFailure, IoOutcome, attempt};
use net::poller::Event;
use net::stream::Socket;
use silence::{Late, Silence};
use slot::{Opened, Replaces, Slot, Slots, State, key_of};

/// The data that all drivers of a run share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) plan: Arc<Plan>,
    pub(super) target: Target,
    pub(super) barrier: Arc<StartBarrier>,
    pub(super) stopper: Stopper,
    /// The number of the next connection: how many have been dialled so far.
    pub(super) numbers: Arc<AtomicU32>,
    /// How long before a message is due the driver stops sleeping.
    pub(super) lead_time: Duration,
}

/// A report of a driver to the thread that started it.
#[derive(Debug)]
pub(super) enum Update {
    /// This number of connections has opened since the last such report.
    Opened(usize),
    /// The driver has made all connections that it can make.
    Ready,
    /// A second is over: its figures.
    Interval(Interval),
    /// The driver has ended.
    Over(Box<Result<Recording, DriveError>>),
}

/// The reason why a driver measured nothing.
#[derive(Debug)]
pub(super) enum DriveError {
    /// No connection could be made.
    Unreachable(Fault),
    /// The run was stopped before the schedule started.
    Stopped,
    /// The connections were made too late for the planned start of the schedule.
    TooLate(TooLate),
    /// The selector failed.
    Poll(io::Error),
}

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The driver makes its connections.
    Connecting,
    /// The connections are made, and the driver waits for the start of the schedule. Other drivers may still connect.
    Ready,
    /// The driver sends messages.
    Running,
    /// The driver sends no new message. It waits for the messages under way, at most until this time.
    Finishing(u64),
    /// All messages are counted. The driver has ended its streams, and waits for the ends of the server's streams.
    Ending,
    /// The run has ended.
    Over,
}

/// The event loop of one thread, over the kernel `K`.
#[derive(Debug)]
pub(super) struct Driver<K: Connector> {
    common: Common,
    kernel: K,
    /// Makes and checks the bytes of every stream.
    payload: Payload,
    /// The buffer of the current read or write.
    scratch: Vec<u8>,
    /// The connections of this driver, by their keys.
    slots: Slots<K::Stream>,
    /// Connections whose stream this driver has ended.
    endings: Endings<K::Stream>,
    /// Chooses the next connection to make.
    dialing: Dialing,
    /// Decides when a message may begin.
    pace: Pace,
    /// Counts and measures.
    recorder: Recorder,
    /// Receives the reports of this driver.
    updates: Sender<Update>,
    /// The current phase of the run.
    phase: Phase,
    /// The last value of the clock.
    now_ns: u64,
    /// Messages under way on all connections of this driver.
    in_flight: usize,
    /// Open connections.
    open: usize,
    /// How many of them were reported with [`Update::Opened`].
    reported_open: usize,
    /// Keys of connections that must run again without a new event: they used up their budget for this turn, or a write
    /// failed.
    run_queue: Vec<usize>,
    /// Chooses the slots whose timeouts are checked in this turn.
    ticker: Ticker,
    /// Judges connections on which an echo is late.
    silence: Silence,
    /// When a message last ended, with an echo or with an error.
    ended_ns: u64,
    /// The time of the first error after the last echo; `u64::MAX` if there is none.
    failing_ns: u64,
    /// Where the time of this thread went, from the start of the window on.
    presence: Presence,
}

impl<K: Connector> Driver<K> {
    /// Makes the driver of thread `thread`; the first thread is 0.
    ///
    /// # Errors
    /// The errors of [`Connector::waker`].
    pub(super) fn new(
        kernel: K,
        common: Common,
        thread: usize,
        updates: Sender<Update>,
    ) -> io::Result<Driver<K>> {
        common.stopper.add(kernel.waker()?);
        let plan = common.plan.clone();
        let (all, threads) = (plan.connections as u64, plan.threads);
        let indices = || (thread as u64..all).step_by(threads);
        let slots = Slots::new(indices().map(|index| {
            let schedule = |rate| Schedule::new(plan.arrivals, rate, index, all, plan.seed);
            Slot::new(plan.rate.map(schedule))
        }));
        let remaining = match plan.until {
            Until::Elapsed(_) => u64::MAX,
            // Message i belongs to connection i modulo the number of connections, as in a schedule with fixed arrivals.
            Until::Count(n) => indices()
                .map(|index| n.saturating_sub(index).div_ceil(all))
                .sum(),
        };
        Ok(Driver {
            kernel,
            payload: Payload::new(plan.payload_key),
            scratch: vec![0; SCRATCH],
            endings: Endings::new(most_endings(&plan)),
            dialing: Dialing::new(&plan, common.target.clone(), thread, slots.len()),
            pace: Pace::new(remaining, slots.len()),
            slots,
            recorder: Recorder::new(plan.rate.is_some(), plan.sizes.classes()),
            updates,
            phase: Phase::Connecting,
            now_ns: 0,
            in_flight: 0,
            open: 0,
            reported_open: 0,
            run_queue: Vec::new(),
            ticker: Ticker::new(plan.timeout),
            silence: Silence::new(&plan),
            ended_ns: 0,
            failing_ns: u64::MAX,
            presence: Presence::default(),
            common,
        })
    }

    /// Runs to the end and reports the outcome.
    pub(super) fn run(mut self) {
        let updates = self.updates.clone();
        let outcome = self.drive().map(|()| self.finish());
        // This fails only after the run has failed in another driver: then the receiver is gone.
        let _ = updates.send(Update::Over(Box::new(outcome)));
    }

    fn drive(&mut self) -> Result<(), DriveError> {
        let mut events = Vec::new();
        while self.phase != Phase::Over {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    /// Runs one turn of the loop.
    #[inline(always)]
    fn turn(&mut self, events: &mut Vec<Event>) -> Result<(), DriveError> {
        let waiting_ns = self.now_ns;
        let Wait {
            planned_ns,
            may_sleep,
        } = self.wait(events).map_err(DriveError::Poll)?;
        let woken_ns = self.read_clock();
        if may_sleep {
            self.presence
                .slept(woken_ns.min(planned_ns).saturating_sub(waiting_ns));
        }
        if events.is_empty() || woken_ns - waiting_ns > A_POLL_NS {
            self.recorder.idle(waiting_ns, woken_ns.min(planned_ns));
        }
        for event in events.iter() {
            self.dispatch(*event);
        }
        for key in std::mem::take(&mut self.run_queue) {
            self.receive(key, true);
        }
        // Send only the messages that were due at the start of this turn. If the rate is higher than this loop can
        // send, new messages become due all the time, and the loop would never end.
        while let Some(key) = self.pace.pop(woken_ns) {
            self.send(key);
        }
        // The turn counts from the planned wake-up. Otherwise a loop that waited for a processor would not see that
        // delay.
        let began_ns = woken_ns.min(planned_ns);
        if self.phase == Phase::Running {
            self.recorder.turn(self.now_ns - began_ns);
        }
        self.dial_some();
        if let Some(fault) = self.dialing.take_fatal() {
            return Err(DriveError::Unreachable(fault));
        }
        if self.phase == Phase::Running && self.presence.is_due(self.now_ns) {
            self.read_presence();
        }
        self.report_intervals();
        if self.common.stopper.ends_this_run() {
            self.stop()?;
        }
        while let Some(token) = self.endings.overdue(self.now_ns) {
            self.ending_timed_out(token);
        }
        for key in self.ticker.due(self.now_ns, self.slots.len()) {
            self.check_timeouts(key);
        }
        self.advance_phase()
    }

    /// Waits for events. The wait ends punctually if the next thing to do is a message or the start of the schedule.
    /// Returns the latest time at which the wait should have ended; `u64::MAX` if other work left no time to wait.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<Wait> {
        let now_ns = self.now_ns;
        let until = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(now_ns));
        if self.common.plan.never_sleep && self.phase == Phase::Running {
            // This poll returns at once. If it takes longer than `A_POLL_NS`, the processor was given to other threads.
            self.kernel.poll(events, Some(Duration::ZERO))?;
            return Ok(Wait::polling(now_ns.saturating_add(A_POLL_NS)));
        }
        if !self.run_queue.is_empty() || self.dialing.next_ns() <= now_ns {
            self.kernel.poll(events, Some(Duration::ZERO))?;
            return Ok(Wait::polling(u64::MAX));
        }
        let lazy_ns = match self.phase {
            Phase::Finishing(until_ns) => self.ticker.next_ns.min(until_ns),
            _ => self.ticker.next_ns.min(self.recorder.current_end_ns()),
        };
        let lazy_ns = lazy_ns
            .min(self.dialing.next_ns())
            .min(self.endings.next_ns());
        let due_ns = match self.phase {
            Phase::Ready => Some(self.common.barrier.start_ns()),
            Phase::Running => self.pace.next_ns(),
            _ => None,
        };
        match due_ns {
            // A wait that is not punctual may end late by `ROUNDING_NS`, and so after the message is due.
            Some(due_ns) if due_ns < lazy_ns.saturating_add(ROUNDING_NS) => {
                let until_ns = due_ns.min(lazy_ns);
                let wait = until(until_ns);
                self.kernel
                    .poll_punctually(events, wait, self.common.lead_time)?;
                Ok(Wait {
                    planned_ns: until_ns,
                    may_sleep: wait > self.common.lead_time,
                })
            }
            _ => {
                self.kernel.poll(events, Some(until(lazy_ns)))?;
                Ok(Wait {
                    planned_ns: lazy_ns.saturating_add(ROUNDING_NS),
                    may_sleep: true,
                })
            }
        }
    }

    fn dispatch(&mut self, event: Event) {
        let Event {
            key: token,
            readiness,
        } = event;
        let key = key_of(token);
        let slot = self.slots.get(key).filter(|slot| slot.token == token);
        match slot.map(|slot| &slot.state) {
            Some(State::Connecting { .. }) => {
                self.check_attempt(key);
                // One event may report the handshake and the first data. Edge triggering reports that data only once.
                if readiness.readable {
                    self.receive(key, readiness.read_on);
                }
            }
            Some(State::Open { .. }) => {
                if readiness.readable {
                    self.receive(key, readiness.read_on);
                }
                if readiness.writable && self.slots[key].has_room(self.now_ns) {
                    self.send(key);
                }
            }
            // The event belongs to a stream that this driver has ended, or that was closed earlier in this turn.
            Some(State::New | State::Backoff { .. } | State::Gone) | None => {
                self.read_ending(token)
            }
        }
    }

    /// Reads until the receive queue is empty or the budget is used up, records complete echoes, then sends the
    /// messages that are due.
    #[inline(always)]
    fn receive(&mut self, key: usize, read_on: bool) {
        let mut budget = TURN_BUDGET;
        let check = (self.payload, self.common.plan.verify);
        loop {
            let State::Open { stream, .. } = &mut self.slots[key].state else {
                return;
            };
            let n = match attempt(|| stream.read(&mut self.scratch)) {
                IoOutcome::Moved(0) => return self.end_of_stream(key),
                IoOutcome::Moved(n) => n,
                IoOutcome::WouldBlock => break,
                IoOutcome::Failed(failure) => return self.read_failed(key, failure),
            };
            let queue_is_empty =
                n < self.scratch.len() && self.kernel.short_read_means_empty(stream) && !read_on;
            // The clock is read after each read. With one time for a batch of events, the last echo of the batch
            // would seem as fast as the first.
            let now_ns = self.read_clock();
            let slot = &mut self.slots[key];
            let recorder = &mut self.recorder;
            #[expect(
                clippy::indexing_slicing,
                reason = "a read returns at most the buffer's length"
            )]
            let bytes = &self.scratch[..n];
            let before = slot.exchange.outstanding();
            let ok = &mut slot.ok;
            let received = slot.exchange.received(bytes, now_ns, check, |echo| {
                *ok += u64::from(recorder.echo(&echo));
            });
            slot.unanswered_since_ns = u64::MAX;
            let echoes = before - slot.exchange.outstanding();
            if echoes > 0 {
                if before >= self.common.plan.pipeline {
                    slot.free_ns = now_ns;
                }
                self.in_flight -= echoes;
                (self.ended_ns, self.failing_ns) = (now_ns, u64::MAX);
            }
            match received {
                Received::Right => {}
                Received::Doubtful => slot.diagnose_ns = slot.diagnose_ns.min(now_ns + COLLECT_NS),
                Received::Wrong => return self.wrong_echo(key),
            }
            if queue_is_empty {
                break;
            }
            budget = budget.saturating_sub(n);
            if budget == 0 {
                // Edge triggering sends no further event for bytes that are already in the receive queue.
                self.run_queue.push(key);
                break;
            }
        }
        self.send(key);
    }

    /// Begins the messages that are due on a connection, and writes the bytes that the kernel accepts.
    #[inline(always)]
    fn send(&mut self, key: usize) {
        loop {
            // A message begins with the time right before its write.
            self.read_clock();
            let offers_all = self.begin(key);
            let slot = &mut self.slots[key];
            if !slot.is_writable() {
                return;
            }
            let outstanding = slot.exchange.outstanding();
            if outstanding == 0 && slot.exchange.messages() >= self.messages_a_connection() {
                return self.reconnect(key);
            }
            let slot = &mut self.slots[key];
            if slot.write_out(self.payload, &mut self.scratch) {
                self.run_queue.push(key);
            }
            // A message begins when its bytes are offered to the kernel. If more messages are due than one buffer
            // holds, the others begin after the write.
            if offers_all || outstanding >= self.common.plan.pipeline {
                return;
            }
        }
    }

    /// Begins the messages that are due, up to the pipeline's depth and up to the bytes of the next write. Returns
    /// false if the write was the limit.
    #[inline(always)]
    fn begin(&mut self, key: usize) -> bool {
        let now_ns = self.now_ns;
        let most = self.messages_a_connection();
        let plan = &self.common.plan;
        let slot = &mut self.slots[key];
        if !slot.is_writable() || slot.exchange.has_unexpected_bytes() {
            return true;
        }
        while slot.exchange.outstanding() < plan.pipeline && slot.exchange.messages() < most {
            if slot.exchange.waiting_bytes() >= slot.exchange.next_offer(self.scratch.len()) {
                return false;
            }
            match self.pace.take(slot.schedule.as_mut(), now_ns) {
                Next::Due(intended_ns) => {
                    let size = plan.sizes.draw(slot.exchange.rng());
                    slot.exchange.begin(size, intended_ns, now_ns);
                    self.recorder.sent(intended_ns, slot.free_ns, now_ns);
                    self.in_flight += 1;
                }
                Next::At(due_ns) => {
                    self.pace.wait(due_ns, key);
                    return true;
                }
                Next::Never => return true,
            }
        }
        true
    }

    /// How many messages a connection sends before a new connection replaces it.
    #[inline(always)]
    fn messages_a_connection(&self) -> u64 {
        self.common.plan.reconnect.unwrap_or(u64::MAX)
    }

    #[cold]
    fn end_of_stream(&mut self, key: usize) {
        let kind = match self.slots[key].is_broken() {
            true => FaultKind::Reset,
            false => FaultKind::Closed,
        };
        self.stream_failed(key, kind, None);
    }

    #[cold]
    fn read_failed(&mut self, key: usize, failure: IoFailure) {
        match failure {
            IoFailure::Other(kind) => {
                self.stream_failed(key, FaultKind::Socket, Some(kind.to_string()));
            }
            IoFailure::Reset => self.stream_failed(key, FaultKind::Reset, None),
        }
    }

    fn stream_failed(&mut self, key: usize, kind: FaultKind, detail: Option<String>) {
        self.read_clock();
        let exchange = &self.slots[key].exchange;
        let fault = match exchange.has_unexpected_bytes() {
            true => self.diagnosed(key),
            false => exchange.ended(kind),
        };
        let detail = detail.unwrap_or(fault.detail);
        self.fail(key, Fault { detail, ..fault });
    }

    #[cold]
    fn wrong_echo(&mut self, key: usize) {
        let fault = self.diagnosed(key);
        self.read_clock();
        self.fail(key, fault);
    }

    fn diagnosed(&self, key: usize) -> Fault {
        let connections = self.common.numbers.load(Ordering::Relaxed);
        self.slots[key]
            .exchange
            .diagnose(self.payload, connections.min(MOST_CONNECTIONS))
    }

    /// Closes an open connection after an error. A new connection replaces it after [`FAILED_BACKOFF_NS`].
    fn fail(&mut self, key: usize, fault: Fault) {
        let now_ns = self.now_ns;
        let exchange = &self.slots[key].exchange;
        self.dialing.remember(&fault);
        self.recorder
            .fault(fault, exchange.connection(), exchange.under_way(), now_ns);
        self.in_flight -= exchange.outstanding();
        self.open -= 1;
        self.recorder.down(now_ns, 1);
        self.ended_ns = now_ns;
        self.failing_ns = self.failing_ns.min(now_ns);
        let backoff = State::Backoff {
            until_ns: now_ns + FAILED_BACKOFF_NS,
            replaces: Replaces::Failed,
        };
        self.close(key, backoff);
    }

    /// Closes the stream of a slot, if it has one. Messages under way on it are lost.
    fn close(&mut self, key: usize, next: State<K::Stream>) {
        if let Some(mut stream) = self.slots[key].close(next) {
            self.kernel.deregister_stream(&mut stream);
        }
    }

    /// Dials the connections that are due: at most [`DIALS_A_TURN`], so that events do not wait long.
    fn dial_some(&mut self) {
        self.dialing.begin(self.now_ns);
        for _ in 0..DIALS_A_TURN {
            let Some(key) = self.dialing.take_next(self.now_ns) else {
                break;
            };
            self.dial(key);
        }
        if self.phase == Phase::Connecting && self.dialing.is_late(self.now_ns) {
            self.continue_with_open_connections();
        }
    }

    /// Ends the connecting phase after its time limit. The run continues with the connections that are open.
    fn continue_with_open_connections(&mut self) {
        for key in 0..self.slots.len() {
            if let State::Connecting { .. } = self.slots[key].state {
                self.attempt_timed_out(key);
            }
            if !self.slots[key].is_open() {
                self.slots[key].state = State::Gone;
            }
        }
        self.dialing.stop();
    }

    /// Ends a connection that has sent all its messages, and makes a new one.
    #[inline(never)]
    fn reconnect(&mut self, key: usize) {
        let slot = &self.slots[key];
        self.recorder
            .cycle(slot.connect_ns, slot.exchange.last_byte_ns());
        self.open -= 1;
        self.end_as_planned(key, State::New);
        self.redial(key);
    }

    /// Ends the client's stream of an open connection. The slot is free then.
    fn end_as_planned(&mut self, key: usize, next: State<K::Stream>) {
        if !self.common.plan.half_close {
            return self.close(key, next);
        }
        // At the end of the run no new connection needs the descriptor.
        if self.endings.is_full() && self.phase != Phase::Ending {
            self.recorder.end_not_checked();
            return self.close(key, next);
        }
        let slot = &mut self.slots[key];
        let Some(mut stream) = slot.leave(next) else {
            return;
        };
        // After a reset the call fails, and the next read returns the reset.
        let _ = stream.shut_down_writing();
        let token = slot.token;
        let exchange = std::mem::replace(&mut slot.exchange, Exchange::new(0, 0, 0));
        let until_ns = self.now_ns.saturating_add(self.ending_ns());
        self.endings
            .add(token, Ending { stream, exchange }, until_ns);
        // The receive queue may hold bytes that no event will report: the connection used up its budget.
        if self.run_queue.contains(&key) {
            self.read_ending(token);
        }
    }

    /// How long a connection waits for the end of the server's stream.
    fn ending_ns(&self) -> u64 {
        let longest_ns = match self.silence.grace_began_ns() {
            None if self.phase == Phase::Ending => SHORT_GRACE_NS,
            _ => ENDING_NS,
        };
        longest_ns.min(ns(self.common.plan.timeout))
    }

    /// Reads the rest of the server's stream on a connection whose own stream has ended.
    #[cold]
    fn read_ending(&mut self, token: usize) {
        let check = (self.payload, self.common.plan.verify);
        loop {
            let Some(ending) = self.endings.get_mut(token) else {
                return;
            };
            let end = match attempt(|| ending.stream.read(&mut self.scratch)) {
                IoOutcome::Moved(0) if ending.exchange.has_unexpected_bytes() => None,
                IoOutcome::Moved(0) => Some(ending.at_end_of_stream()),
                IoOutcome::Moved(n) => {
                    let (bytes, _) = self.scratch.split_at(n);
                    match ending.exchange.received(bytes, self.now_ns, check, |_| ()) {
                        Received::Right | Received::Doubtful => continue,
                        Received::Wrong => None,
                    }
                }
                IoOutcome::WouldBlock => return,
                IoOutcome::Failed(_) if ending.exchange.has_unexpected_bytes() => None,
                IoOutcome::Failed(_) => Some(ending.at_reset()),
            };
            let end = end.unwrap_or_else(|| self.diagnosed_ending(token));
            return self.ended(token, end);
        }
    }

    /// Handles a connection whose server has not ended its stream in time.
    fn ending_timed_out(&mut self, token: usize) {
        let is_wrong = self
            .endings
            .get_mut(token)
            .is_some_and(|ending| ending.exchange.has_unexpected_bytes());
        let end = match is_wrong {
            true => self.diagnosed_ending(token),
            false => End::NotEnded,
        };
        self.ended(token, end);
    }

    fn diagnosed_ending(&mut self, token: usize) -> End {
        let connections = self.common.numbers.load(Ordering::Relaxed);
        match self.endings.get_mut(token) {
            Some(ending) => End::Wrong(
                ending
                    .exchange
                    .diagnose(self.payload, connections.min(MOST_CONNECTIONS)),
            ),
            None => End::NotEnded,
        }
    }

    /// Closes a connection after its planned end, and counts the result.
    fn ended(&mut self, token: usize, end: End) {
        let Some(mut ending) = self.endings.remove(token) else {
            return;
        };
        self.kernel.deregister_stream(&mut ending.stream);
        match end {
            End::Verified => self.recorder.end_verified(),
            End::NotEnded => self.recorder.not_ended(),
            End::Wrong(fault) => {
                let now_ns = self.read_clock();
                let number = ending.exchange.connection();
                self.recorder
                    .fault(fault, number, std::iter::empty(), now_ns);
            }
        }
    }

    /// Dials again for a slot whose connection or attempt has ended.
    fn redial(&mut self, key: usize) {
        let is_ending = matches!(
            self.phase,
            Phase::Finishing(_) | Phase::Ending | Phase::Over
        );
        if is_ending || self.pace.is_used_up() {
            self.slots[key].state = State::Gone;
        } else {
            self.dial(key);
        }
    }

    fn dial(&mut self, key: usize) {
        self.read_clock();
        let number = self.common.numbers.fetch_add(1, Ordering::Relaxed) % MOST_CONNECTIONS;
        let plan = &self.common.plan;
        self.slots[key].exchange = Exchange::new(number, plan.seed, plan.pipeline);
        let token = self.slots[key].renew_token(key);
        // On a 32-bit system a slot has 128 tokens, and then they repeat. An earlier stream that still waits for the
        // server's end of stream under this token must be closed first.
        self.ended(token, End::NotEnded);
        let kernel = &mut self.kernel;
        let made = self
            .dialing
            .connect(kernel)
            .and_then(|(mut stream, began_ns)| {
                kernel.register_stream(&mut stream, token)?;
                Ok((stream, began_ns))
            });
        match made {
            Ok((stream, began_ns)) => {
                self.slots[key].connecting(stream, began_ns);
                self.dialing.attempt_began();
                // On loopback the handshake is over when connect(2) returns.
                self.check_attempt(key);
            }
            // EAGAIN from a Unix-domain socket: the server's backlog is full (connect(2)). TCP does not report this.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.back_off(key),
            Err(error) => self.attempt_failed(key, dialing::fault_of(&error)),
        }
    }

    /// Checks whether an attempt has succeeded or failed. An event is only a hint that it has.
    fn check_attempt(&mut self, key: usize) {
        let now_ns = self.read_clock();
        let State::Connecting { stream, .. } = &self.slots[key].state else {
            return;
        };
        let fault = match self.kernel.attempt(stream) {
            Attempt::Pending => return,
            Attempt::Made => return self.attempt_succeeded(key, now_ns),
            Attempt::Failed(error) => dialing::fault_of(&error),
            Attempt::ToItself => dialing::self_connect_fault(),
        };
        self.dialing.attempt_ended();
        self.attempt_failed(key, fault);
    }

    fn attempt_succeeded(&mut self, key: usize, now_ns: u64) {
        let Some(Opened { since_ns, replaces }) = self.slots[key].opened(now_ns) else {
            return;
        };
        self.dialing.attempt_ended();
        if replaces == Replaces::Failed {
            self.recorder.down(now_ns, -1);
        }
        self.open += 1;
        self.recorder.connected(since_ns, now_ns);
        self.send(key);
    }

    fn attempt_timed_out(&mut self, key: usize) {
        self.dialing.attempt_ended();
        let timeout = self.common.plan.timeout;
        self.attempt_failed(key, dialing::timeout_fault(timeout));
    }

    /// Counts a failed attempt. A new attempt follows after [`ATTEMPT_BACKOFF_NS`].
    fn attempt_failed(&mut self, key: usize, fault: Fault) {
        let is_first = self.phase == Phase::Connecting && self.open == 0;
        if is_first && fault.kind != FaultKind::SelfConnect {
            // No connection is open yet, so further attempts are expected to fail in the same way.
            self.dialing.remember_as_fatal(&fault);
        }
        self.dialing.remember(&fault);
        self.failing_ns = self.failing_ns.min(self.now_ns);
        let number = self.slots[key].exchange.connection();
        self.recorder
            .fault(fault, number, std::iter::empty(), self.now_ns);
        self.back_off(key);
    }

    /// Closes the attempt. A new one follows after [`ATTEMPT_BACKOFF_NS`].
    fn back_off(&mut self, key: usize) {
        let backoff = State::Backoff {
            until_ns: self.now_ns + ATTEMPT_BACKOFF_NS,
            replaces: self.slots[key].replaces(),
        };
        self.close(key, backoff);
    }

    /// Handles the timeouts of one slot.
    fn check_timeouts(&mut self, key: usize) {
        let now_ns = self.now_ns;
        let timeout_ns = ns(self.common.plan.timeout);
        let slot = &self.slots[key];
        match slot.state {
            State::Backoff { until_ns, .. } if now_ns >= until_ns => self.redial(key),
            State::Connecting { since_ns, .. } if now_ns >= since_ns + timeout_ns => {
                self.attempt_timed_out(key);
            }
            State::Open { .. } if now_ns >= slot.diagnose_ns => {
                let fault = self.diagnosed(key);
                self.fail(key, fault);
            }
            State::Open { .. } if self.late(key).is_some() => {
                self.receive(key, true);
                match self.late(key) {
                    Some(Late::TimedOut) => self.timed_out(key),
                    Some(Late::Silent(since_ns)) => self.report_silence(key, since_ns),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Returns whether an echo is late on this connection.
    fn late(&self, key: usize) -> Option<Late> {
        self.silence.late(&self.slots[key], self.now_ns)
    }

    /// Fails a connection whose oldest message is older than the timeout.
    fn timed_out(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.mark_unanswered();
        let fault = if slot.exchange.has_unexpected_bytes() {
            self.diagnosed(key)
        } else {
            self.silence.timeout(&slot.exchange, self.now_ns)
        };
        self.fail(key, fault);
    }

    /// Counts a silence as an error. The connection stays open.
    fn report_silence(&mut self, key: usize, since_ns: u64) {
        let slot = &mut self.slots[key];
        slot.reported_silence_ns = since_ns;
        let fault = slot.exchange.silent(self.now_ns.saturating_sub(since_ns));
        let number = slot.exchange.connection();
        self.recorder
            .fault(fault, number, std::iter::empty(), self.now_ns);
    }

    fn report_intervals(&mut self) {
        if self.now_ns >= self.recorder.current_end_ns() {
            self.recorder.end_intervals(self.now_ns);
        }
        for interval in self.recorder.finished(self.open) {
            let _ = self.updates.send(Update::Interval(interval));
        }
    }

    /// Moves the run to the next phase when it is time.
    fn advance_phase(&mut self) -> Result<(), DriveError> {
        match self.phase {
            Phase::Connecting => self.become_ready()?,
            Phase::Ready if self.now_ns >= self.common.barrier.start_ns() => self.start(),
            Phase::Running => self.end_if_due(),
            Phase::Finishing(until_ns) if self.in_flight == 0 || self.now_ns >= until_ns => {
                self.count_the_rest();
                self.end_all_streams();
            }
            Phase::Ending if self.endings.is_empty() => self.phase = Phase::Over,
            Phase::Ready | Phase::Finishing(_) | Phase::Ending | Phase::Over => {}
        }
        Ok(())
    }

    /// Begins to wait for the other drivers, once this one has made all connections that it can make.
    fn become_ready(&mut self) -> Result<(), DriveError> {
        self.report_open();
        if !self.dialing.is_done() || !self.slots.iter().all(Slot::is_ready_for_the_start) {
            return Ok(());
        }
        if self.open == 0 {
            let last = self.dialing.take_last_fault();
            return Err(DriveError::Unreachable(last));
        }
        self.phase = Phase::Ready;
        let now_ns = self.read_clock();
        let arrived = self.common.barrier.arrive(now_ns);
        if arrived.map_err(DriveError::TooLate)? {
            self.common.stopper.wake();
        }
        let _ = self.updates.send(Update::Ready);
        Ok(())
    }

    fn report_open(&mut self) {
        let more = self.open.saturating_sub(self.reported_open);
        if more >= REPORT_EVERY || more > 0 && self.open == self.slots.len() {
            self.reported_open = self.open;
            let _ = self.updates.send(Update::Opened(more));
        }
    }

    fn start(&mut self) {
        let schedule_ns = self.common.barrier.start_ns();
        let plan = &self.common.plan;
        let start_ns = schedule_ns + ns(plan.warmup);
        let end_ns = match plan.until {
            Until::Elapsed(duration) => start_ns + ns(duration),
            Until::Count(_) => u64::MAX,
        };
        let window = Window {
            schedule_ns,
            start_ns,
            end_ns,
        };
        self.recorder.open(window, self.open as u64);
        self.pace.start(schedule_ns, end_ns);
        self.phase = Phase::Running;
        self.ended_ns = self.now_ns;
        for key in 0..self.slots.len() {
            self.send(key);
        }
    }

    fn end_if_due(&mut self) {
        if self.presence.has_not_begun() && self.now_ns >= self.recorder.start_ns() {
            self.read_presence();
        }
        let plan = &self.common.plan;
        let timeout_ns = ns(plan.timeout);
        let grace_ns = timeout_ns.min(GRACE_NS);
        let end_ns = match plan.until {
            Until::Elapsed(_) => self.recorder.end_ns(),
            Until::Count(_) if self.pace.is_used_up() && self.in_flight == 0 => self.ended_ns,
            // For twice the timeout there were errors and no echo, so no further echo is expected.
            Until::Count(_) if self.now_ns > self.failing_ns.saturating_add(2 * timeout_ns) => {
                self.now_ns
            }
            Until::Count(_) => return,
        };
        if self.now_ns >= end_ns {
            // The last message of a count came back exactly at `end_ns`. The window ends 1 ns later, so that it is
            // inside.
            let within = u64::from(matches!(plan.until, Until::Count(_)));
            self.silence.grace_begins(self.now_ns);
            self.end(end_ns + within, grace_ns);
        }
    }

    /// Ends the run because the stopper was used.
    fn stop(&mut self) -> Result<(), DriveError> {
        match self.phase {
            Phase::Connecting | Phase::Ready => Err(DriveError::Stopped),
            Phase::Running => {
                // A message may have begun exactly now. The window ends 1 ns later, so that it is inside.
                self.end(self.now_ns + 1, SHORT_GRACE_NS);
                Ok(())
            }
            Phase::Finishing(_) | Phase::Ending | Phase::Over => Ok(()),
        }
    }

    /// Ends the window at `end_ns`. Then waits at most `grace_ns` for the messages under way.
    fn end(&mut self, end_ns: u64, grace_ns: u64) {
        self.read_presence();
        self.pace.end(end_ns);
        self.recorder.close(end_ns);
        self.phase = Phase::Finishing(self.now_ns + grace_ns);
    }

    /// Ends a period of the account of this thread's time.
    fn read_presence(&mut self) {
        let period = self.presence.read(self.now_ns, self.kernel.thread_times());
        if let Some(period) = period {
            self.recorder.period(period);
        }
    }

    /// Counts the messages that have not come back.
    fn count_the_rest(&mut self) {
        self.judge_all_at_the_end();
        let now_ns = self.now_ns;
        let recorder = &mut self.recorder;
        for slot in self.slots.iter_mut() {
            for message in slot.exchange.under_way() {
                recorder.unfinished(&message, now_ns);
            }
            self.pace.left_over(slot.schedule.as_mut(), |due_ns| {
                recorder.unsent(due_ns, now_ns);
            });
        }
    }

    /// Judges all connections, now that no more bytes are expected.
    fn judge_all_at_the_end(&mut self) {
        for key in 0..self.slots.len() {
            if self.slots[key].exchange.outstanding() > 0 {
                self.receive(key, true);
            }
            self.judge_at_the_end(key);
        }
        self.read_clock();
        self.count_silent_connections();
    }

    /// Fails a connection whose echo is wrong: unexpected bytes have come, or an echo broke off.
    fn judge_at_the_end(&mut self, key: usize) {
        let slot = &self.slots[key];
        if !slot.is_open() {
            return;
        }
        let fault = if slot.exchange.has_unexpected_bytes() {
            Some(self.diagnosed(key))
        } else {
            self.silence.fault_at_the_end(&slot.exchange, self.now_ns)
        };
        if let Some(fault) = fault {
            self.fail(key, fault);
        }
    }

    /// Counts the connections that are silent at the end.
    fn count_silent_connections(&mut self) {
        let (mut silent, mut last_ns) = (0, 0);
        let slowest_ns = self.recorder.slowest_service_ns();
        for key in 0..self.slots.len() {
            if let Some(Late::Silent(since_ns)) = self.late(key) {
                self.report_silence(key, since_ns);
            }
            let slot = &self.slots[key];
            let since_ns = self
                .silence
                .silent_at_the_end(slot, slowest_ns, self.now_ns);
            silent += u64::from(since_ns.is_some());
            last_ns = last_ns.max(since_ns.unwrap_or(0));
        }
        self.recorder.silent_at_the_end(silent, last_ns);
    }

    /// Ends the streams of all open connections, and closes the others.
    fn end_all_streams(&mut self) {
        if !self.common.plan.half_close {
            self.phase = Phase::Over;
            return;
        }
        self.phase = Phase::Ending;
        for key in 0..self.slots.len() {
            match self.slots[key].is_open() {
                true => self.end_as_planned(key, State::Gone),
                false => self.close(key, State::Gone),
            }
        }
        if self.endings.is_empty() {
            self.phase = Phase::Over;
        }
    }

    /// Returns the recording.
    fn finish(mut self) -> Recording {
        let shares = self.slots.iter().map(|slot| slot.ok).collect();
        for interval in self.recorder.finished(self.open) {
            let _ = self.updates.send(Update::Interval(interval));
        }
        self.recorder.finish(shares, self.presence.totals())
    }

    #[inline(always)]
    fn read_clock(&mut self) -> u64 {
        self.now_ns = self.kernel.now_ns();
        self.now_ns
    }
}

/// A wait for events that is over.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// The latest time at which the wait should have ended; `u64::MAX` if it did not wait because of other work.
    planned_ns: u64,
    /// Whether the thread may have slept.
    may_sleep: bool,
}

impl Wait {
    fn polling(planned_ns: u64) -> Wait {
        Wait {
            planned_ns,
            may_sleep: false,
        }
    }
}

/// Chooses a tenth of the slots at each tick, for the check of their timeouts. A check of thousands of slots at once
/// would make messages late.
#[derive(Debug)]
struct Ticker {
    /// The time of the next tick.
    next_ns: u64,
    /// The time between two ticks.
    tick_ns: u64,
    /// The first slot of the next tick.
    cursor: usize,
}

impl Ticker {
    fn new(timeout: Duration) -> Ticker {
        Ticker {
            next_ns: 0,
            tick_ns: (ns(timeout) / 100).clamp(SHORTEST_TICK_NS, LONGEST_TICK_NS),
            cursor: 0,
        }
    }

    /// Returns the keys of the slots to check now: none between two ticks.
    fn due(&mut self, now_ns: u64, slots: usize) -> Range<usize> {
        if now_ns < self.next_ns {
            return 0..0;
        }
        self.next_ns = now_ns + self.tick_ns;
        let start = self.cursor;
        let end = (start + slots.div_ceil(10)).min(slots);
        self.cursor = if end == slots { 0 } else { end };
        start..end
    }
}

/// Returns how many connections may wait for the server's end of stream at the same time: as many as are open, if half
/// of the free descriptors are enough for them. The other half is for the server's ends, if the server is in this
/// process.
fn most_endings(plan: &Plan) -> usize {
    let room = descriptors::room_for_connections(0).saturating_sub(plan.connections) / 2;
    let wanted = plan.connections.max(FEWEST_ENDINGS);
    wanted.min(room) / plan.threads
}

/// The most bytes of one write, and of one read. They stay in the processor's second-level cache.
const SCRATCH: usize = 64 * 1024;

/// How many bytes one connection may read in one turn. Without this limit, a connection whose server sends without end
/// would starve the others.
const TURN_BUDGET: usize = 256 * 1024;

/// How long the driver collects more bytes after an unexpected one, before the diagnosis. More bytes make the
/// diagnosis more exact.
const COLLECT_NS: u64 = 100_000_000;

/// How late a poll that is not punctual may end. Its timeout is rounded up to milliseconds, and the kernel adds the
/// timer slack (50 µs: prctl(2), `PR_SET_TIMERSLACK`).
const ROUNDING_NS: u64 = 1_100_000;

/// A poll that takes longer than this has waited for events. A shorter poll that returns events counts as work, not as
/// idle time.
const A_POLL_NS: u64 = 20_000;

/// The most connections that are dialled in one turn. With more, the events of open connections would wait too long.
const DIALS_A_TURN: usize = 32;

/// The time from the failure of an open connection to the next attempt. Without it, a server that closes each
/// connection at once would get attempts without a pause.
const FAILED_BACKOFF_NS: u64 = 100_000_000;

/// The time from a failed attempt to the next one.
const ATTEMPT_BACKOFF_NS: u64 = 50_000_000;

/// Limits of the time between two ticks, which is a hundredth of the timeout. Ten ticks check every slot once. So the
/// driver notices a timeout at most ten ticks late: a tenth of the timeout, but at least 10 ms and at most 100 ms.
const SHORTEST_TICK_NS: u64 = 1_000_000;
const LONGEST_TICK_NS: u64 = 10_000_000;

/// How long the driver waits at the end for messages under way, if the timeout is not shorter. Messages that have not
/// come back by then are reported as unfinished, with their age.
const GRACE_NS: u64 = 1_000_000_000;

/// The same after a stop. It is shorter because the user waits for the end.
const SHORT_GRACE_NS: u64 = 100_000_000;

/// How long a connection waits for the end of the server's stream after its own, if the timeout is not shorter. After a
/// stop it waits only [`SHORT_GRACE_NS`].
const ENDING_NS: u64 = 1_000_000_000;

/// Even a plan of one connection may have this number of connections that wait for the server's end of stream.
const FEWEST_ENDINGS: usize = 64;

/// While connections are made, each [`Update::Opened`] reports at least this many of them; the last one may report
/// fewer.
const REPORT_EVERY: usize = 100;

//! The load generator's loop: poll → talk → call who is due → dial → tick.
//!
//! One thread's share of a run. It alone registers, dials, times and closes; the exchange, the pace and the recorder
//! only answer. Unlike the server's loop it reads the clock again after each read and before each message: the times
//! are the product here.

mod dialing;
mod slot;
mod talking;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::diagnosis::{Fault, FaultKind};
use super::exchange::{Exchange, Verify};
use super::pace::Pace;
use super::payload::{MOST_CONNECTIONS, Payload};
use super::plan::{Plan, Until};
use super::recorder::{Interval, Recorder, Recording, Window};
use super::schedule::Schedule;
use super::stopper::{StartingGun, Stopper};
use crate::connect::Target;
use crate::poller::{Event, MioPoller, Poller, thread_processor_time};
use dialing::Dialing;
use slot::{Slot, State};

/// What all drivers of a run share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) plan: Arc<Plan>,
    pub(super) target: Target,
    /// What all times are counted from.
    pub(super) epoch: Instant,
    pub(super) gun: Arc<StartingGun>,
    pub(super) stopper: Stopper,
    /// How many connections have been dialled: the next one's number.
    pub(super) numbers: Arc<AtomicU32>,
}

/// What a driver tells while it runs.
#[derive(Debug)]
pub(super) enum Update {
    /// So many more connections are open.
    Opened(usize),
    /// All that could be made are made; the schedule may start.
    Ready,
    /// A second is over.
    Interval(Interval),
    /// It has ended.
    Over(Box<Result<Recording, DriveError>>),
}

/// Why a driver measured nothing.
#[derive(Debug)]
pub(super) enum DriveError {
    /// No connection could be made.
    Unreachable(Fault),
    /// Somebody asked for an end before the schedule started.
    Stopped,
    /// The selector failed.
    Poll(io::Error),
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections are being made.
    Connecting,
    /// They are made, and the other threads may not be as far.
    Ready,
    /// Messages are sent.
    Running,
    /// Nothing is sent any more, and until then echoes are awaited.
    Draining(u64),
    /// Nothing is owed, or waiting has no end.
    Over,
}

/// One thread's share of a run.
pub(super) struct Driver {
    common: Common,
    poller: MioPoller,
    payload: Payload,
    /// What is being sent, or was just read.
    scratch: Vec<u8>,
    slots: Vec<Slot>,
    dialing: Dialing,
    pace: Pace,
    recorder: Recorder,
    updates: Sender<Update>,
    phase: Phase,
    /// The last time that was read.
    now_ns: u64,
    /// Messages under way.
    in_flight: usize,
    open: usize,
    told_open: usize,
    /// Who has more to read than a turn had room for.
    ready: Vec<usize>,
    tick_ns: u64,
    /// Where the next tick goes on looking at the slots.
    cursor: usize,
    /// How long before a message is due to be awake.
    awake: Duration,
    /// When something last came back, or was made.
    progress_ns: u64,
    /// Processor time at the start of the window, once that has come.
    cpu_start: Option<Duration>,
    cpu: Duration,
}

impl Driver {
    /// The share of thread `thread`, 0 being the first.
    ///
    /// # Errors
    /// Those of the selector.
    pub(super) fn new(
        common: Common,
        thread: usize,
        updates: Sender<Update>,
    ) -> io::Result<Driver> {
        let poller = MioPoller::new()?;
        common.stopper.add(poller.waker()?);
        let plan = common.plan.clone();
        let (all, threads) = (plan.connections as u64, plan.threads);
        let slots = (thread as u64..all)
            .step_by(threads)
            .map(|index| {
                let schedule = plan
                    .rate
                    .map(|rate| Schedule::new(plan.arrivals, rate, index, all, plan.seed));
                Slot::new(schedule)
            })
            .collect();
        let remaining = match plan.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Count(n) => n / threads as u64 + u64::from((thread as u64) < n % threads as u64),
        };
        Ok(Driver {
            poller,
            payload: Payload::new(plan.seed),
            scratch: vec![0; SCRATCH],
            slots,
            dialing: Dialing::new(&plan, &common.target),
            pace: Pace::new(remaining),
            recorder: Recorder::new(plan.rate.is_some()),
            updates,
            phase: Phase::Connecting,
            now_ns: 0,
            in_flight: 0,
            open: 0,
            told_open: 0,
            ready: Vec::new(),
            tick_ns: 0,
            cursor: 0,
            awake: awake(threads),
            progress_ns: 0,
            cpu_start: None,
            cpu: Duration::ZERO,
            common,
        })
    }

    /// Does its share, and tells of it.
    pub(super) fn run(mut self) {
        let updates = self.updates.clone();
        let outcome = self.drive().map(|()| self.finish());
        // Whoever does not listen any more does not want it.
        let _ = updates.send(Update::Over(Box::new(outcome)));
    }

    fn drive(&mut self) -> Result<(), DriveError> {
        let mut events = Vec::new();
        while self.phase != Phase::Over {
            let waiting_ns = self.now_ns;
            self.wait(&mut events).map_err(DriveError::Poll)?;
            let woken_ns = self.read_clock();
            if events.is_empty() || woken_ns - waiting_ns > A_POLL_NS {
                self.recorder.idle(waiting_ns, woken_ns);
            }
            for event in &events {
                self.handle(*event);
            }
            for key in std::mem::take(&mut self.ready) {
                self.receive(key, true);
            }
            while let Some(key) = self.pace.pop(self.now_ns) {
                self.slots[key].queued = false;
                self.refill(key);
            }
            self.recorder.turn(self.now_ns - woken_ns);
            self.manage()?;
        }
        Ok(())
    }

    /// Waits for events: punctually if a message is due next, or the start.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let now_ns = self.now_ns;
        let until = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(now_ns));
        if !self.ready.is_empty() || self.may_dial_now() {
            return self.poller.poll(events, Some(Duration::ZERO));
        }
        let lazy_ns = match self.phase {
            Phase::Draining(until_ns) => self.tick_ns.min(until_ns),
            _ => self.tick_ns.min(self.recorder.current_end_ns()),
        };
        let lazy_ns = lazy_ns.min(self.next_dial_ns());
        let due_ns = match self.phase {
            Phase::Ready => Some(self.common.gun.start_ns()),
            Phase::Running => self.pace.next_ns(),
            _ => None,
        };
        match due_ns {
            Some(due_ns) if due_ns < lazy_ns => {
                let wait = until(due_ns);
                self.poller.poll_punctually(events, wait, self.awake)
            }
            _ => self.poller.poll(events, Some(until(lazy_ns))),
        }
    }

    fn handle(&mut self, event: Event) {
        let Some(slot) = self.slots.get_mut(event.key) else {
            return;
        };
        match slot.state {
            State::Dialing { .. } => self.look_at_dial(event.key),
            State::Open => {
                if event.readiness.readable {
                    self.receive(event.key, event.readiness.read_on);
                }
                if event.readiness.writable && self.slots[event.key].no_room {
                    self.slots[event.key].no_room = false;
                    self.refill(event.key);
                }
            }
            // An event of a stream that has been closed since.
            State::Unborn | State::Resting { .. } | State::Gone => {}
        }
    }

    /// All that is not a message: dials, phases, timeouts, what is told.
    fn manage(&mut self) -> Result<(), DriveError> {
        self.dial_some();
        if let Some(fault) = self.dialing.take_fatal() {
            return Err(DriveError::Unreachable(fault));
        }
        if self.now_ns >= self.recorder.current_end_ns() {
            self.recorder.pass(self.now_ns);
        }
        for interval in self.recorder.finished(self.open) {
            let _ = self.updates.send(Update::Interval(interval));
        }
        if self.common.stopper.ends_this_run() {
            self.stop()?;
        }
        if self.now_ns >= self.tick_ns {
            self.tick();
        }
        match self.phase {
            Phase::Connecting => self.look_whether_ready()?,
            Phase::Ready => self.look_whether_to_start(),
            Phase::Running => self.look_whether_to_end(),
            Phase::Draining(until_ns) if self.in_flight == 0 || self.now_ns >= until_ns => {
                self.phase = Phase::Over;
            }
            Phase::Draining(_) | Phase::Over => {}
        }
        Ok(())
    }

    fn look_whether_ready(&mut self) -> Result<(), DriveError> {
        self.tell_open();
        let settled = |slot: &Slot| matches!(slot.state, State::Open | State::Gone);
        if !self.dialing.all_dialled(self.slots.len()) || !self.slots.iter().all(settled) {
            return Ok(());
        }
        if self.open == 0 {
            let last = self.dialing.last_fault();
            return Err(DriveError::Unreachable(last));
        }
        self.phase = Phase::Ready;
        let _ = self.updates.send(Update::Ready);
        Ok(())
    }

    fn look_whether_to_start(&mut self) {
        let schedule_ns = self.common.gun.start_ns();
        if self.now_ns < schedule_ns {
            return;
        }
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
        self.progress_ns = self.now_ns;
        for key in 0..self.slots.len() {
            self.refill(key);
        }
    }

    fn look_whether_to_end(&mut self) {
        if self.cpu_start.is_none() && self.now_ns >= self.recorder.start_ns() {
            self.cpu_start = Some(thread_processor_time());
            // What came back in the warm-up is nobody's share of what is measured.
            self.slots.iter_mut().for_each(|slot| slot.ok = 0);
        }
        let plan = &self.common.plan;
        let timeout_ns = ns(plan.timeout);
        let grace_ns = timeout_ns.min(GRACE_NS);
        let end_ns = match plan.until {
            Until::Elapsed(_) => self.recorder.end_ns(),
            Until::Count(_) if self.pace.is_used_up() && self.in_flight == 0 => self.progress_ns,
            // Nothing has come back for so long that nothing will.
            Until::Count(_) if self.now_ns > self.progress_ns + 2 * timeout_ns => self.now_ns,
            Until::Count(_) => return,
        };
        if self.now_ns >= end_ns {
            // The last of so many messages came back at that very moment, and is within the window.
            let within = u64::from(matches!(plan.until, Until::Count(_)));
            self.end(end_ns + within, grace_ns);
        }
    }

    /// Nothing is due from `end_ns` on.
    fn end(&mut self, end_ns: u64, grace_ns: u64) {
        let now = thread_processor_time();
        self.cpu = now.saturating_sub(self.cpu_start.unwrap_or(now));
        self.pace.end(end_ns);
        self.recorder.close(end_ns);
        self.phase = Phase::Draining(self.now_ns + grace_ns);
    }

    fn stop(&mut self) -> Result<(), DriveError> {
        match self.phase {
            Phase::Connecting | Phase::Ready => Err(DriveError::Stopped),
            Phase::Running => {
                self.end(self.now_ns, SHORT_GRACE_NS);
                Ok(())
            }
            Phase::Draining(_) | Phase::Over => Ok(()),
        }
    }

    /// Looks at a tenth of the slots: thousands at once would make a message late.
    fn tick(&mut self) {
        let timeout_ns = ns(self.common.plan.timeout);
        self.tick_ns = self.now_ns + (timeout_ns / 100).clamp(SHORTEST_TICK_NS, LONGEST_TICK_NS);
        let end = (self.cursor + self.slots.len().div_ceil(10)).min(self.slots.len());
        for key in self.cursor..end {
            self.look_at_time(key, timeout_ns);
        }
        self.cursor = if end == self.slots.len() { 0 } else { end };
    }

    fn look_at_time(&mut self, key: usize, timeout_ns: u64) {
        let now_ns = self.now_ns;
        let slot = &self.slots[key];
        match slot.state {
            State::Resting { until_ns } if now_ns >= until_ns => self.redial(key),
            State::Dialing { since_ns } if now_ns >= since_ns + timeout_ns => {
                self.dial_timed_out(key)
            }
            State::Open if now_ns >= slot.doubt_ns => {
                let fault = self.diagnosed(key);
                self.fail(key, fault);
            }
            State::Open => {
                let oldest_ns = slot.exchange.oldest_ns().unwrap_or(u64::MAX);
                if now_ns.saturating_sub(timeout_ns) >= oldest_ns {
                    let fault = slot.exchange.ended(FaultKind::Timeout);
                    self.fail(key, fault);
                }
            }
            _ => {}
        }
    }

    /// Closes a connection for an error, and has it made anew after a rest.
    fn fail(&mut self, key: usize, fault: Fault) {
        let slot = &mut self.slots[key];
        let lost = slot.exchange.outstanding();
        let connection = slot.exchange.connection();
        let now_ns = self.now_ns;
        self.recorder
            .fault(fault, connection, slot.exchange.under_way_ns(), now_ns);
        self.in_flight -= lost;
        self.open -= 1;
        self.close(key);
        self.slots[key].state = State::Resting {
            until_ns: now_ns + REST_NS,
        };
    }

    /// Closes a stream; what it had under way is gone.
    fn close(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if let Some(mut stream) = slot.stream.take() {
            self.poller.forget_stream(&mut stream);
        }
        slot.reset(self.now_ns);
        slot.exchange = Exchange::new(0, 0, 0);
    }

    fn diagnosed(&self, key: usize) -> Fault {
        let connections = self.common.numbers.load(Ordering::Relaxed);
        self.slots[key]
            .exchange
            .diagnose(self.payload, connections.min(MOST_CONNECTIONS))
    }

    fn tell_open(&mut self) {
        let more = self.open.saturating_sub(self.told_open);
        if more >= TELL_EVERY || more > 0 && self.open == self.slots.len() {
            self.told_open = self.open;
            let _ = self.updates.send(Update::Opened(more));
        }
    }

    #[inline(always)]
    fn read_clock(&mut self) -> u64 {
        self.now_ns = ns(self.poller.now().duration_since(self.common.epoch));
        self.now_ns
    }

    fn verify(&self) -> Verify {
        self.common.plan.verify
    }

    fn finish(mut self) -> Recording {
        let now_ns = self.now_ns;
        for slot in &mut self.slots {
            for (intended_ns, begun_ns) in slot.exchange.under_way_ns() {
                self.recorder.unfinished(intended_ns, begun_ns, now_ns);
            }
            let recorder = &mut self.recorder;
            self.pace.left_over(slot.schedule.as_mut(), |due_ns| {
                recorder.unsent(due_ns, now_ns);
            });
        }
        let shares = self.slots.iter().map(|slot| slot.ok).collect();
        for interval in self.recorder.finished(self.open) {
            let _ = self.updates.send(Update::Interval(interval));
        }
        self.recorder.finish(shares, ns(self.cpu))
    }
}

/// How long before a message is due a driver is to be awake. A timer may fire late by its slack of 50 µs (prctl(2),
/// `PR_SET_TIMERSLACK`), and an idle processor takes its time to wake up: tens of microseconds, or milliseconds where it
/// is virtual and somebody else has been given the real one. Whoever polls all the time has none of that, and needs a
/// processor for each thread, with one left for the others.
fn awake(threads: usize) -> Duration {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match threads < processors {
        true => Duration::from_millis(1),
        false => Duration::from_micros(100),
    }
}

fn ns(duration: Duration) -> u64 {
    duration
        .as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(duration.subsec_nanos()))
}

/// One write's and one read's most. It stays in the processor's second-level cache.
const SCRATCH: usize = 64 * 1024;

/// A poll that takes longer has waited; a shorter one that found something has only been a call.
const A_POLL_NS: u64 = 20_000;

/// How long to wait at the end for what is under way, if the timeout is not shorter; what has not come back by then is
/// reported as unfinished, with its age.
const GRACE_NS: u64 = 1_000_000_000;

/// The same after a stop: somebody waits.
const SHORT_GRACE_NS: u64 = 100_000_000;

/// How long a connection that failed rests before it is made anew: a server that fails at once is not to be stormed.
const REST_NS: u64 = 100_000_000;

/// Ten ticks look at every slot once, so timeouts are late by 100 ms at most, or by a tenth of a short one.
const SHORTEST_TICK_NS: u64 = 1_000_000;
const LONGEST_TICK_NS: u64 = 10_000_000;

const TELL_EVERY: usize = 100;

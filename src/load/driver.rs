//! The load generator's loop: poll → talk → call who is due → dial → tick.
//!
//! One thread's share of a run. It alone registers, dials, times and closes; the exchange, the pace and the recorder
//! only answer. Unlike the server's loop it reads the clock again after each read and before each message: the times
//! are the product here.

mod dialing;
mod phases;
mod slot;
mod talking;
mod watching;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::diagnosis::Fault;
use super::exchange::Verify;
use super::pace::Pace;
use super::payload::Payload;
use super::plan::{Plan, Until};
use super::recorder::Recorder;
use super::recording::{Interval, Recording};
use super::schedule::Schedule;
use super::stopper::{StartingGun, Stopper};
use crate::clock::Clock;
use crate::connect::Target;
use crate::poller::{Event, MioPoller, Poller};
use dialing::Dialing;
use slot::{Slot, State};

/// What all drivers of a run share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) plan: Arc<Plan>,
    pub(super) target: Target,
    /// What all times are read from.
    pub(super) clock: Clock,
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
    /// When a message last came to its end, a good one or not.
    ended_ns: u64,
    /// Since when there have been errors and no echo.
    failing_ns: u64,
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
            // Dealt out to the connections in turn, as a schedule deals them out.
            Until::Count(n) => (thread as u64..all)
                .step_by(threads)
                .map(|index| n.saturating_sub(index).div_ceil(all))
                .sum(),
        };
        Ok(Driver {
            poller,
            payload: Payload::new(plan.seed),
            scratch: vec![0; SCRATCH],
            slots,
            dialing: Dialing::new(&plan, &common.target, thread),
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
            ended_ns: 0,
            failing_ns: u64::MAX,
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
            let planned_ns = self.wait(&mut events).map_err(DriveError::Poll)?;
            let woken_ns = self.read_clock();
            if events.is_empty() || woken_ns - waiting_ns > A_POLL_NS {
                self.recorder.idle(waiting_ns, woken_ns.min(planned_ns));
            }
            for event in &events {
                self.handle(*event);
            }
            for key in std::mem::take(&mut self.ready) {
                self.receive(key, true);
            }
            // Who falls due meanwhile has the next turn: above what can be sent somebody always does.
            while let Some(key) = self.pace.pop(woken_ns) {
                self.slots[key].queued = false;
                self.refill(key);
            }
            // From when it should have woken up: a loop that is not given a processor does not see it otherwise.
            self.recorder.turn(self.now_ns - woken_ns.min(planned_ns));
            self.manage()?;
        }
        Ok(())
    }

    /// Waits for events: punctually if a message is due next, or the start. Returns until when it was to wait at most.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<u64> {
        let now_ns = self.now_ns;
        let until = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(now_ns));
        if self.common.plan.never_sleep && self.phase == Phase::Running {
            // It is over at once: whatever is longer is time in which the processor was somebody else's.
            self.poller.poll(events, Some(Duration::ZERO))?;
            return Ok(now_ns.saturating_add(A_POLL_NS));
        }
        if !self.ready.is_empty() || self.may_dial_now() {
            self.poller.poll(events, Some(Duration::ZERO))?;
            return Ok(u64::MAX);
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
            // A lazy wait that ends shortly before would be rounded up to beyond it.
            Some(due_ns) if due_ns < lazy_ns.saturating_add(ROUNDING_NS) => {
                let until_ns = due_ns.min(lazy_ns);
                let wait = until(until_ns);
                self.poller.poll_punctually(events, wait, self.awake)?;
                Ok(until_ns)
            }
            _ => {
                self.poller.poll(events, Some(until(lazy_ns)))?;
                Ok(lazy_ns.saturating_add(ROUNDING_NS))
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let Some(slot) = self.slots.get_mut(event.key) else {
            return;
        };
        match slot.state {
            State::Dialing { .. } => {
                self.look_at_dial(event.key);
                // What came with the handshake is announced with it, and not again.
                if event.readiness.readable && self.slots[event.key].state == State::Open {
                    self.receive(event.key, event.readiness.read_on);
                }
            }
            State::Open => {
                if event.readiness.readable {
                    self.receive(event.key, event.readiness.read_on);
                }
                if event.readiness.writable && self.slots[event.key].no_room {
                    self.slots[event.key].no_room = false;
                    self.slots[event.key].free_ns = self.now_ns;
                    self.refill(event.key);
                }
            }
            // An event of a stream that has been closed since.
            State::Unborn | State::Resting { .. } | State::Gone => {}
        }
    }

    #[inline(always)]
    fn read_clock(&mut self) -> u64 {
        self.now_ns = self.common.clock.ns();
        self.now_ns
    }

    fn verify(&self) -> Verify {
        self.common.plan.verify
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
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

/// One write's and one read's most. It stays in the processor's second-level cache.
const SCRATCH: usize = 64 * 1024;

/// How much later than asked for a lazy poll may end: it counts in milliseconds, and wakes up with the timer's slack.
const ROUNDING_NS: u64 = 1_100_000;

/// A poll that takes longer has waited; a shorter one that found something has only been a call.
const A_POLL_NS: u64 = 20_000;

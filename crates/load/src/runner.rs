//! Carries out a plan: resolves the target, starts a driver on each thread, and adds up their recordings.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crate::diagnosis::FaultKind;
use crate::driver::{Common, DriveError, Driver, Update};
use crate::plan::{Plan, PlanError};
use crate::recording::{Interval, Recording};
use crate::start_barrier::{StartBarrier, TooLate};
use crate::stopper::Stopper;
use net::address::{Address, Host};
use net::connect::{self, Connector, Target};
use net::poller::MioPoller;
use net::threads::pin_this_thread_to;

/// A report of a run that is going on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// This many connections are open.
    Connected(usize),
    /// All connections are made, and the schedule starts: now, or at [`Plan::start_at`].
    Started,
    /// A second of the window is over: its figures. The seconds of the warm-up are not reported.
    Second(&'a Interval),
}

/// The reason why a run measured nothing. The message gives a remedy where one is known.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is impossible.
    Plan(PlanError),
    /// The plan has a source address that this host cannot use.
    Source(IpAddr, io::Error),
    /// The target's name cannot be resolved.
    Resolve(Address, io::Error),
    /// No connection could be made.
    Unreachable {
        /// The target of the plan.
        target: Address,
        /// The kind of error.
        kind: FaultKind,
        /// A sentence that describes the error.
        detail: String,
    },
    /// The [`Stopper`] was used before the schedule had started.
    Stopped,
    /// The connections were made too late for [`Plan::start_at`]. Nothing was sent.
    TooLate {
        /// The planned start of the schedule.
        start_at: SystemTime,
        /// How much too late they were.
        by: Duration,
    },
    /// A system call failed that every run needs, or a thread of the run panicked.
    System(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Plan(why) => why.fmt(f),
            RunError::Source(source, error) => write!(
                f,
                "cannot connect from {source}: {error} (is it an address of this machine?)"
            ),
            RunError::Resolve(target, error) => write!(f, "cannot resolve {target}: {error}"),
            RunError::Unreachable {
                target,
                kind: FaultKind::ClientLimit,
                detail,
            } => write!(f, "cannot connect to {target}: {detail}"),
            RunError::Unreachable { target, detail, .. } => {
                write!(
                    f,
                    "cannot connect to {target}: {detail} (does a server listen there?)"
                )
            }
            RunError::Stopped => f.write_str("stopped before anything was measured"),
            RunError::TooLate { start_at, by } => write!(
                f,
                "cannot start at {}: the connections were open {} too late (use a later time)",
                humantime::format_rfc3339(*start_at),
                humantime::format_duration(Duration::from_millis(by.as_millis() as u64 + 1))
            ),
            RunError::System(error) => write!(f, "cannot measure: {error}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Plan(why) => Some(why),
            RunError::Source(_, error) | RunError::Resolve(_, error) | RunError::System(error) => {
                Some(error)
            }
            RunError::Unreachable { .. } | RunError::Stopped | RunError::TooLate { .. } => None,
        }
    }
}

impl From<PlanError> for RunError {
    fn from(why: PlanError) -> RunError {
        RunError::Plan(why)
    }
}

/// Carries out a plan over the real kernel and returns the recording. Each event loop has its own thread.
/// `on_progress` is called on the calling thread during the run.
///
/// A hostname may have several addresses. The run measures the first one where a server accepts connections, and logs a
/// warning that names it.
///
/// # Errors
/// The reason why the run measured nothing. Errors during the measurement are part of the recording.
pub fn run(
    plan: &Plan,
    stopper: &Stopper,
    mut on_progress: impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    plan.check()?;
    for source in &plan.sources {
        connect::can_connect_from(*source).map_err(|error| RunError::Source(*source, error))?;
    }
    let mut targets = resolve(&plan.target)?.into_iter().peekable();
    while let Some(target) = targets.next() {
        if let Address::Tcp {
            host: Host::Name(name),
            ..
        } = &plan.target
        {
            log::warn!("measuring {name} at {target}: only a numeric address is deterministic");
        }
        match run_against(target, plan, stopper, &mut on_progress) {
            Err(RunError::Unreachable { .. }) if targets.peek().is_some() => {}
            outcome => return outcome,
        }
    }
    let none = io::ErrorKind::NotFound.into();
    Err(RunError::Resolve(plan.target.clone(), none))
}

/// Carries out a plan of one thread over the caller's kernel, on the calling thread. `on_progress` is called after
/// the run has ended.
///
/// The run reaches sockets, events and the clock only through `kernel`. So over a simulated kernel it runs in virtual
/// time, and every run is the same.
///
/// # Errors
/// Those of [`run`], [`PlanError::SeveralThreads`] for a plan of several threads, and [`PlanError::StartAt`] for a plan
/// that starts at a time of day.
pub fn run_on<K: Connector>(
    kernel: K,
    target: Target,
    plan: &Plan,
    stopper: &Stopper,
    mut on_progress: impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    plan.check()?;
    if plan.threads != 1 {
        return Err(PlanError::SeveralThreads.into());
    }
    if plan.start_at.is_some() {
        return Err(PlanError::StartAt.into());
    }
    let common = common(target, plan, stopper, Duration::ZERO);
    let (sender, updates) = mpsc::channel();
    let driver = Driver::new(kernel, common.clone(), 0, sender).map_err(RunError::System)?;
    driver.run();
    common.stopper.end_of_run();
    follow(&common, &updates, &mut on_progress)
}

fn run_against(
    target: Target,
    plan: &Plan,
    stopper: &Stopper,
    on_progress: &mut impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    let common = common(target, plan, stopper, lead_time(plan.threads));
    let (sender, updates) = mpsc::channel();
    let mut threads = Vec::new();
    let mut outcome = Ok(());
    for thread in 0..plan.threads {
        match start_driver(&common, thread, &sender) {
            Ok(handle) => threads.push(handle),
            Err(error) => {
                outcome = Err(RunError::System(error));
                break;
            }
        }
    }
    drop(sender);
    let outcome = outcome.and_then(|()| follow(&common, &updates, on_progress));
    if outcome.is_err() {
        // The run has failed, so the other threads must end too.
        common.stopper.end_this_run();
    }
    for thread in threads {
        // The thread has already reported its outcome.
        let _ = thread.join();
    }
    common.stopper.end_of_run();
    outcome
}

fn common(target: Target, plan: &Plan, stopper: &Stopper, lead_time: Duration) -> Common {
    Common {
        plan: Arc::new(plan.clone()),
        target,
        barrier: Arc::new(StartBarrier::new(plan.threads, plan.start_at)),
        stopper: stopper.clone(),
        numbers: Arc::new(AtomicU32::new(0)),
        lead_time,
    }
}

/// Returns the lead time: this long before a message is due, a driver stops sleeping. A timer may fire late by its
/// slack of 50 µs (prctl(2), `PR_SET_TIMERSLACK`). An idle processor also needs time to wake up: tens of microseconds,
/// or milliseconds for a virtual processor whose real processor runs something else. A driver that polls without
/// sleeping has no such delay, but needs a processor for each thread, and one more for other processes.
fn lead_time(threads: usize) -> Duration {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    match threads < processors {
        true => Duration::from_millis(1),
        false => Duration::from_micros(100),
    }
}

/// Starts a driver on its own thread. The thread always reports an outcome, even after a panic: [`follow`] waits for
/// it.
fn start_driver(
    common: &Common,
    thread: usize,
    sender: &Sender<Update>,
) -> io::Result<JoinHandle<()>> {
    let kernel = MioPoller::new()?;
    let driver = Driver::new(kernel, common.clone(), thread, sender.clone())?;
    let sender = sender.clone();
    let name = format!("load-{thread}");
    let pin = common
        .plan
        .pin
        .get(thread % common.plan.pin.len().max(1))
        .copied();
    thread::Builder::new().name(name).spawn(move || {
        if let Some(processor) = pin
            && let Err(error) = pin_this_thread_to(processor)
        {
            let _ = sender.send(Update::Over(Box::new(Err(DriveError::Poll(error)))));
            return;
        }
        let ran = catch_unwind(AssertUnwindSafe(|| driver.run()));
        if ran.is_err() {
            // The panic hook has already printed the message.
            let panicked = io::Error::other("a thread of the load generator panicked");
            let _ = sender.send(Update::Over(Box::new(Err(DriveError::Poll(panicked)))));
        }
    })
}

/// Receives the reports of the drivers until all have ended, and adds up their recordings.
fn follow(
    common: &Common,
    updates: &Receiver<Update>,
    on_progress: &mut impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    let threads = common.plan.threads;
    let mut together = Recording::empty();
    let (mut ready, mut over, mut open) = (0, 0, 0);
    let mut seconds = Seconds::default();
    while over < threads {
        let update = updates.recv().map_err(|_| {
            RunError::System(io::Error::other(
                "a thread of the load generator ended without a result",
            ))
        })?;
        match update {
            Update::Opened(more) => {
                open += more;
                on_progress(Progress::Connected(open));
            }
            Update::Ready => {
                ready += 1;
                if ready == threads {
                    on_progress(Progress::Started);
                }
            }
            Update::Interval(interval) => {
                seconds.add(interval.index);
                together.add_interval(interval);
                while let Some(index) = seconds.next_complete(threads - over) {
                    if let Some(second) = together.intervals.iter().find(|i| i.index == index) {
                        on_progress(Progress::Second(second));
                    }
                }
            }
            Update::Over(outcome) => {
                let recording = outcome.map_err(|error| error_of(common, error))?;
                together.add(recording);
                over += 1;
            }
        }
    }
    together.complete(common.plan.rate.is_some());
    Ok(together)
}

/// Counts the threads that have reported each second. A second is passed to the caller when every thread that still
/// runs has reported it, and after all earlier seconds.
#[derive(Debug, Default)]
struct Seconds {
    /// For each second from `passed_on` on: how many threads have reported it.
    parts: VecDeque<usize>,
    /// How many seconds were passed to the caller.
    passed_on: usize,
}

impl Seconds {
    /// Counts one thread's report of a second.
    fn add(&mut self, index: usize) {
        // A late thread reports a second that was already passed to the caller. Its part is in the recording only.
        let Some(place) = index.checked_sub(self.passed_on) else {
            return;
        };
        self.parts.resize(self.parts.len().max(place + 1), 0);
        if let Some(parts) = self.parts.get_mut(place) {
            *parts += 1;
        }
    }

    /// Takes the next second, if all `running` threads have reported it.
    fn next_complete(&mut self, running: usize) -> Option<usize> {
        if *self.parts.front()? < running {
            return None;
        }
        self.parts.pop_front();
        self.passed_on += 1;
        Some(self.passed_on - 1)
    }
}

fn error_of(common: &Common, error: DriveError) -> RunError {
    match error {
        DriveError::Unreachable(fault) => RunError::Unreachable {
            target: common.plan.target.clone(),
            kind: fault.kind,
            detail: fault.detail,
        },
        DriveError::Stopped => RunError::Stopped,
        DriveError::TooLate(TooLate { start_at, by }) => RunError::TooLate { start_at, by },
        DriveError::Poll(error) => RunError::System(error),
    }
}

fn resolve(target: &Address) -> Result<Vec<Target>, RunError> {
    #[cfg(unix)]
    if let Address::Unix(path) = target {
        return Ok(vec![Target::Unix(path.clone())]);
    }
    let found = target
        .resolve()
        .map_err(|error| RunError::Resolve(target.clone(), error))?;
    let targets = found.into_iter().map(|mut address| {
        if address.ip().is_unspecified() {
            // An empty host means all interfaces for a server, and this host for a client.
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Target::Tcp(address)
    });
    Ok(targets.collect())
}

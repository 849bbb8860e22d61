//! From a plan to a recording: resolves the target, starts a driver on each thread, and puts together what they
//! measured.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::diagnosis::FaultKind;
use crate::driver::{Common, DriveError, Driver, Update};
use crate::plan::{Plan, PlanError};
use crate::recording::{Interval, Recording};
use crate::start_barrier::StartBarrier;
use crate::stopper::Stopper;
use net::address::{Address, Host};
use net::connect::{self, Connector, Target};
use net::poller::MioPoller;

/// What a run reports while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// This many connections are open.
    Connected(usize),
    /// All connections are made, and the schedule starts.
    Started,
    /// A second is over; the warm-up is not reported.
    Second(&'a Interval),
}

/// Why nothing was measured. The message says what to do about it where that is known.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is impossible.
    Plan(PlanError),
    /// The plan wants to connect from an address that this host cannot use.
    Source(IpAddr, io::Error),
    /// The target's name cannot be resolved.
    Resolve(Address, io::Error),
    /// No connection could be made.
    Unreachable {
        /// The server that was asked for.
        target: Address,
        /// What kind of error it was.
        kind: FaultKind,
        /// What was seen.
        detail: String,
    },
    /// The [`Stopper`] was used before the schedule had started.
    Stopped,
    /// A system call failed that no run can do without.
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
            RunError::Unreachable { .. } | RunError::Stopped => None,
        }
    }
}

impl From<PlanError> for RunError {
    fn from(why: PlanError) -> RunError {
        RunError::Plan(why)
    }
}

/// Carries out a plan against the real kernel, one thread a loop, and returns what was measured. `tell` is
/// called on this thread while the run goes on.
///
/// A hostname may have several addresses: the first is measured at which a server listens, and a warning says which.
///
/// # Errors
/// Why nothing was measured. Errors while it was are part of the recording.
pub fn run(
    plan: &Plan,
    stopper: &Stopper,
    mut tell: impl FnMut(Progress<'_>),
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
            log::warn!("{name} is taken for {target}: a numeric address is deterministic");
        }
        match run_against(target, plan, stopper, &mut tell) {
            Err(RunError::Unreachable { .. }) if targets.peek().is_some() => {}
            outcome => return outcome,
        }
    }
    let none = io::ErrorKind::NotFound.into();
    Err(RunError::Resolve(plan.target.clone(), none))
}

/// Carries out a plan of one thread over a kernel of the caller's, on this thread. `tell` is called once the
/// run has ended.
///
/// All that the run does, it asks of `kernel`, the time included. So over a simulated kernel it takes place in
/// virtual time, and every run is the same.
///
/// # Errors
/// As [`run`], and [`PlanError::SeveralThreads`] for a plan of several threads.
pub fn run_on<K: Connector>(
    kernel: K,
    target: Target,
    plan: &Plan,
    stopper: &Stopper,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    plan.check()?;
    if plan.threads != 1 {
        return Err(PlanError::SeveralThreads.into());
    }
    let common = common(target, plan, stopper, Duration::ZERO);
    let (sender, updates) = mpsc::channel();
    let driver = Driver::new(kernel, common.clone(), 0, sender).map_err(RunError::System)?;
    driver.run();
    common.stopper.end_of_run();
    follow(&common, &updates, &mut tell)
}

fn run_against(
    target: Target,
    plan: &Plan,
    stopper: &Stopper,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    let common = common(target, plan, stopper, awake(plan.threads));
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
    let outcome = outcome.and_then(|()| follow(&common, &updates, tell));
    if outcome.is_err() {
        // The other threads' work is of no use any more.
        common.stopper.end_this_run();
    }
    for thread in threads {
        // Its outcome has been reported already.
        let _ = thread.join();
    }
    common.stopper.end_of_run();
    outcome
}

fn common(target: Target, plan: &Plan, stopper: &Stopper, awake: Duration) -> Common {
    Common {
        plan: Arc::new(plan.clone()),
        target,
        barrier: Arc::new(StartBarrier::new(plan.threads)),
        stopper: stopper.clone(),
        numbers: Arc::new(AtomicU32::new(0)),
        awake,
    }
}

/// How long before a message is due a driver must be awake. A timer may fire late by its slack of 50 µs
/// (prctl(2), `PR_SET_TIMERSLACK`), and an idle processor takes its time to wake up: tens of microseconds, or
/// milliseconds where it is virtual and the real one has been given to others. A driver that polls all the time
/// has no such delay, but it needs a processor for each thread, with one left for the others.
fn awake(threads: usize) -> Duration {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    match threads < processors {
        true => Duration::from_millis(1),
        false => Duration::from_micros(100),
    }
}

/// Starts one thread's share. Its outcome is always reported, even after a panic: the others wait for it.
fn start_driver(
    common: &Common,
    thread: usize,
    sender: &Sender<Update>,
) -> io::Result<JoinHandle<()>> {
    let kernel = MioPoller::new()?;
    let driver = Driver::new(kernel, common.clone(), thread, sender.clone())?;
    let sender = sender.clone();
    let name = format!("load-{thread}");
    thread::Builder::new().name(name).spawn(move || {
        let ran = catch_unwind(AssertUnwindSafe(|| driver.run()));
        if ran.is_err() {
            // The panic has been printed where it happened.
            let died = io::Error::other("a thread of the load generator has died");
            let _ = sender.send(Update::Over(Box::new(Err(DriveError::Poll(died)))));
        }
    })
}

/// Follows the drivers to their end.
fn follow(
    common: &Common,
    updates: &Receiver<Update>,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    let threads = common.plan.threads;
    let mut together = Recording::empty();
    let (mut ready, mut over, mut open) = (0, 0, 0);
    let mut seconds = Seconds::default();
    while over < threads {
        let update = updates.recv().map_err(|_| {
            RunError::System(io::Error::other("a thread of the load generator has died"))
        })?;
        match update {
            Update::Opened(more) => {
                open += more;
                tell(Progress::Connected(open));
            }
            Update::Ready => {
                ready += 1;
                if ready == threads {
                    tell(Progress::Started);
                }
            }
            Update::Interval(interval) => {
                seconds.add(interval.index);
                together.add_interval(interval);
                while let Some(index) = seconds.next_complete(threads - over) {
                    if let Some(second) = together.intervals.iter().find(|i| i.index == index) {
                        tell(Progress::Second(second));
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

/// Which seconds every thread that still runs has reported. They are told in order.
#[derive(Debug, Default)]
struct Seconds {
    /// How many threads have reported each second, from `told` on.
    parts: VecDeque<usize>,
    /// How many seconds have been told.
    told: usize,
}

impl Seconds {
    fn add(&mut self, index: usize) {
        // A part of a second that was told already, by a thread that was late, belongs to the recording alone.
        let Some(place) = index.checked_sub(self.told) else {
            return;
        };
        self.parts.resize(self.parts.len().max(place + 1), 0);
        if let Some(parts) = self.parts.get_mut(place) {
            *parts += 1;
        }
    }

    fn next_complete(&mut self, running: usize) -> Option<usize> {
        if *self.parts.front()? < running {
            return None;
        }
        self.parts.pop_front();
        self.told += 1;
        Some(self.told - 1)
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
            // The empty host: every interface for a server, this host for a client.
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Target::Tcp(address)
    });
    Ok(targets.collect())
}

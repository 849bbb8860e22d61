//! The load generator: connections to an echo server, every byte of every echo verified, times that do not lie.
//!
//! A [`Plan`] says what to do, [`run`] does it and returns a [`Recording`]. What a recording means, and whether it may
//! be believed, is for [`report`](crate::report) to say.
//!
//! ```
//! use std::time::Duration;
//! use mio_echo::load::{Plan, Stopper, Until, run};
//! # use mio_echo::{Config, Server};
//! # let addresses = vec!["127.0.0.1:auto".parse()?];
//! # let server = Server::bind(&Config { addresses, ..Config::default() })?;
//! # let (target, handle) = (server.local_addresses()[0].clone(), server.handle());
//! # std::thread::spawn(|| server.run());
//!
//! let mut plan = Plan::new(target);
//! plan.until = Until::Elapsed(Duration::from_millis(100));
//! plan.warmup = Duration::ZERO;
//! let recording = run(&plan, &Stopper::default(), |_| ())?;
//! assert!(recording.counts.ok > 0);
//! assert_eq!(recording.counts.errors, 0);
//! # handle.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod diagnosis;
mod driver;
mod exchange;
mod pace;
mod payload;
mod plan;
mod recorder;
mod recording;
mod schedule;
mod sizes;
mod stopper;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

pub use diagnosis::FaultKind;
pub use exchange::Verify;
pub(crate) use exchange::{Exchange, Received};
pub(crate) use payload::Payload;
pub use plan::{Plan, Until};
pub(crate) use recording::add;
pub use recording::{Counts, Faults, FirstFault, Health, Interval, Recording, histogram};
pub use schedule::Arrivals;
pub use sizes::Sizes;
pub use stopper::Stopper;

use crate::address::{Address, Host};
use crate::clock::Clock;
use crate::connect::{self, Target};
use driver::{Common, DriveError, Driver, Update};
use stopper::StartingGun;

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many connections are open.
    Connected(usize),
    /// All connections are made, and the schedule starts.
    Started,
    /// A second is over; the warm-up is not told of.
    Second(&'a Interval),
}

/// Why nothing was measured.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is impossible, and why.
    Plan(String),
    /// The target's name is not known.
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
    /// The operating system refuses what no run can do without.
    System(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Plan(why) => f.write_str(why),
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
            RunError::Resolve(_, error) | RunError::System(error) => Some(error),
            _ => None,
        }
    }
}

/// Carries out a plan, one thread a loop, and returns what was measured. `tell` is called on this thread.
///
/// Of a hostname's addresses the first is measured at which somebody listens, and a warning says which.
///
/// # Errors
/// Why nothing was measured. Errors while it was are part of the recording.
pub fn run(
    plan: &Plan,
    stopper: &Stopper,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    plan.check().map_err(RunError::Plan)?;
    for source in &plan.sources {
        connect::can_connect_from(*source).map_err(|error| {
            RunError::Plan(format!(
                "cannot connect from {source}: {error} (is it an address of this machine?)"
            ))
        })?;
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

fn run_against(
    target: Target,
    plan: &Plan,
    stopper: &Stopper,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    let common = Common {
        plan: Arc::new(plan.clone()),
        target,
        clock: Clock::new(),
        gun: Arc::new(StartingGun::new()),
        stopper: stopper.clone(),
        numbers: Arc::new(AtomicU32::new(0)),
    };
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
    let outcome = outcome.and_then(|()| listen(&common, &updates, tell));
    if outcome.is_err() {
        // The other threads' work is of no use any more.
        common.stopper.end_this_run();
    }
    for thread in threads {
        // What became of it has been told.
        let _ = thread.join();
    }
    common.stopper.forget_wakers();
    outcome
}

/// One thread's share. Whatever becomes of it, it is told: the others wait for it.
fn start_driver(
    common: &Common,
    thread: usize,
    sender: &Sender<Update>,
) -> io::Result<JoinHandle<()>> {
    let driver = Driver::new(common.clone(), thread, sender.clone())?;
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
fn listen(
    common: &Common,
    updates: &Receiver<Update>,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<Recording, RunError> {
    let threads = common.plan.threads;
    let mut together = Recording::empty();
    let (mut ready, mut over, mut open, mut told) = (0, 0, 0, 0);
    let mut parts: Vec<usize> = Vec::new();
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
                    let start_ns = common.clock.ns() + HEAD_START_NS;
                    common.gun.fire(start_ns, &common.stopper);
                    tell(Progress::Started);
                }
            }
            Update::Interval(interval) => {
                let index = interval.index;
                parts.resize(parts.len().max(index + 1), 0);
                parts[index] += 1;
                together.add_interval(interval);
                // In order, and only what every thread has told that still runs.
                while parts
                    .get(told)
                    .is_some_and(|parts| *parts + over >= threads)
                {
                    if let Some(second) = together.intervals.iter().find(|i| i.index == told) {
                        tell(Progress::Second(second));
                    }
                    told += 1;
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

/// From when all connections are made to the start, so that every thread is awake by then.
const HEAD_START_NS: u64 = 2_000_000;

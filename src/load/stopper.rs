//! What other threads may ask of running drivers: to start all at the same moment, and to stop.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// A way to stop a [run](super::run) from any thread. Cheap to clone; one serves several runs, and stops those that
/// come after it has been asked too.
#[derive(Clone, Debug, Default)]
pub struct Stopper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// As `stop`, for the run that is under way, and nobody's wish.
    end: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Stopper {
    /// Asks for an end: nothing more is sent, and what was measured so far is reported. Returns at once.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether somebody has asked for an end.
    pub fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Whether the drivers are to end.
    pub(crate) fn ends_this_run(&self) -> bool {
        self.is_stopping() || self.shared.end.load(Ordering::Acquire)
    }

    /// Has the drivers of the run that is under way end, as one of them has failed.
    pub(crate) fn end_this_run(&self) {
        self.shared.end.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends a driver's poll when there is something to look at.
    pub(crate) fn add(&self, waker: Waker) {
        let mut wakers = self.shared.wakers.lock();
        wakers.as_mut().unwrap_or_else(forgive).push(waker);
    }

    /// The drivers of a run have ended.
    pub(crate) fn forget_wakers(&self) {
        let mut wakers = self.shared.wakers.lock();
        wakers.as_mut().unwrap_or_else(forgive).clear();
        self.shared.end.store(false, Ordering::Release);
    }

    fn wake(&self) {
        let mut wakers = self.shared.wakers.lock();
        for waker in wakers.as_mut().unwrap_or_else(forgive).iter() {
            wake(waker);
        }
    }
}

fn wake(waker: &Waker) {
    let woken: io::Result<()> = waker.wake();
    if let Err(error) = woken {
        log::error!("cannot wake a driver up, it will notice at its next event: {error}");
    }
}

/// A list of wakers is whole whatever happened to whoever held it.
fn forgive<T>(poisoned: &mut PoisonError<T>) -> &mut T {
    poisoned.get_mut()
}

/// When the schedule starts, the same for all threads of a run.
#[derive(Debug)]
pub(crate) struct StartingGun {
    start_ns: AtomicU64,
}

impl StartingGun {
    pub(crate) fn new() -> StartingGun {
        StartingGun {
            start_ns: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn fire(&self, start_ns: u64, stopper: &Stopper) {
        self.start_ns.store(start_ns, Ordering::Release);
        stopper.wake();
    }

    /// `u64::MAX` until it is known.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }
}

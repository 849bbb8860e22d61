//! Ends a run from another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use net::connect::Wake;

/// Ends a [run](super::run) from any thread.
///
/// A clone is cheap and controls the same runs. One stopper can serve several runs. After [`stop`](Stopper::stop), it
/// also ends the runs that start later.
#[derive(Clone, Debug, Default)]
pub struct Stopper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The user's stop. Affects this run and all later runs.
    stop: AtomicBool,
    /// Internal stop: a driver failed. Affects this run only.
    end: AtomicBool,
    /// A waker for each driver of the current run.
    wakers: Mutex<Vec<Box<dyn Wake>>>,
}

impl Stopper {
    /// Ends the run. No further message is sent, and the run returns the measurement up to now. This call does not
    /// wait for the end.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`stop`](Stopper::stop) was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Whether the drivers of this run must end.
    pub(crate) fn ends_this_run(&self) -> bool {
        self.is_stopping() || self.shared.end.load(Ordering::Acquire)
    }

    /// Ends the current run, because one of its drivers failed.
    pub(crate) fn end_this_run(&self) {
        self.shared.end.store(true, Ordering::Release);
        self.wake();
    }

    /// Adds the waker of a driver of the run.
    pub(crate) fn add(&self, waker: impl Wake + 'static) {
        self.with_wakers(|wakers| wakers.push(Box::new(waker)));
    }

    /// Removes the wakers and the internal stop, after all drivers of a run have ended.
    pub(crate) fn end_of_run(&self) {
        self.with_wakers(Vec::clear);
        self.shared.end.store(false, Ordering::Release);
    }

    /// Ends the poll of every driver, so that each driver checks the stops and the start barrier.
    pub(crate) fn wake(&self) {
        self.with_wakers(|wakers| {
            for waker in wakers {
                if let Err(error) = waker.wake() {
                    log::error!(
                        "cannot wake a driver: it reacts at its next event or timeout: {error}"
                    );
                }
            }
        });
    }

    fn with_wakers(&self, act: impl FnOnce(&mut Vec<Box<dyn Wake>>)) {
        // A poisoned lock is not an error: a panic cannot leave the list of wakers in an invalid state.
        let mut wakers = self
            .shared
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        act(&mut wakers);
    }
}

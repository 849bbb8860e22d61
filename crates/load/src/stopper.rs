//! How other threads end a run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use net::connect::Wake;

/// Ends a [run](super::run) from any thread.
///
/// Clones are cheap and mean the same stopper. One stopper serves several runs; once it was used, it also ends
/// those that start later.
#[derive(Clone, Debug, Default)]
pub struct Stopper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The user's stop: affects this run and all later ones.
    stop: AtomicBool,
    /// Internal stop: a driver failed. Affects this run only.
    end: AtomicBool,
    /// One for each driver of the run that is under way.
    wakers: Mutex<Vec<Box<dyn Wake>>>,
}

impl Stopper {
    /// Ends the run: nothing more is sent, and what was measured so far is reported. Returns at once.
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

    /// Ends the run that is under way, as one of its drivers failed.
    pub(crate) fn end_this_run(&self) {
        self.shared.end.store(true, Ordering::Release);
        self.wake();
    }

    /// Adds a driver of the run: it is woken up when there is something to react to.
    pub(crate) fn add(&self, waker: impl Wake + 'static) {
        self.with_wakers(|wakers| wakers.push(Box::new(waker)));
    }

    /// The drivers of a run have ended: removes their wakers, and the internal stop.
    pub(crate) fn end_of_run(&self) {
        self.with_wakers(Vec::clear);
        self.shared.end.store(false, Ordering::Release);
    }

    /// Ends the poll of every driver, so that each looks at what has changed.
    pub(crate) fn wake(&self) {
        self.with_wakers(|wakers| {
            for waker in wakers {
                if let Err(error) = waker.wake() {
                    log::error!(
                        "cannot wake a driver up, it will notice at its next event: {error}"
                    );
                }
            }
        });
    }

    fn with_wakers(&self, act: impl FnOnce(&mut Vec<Box<dyn Wake>>)) {
        // A list of wakers is whole even if a thread panicked while it held the lock.
        let mut wakers = self
            .shared
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        act(&mut wakers);
    }
}

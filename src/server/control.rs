//! The requests of other threads to a running loop.
//!
//! A request sets a flag, which the loop reads in each turn. Then it wakes the loop up if the loop waits in its poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use super::stats::{Counters, Stats};

/// The request and the counters. The loop and its handles share them.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The strongest request so far: [`RUN`], [`STOP`] or [`ABORT`]. It never decreases.
    asked: AtomicU8,
    /// The statistics. Only the loop changes them.
    counters: Counters,
}

impl Control {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns true if the loop was asked to end, with or without a drain.
    pub(crate) fn is_stopping(&self) -> bool {
        self.asked.load(Ordering::Acquire) >= STOP
    }

    /// Returns true if the loop was asked to end without a drain.
    pub(crate) fn is_aborted(&self) -> bool {
        self.asked.load(Ordering::Acquire) >= ABORT
    }

    pub(crate) fn stop(&self) {
        self.asked.fetch_max(STOP, Ordering::AcqRel);
    }

    fn abort(&self) {
        self.asked.fetch_max(ABORT, Ordering::AcqRel);
    }
}

/// Stops a [`Server`](crate::Server) that runs on another thread, and reads its statistics. Cheap to clone.
///
/// A handle may be used after the server has ended. Then a request does nothing, and the statistics are the final ones.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The request and the counters, shared with the loop.
    control: Arc<Control>,
    /// Wakes the loop up from its poll.
    waker: Arc<Waker>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>, waker: Waker) -> Handle {
        Handle {
            control,
            waker: Arc::new(waker),
        }
    }

    /// Asks the server to drain and to end. Returns at once, before the server has ended.
    ///
    /// The server accepts no new clients, writes the echo of the bytes that it has received, and ends each stream. Then
    /// [`Server::run`](crate::Server::run) returns, after the drain timeout at the latest.
    pub fn shutdown(&self) {
        self.control.stop();
        self.wake();
    }

    /// Asks the server to end without a drain. Returns at once, before the server has ended.
    ///
    /// The server closes every connection. Echo that it has not written is lost.
    pub fn abort(&self) {
        self.control.abort();
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!(
                "cannot wake the server up: {error}; it handles the request after its next event"
            );
        }
    }

    /// Returns the statistics up to now. This costs the loop nothing: the call only reads the counters.
    ///
    /// The loop counts each system call after the call has returned. So a client can have its echo some microseconds
    /// before the server counts it. The counts are exact while the loop waits for events. To see a certain count, use
    /// [`wait_for`](Handle::wait_for).
    pub fn stats(&self) -> Stats {
        self.control.counters().snapshot()
    }

    /// Waits until `wanted` returns true for the statistics, and returns these. Checks them about once a millisecond.
    ///
    /// # Errors
    /// The last statistics, if `wanted` has not returned true within `at_most`.
    pub fn wait_for(
        &self,
        at_most: Duration,
        mut wanted: impl FnMut(&Stats) -> bool,
    ) -> Result<Stats, Box<Stats>> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the caller's thread waits, not the loop"
        )]
        let start = Instant::now();
        loop {
            let stats = self.stats();
            if wanted(&stats) {
                return Ok(stats);
            }
            if start.elapsed() >= at_most {
                return Err(Box::new(stats));
            }
            thread::sleep(BETWEEN_CHECKS);
        }
    }
}

/// No request: the loop serves.
#[allow(
    dead_code,
    reason = "a new `Control` has this value by default; the name is for the reader"
)]
const RUN: u8 = 0;

/// The request to drain and to end.
const STOP: u8 = 1;

/// The request to end without a drain.
const ABORT: u8 = 2;

/// The time between two checks of [`Handle::wait_for`].
const BETWEEN_CHECKS: Duration = Duration::from_millis(1);

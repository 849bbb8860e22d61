//! What other threads can ask of a running loop.
//!
//! A flag that the loop checks once a turn, and the waker that ends its wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use super::stats::{Counters, Stats};

/// What was asked, and what is counted: shared by the loop and its handles.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// [`RUN`], [`STOP`] or [`ABORT`]; it only grows.
    asked: AtomicU8,
    /// Changed by the loop alone.
    counters: Counters,
}

impl Control {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the loop was asked to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.asked.load(Ordering::Acquire) >= STOP
    }

    /// Whether the loop was asked to end without a drain.
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

/// A way to reach a [`Server`](crate::Server) that runs on another thread. Cheap to clone.
///
/// It outlives the server: then stopping does nothing, and the statistics are the final ones.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Shared with the loop.
    control: Arc<Control>,
    /// Ends the loop's poll.
    waker: Arc<Waker>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>, waker: Waker) -> Handle {
        Handle {
            control,
            waker: Arc::new(waker),
        }
    }

    /// Asks the server to drain and to end: no new clients, what was received is written out, and
    /// [`Server::run`](crate::Server::run) returns at the latest after the drain timeout. Returns at once.
    pub fn shutdown(&self) {
        self.control.stop();
        self.wake();
    }

    /// Asks the server to end at once, without a drain: every connection is closed, and what is not written is lost. Returns at
    /// once.
    pub fn abort(&self) {
        self.control.abort();
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the server up, it will notice at its next event: {error}");
        }
    }

    /// What the server has done so far. Asks nothing of the loop, so it costs the loop nothing.
    ///
    /// The loop counts a call right after it, so a client can have its echo some microseconds before the echo is counted. The
    /// counts are exact when the loop waits for events: [`wait_for`](Handle::wait_for) the count that you expect.
    pub fn stats(&self) -> Stats {
        self.control.counters().snapshot()
    }

    /// Waits until the statistics are as `wanted`, and returns them. Looks at them about once a millisecond.
    ///
    /// # Errors
    /// The statistics after `at_most`, if they are not as wanted until then.
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
            thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// Serve.
#[allow(
    dead_code,
    reason = "the value of a new atomic; it has a name for the reader"
)]
const RUN: u8 = 0;

/// Drain and end.
const STOP: u8 = 1;

/// End without a drain.
const ABORT: u8 = 2;

const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

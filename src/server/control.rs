//! The requests of other threads to a running loop.
//!
//! A request sets a flag, which the loop reads in each turn. Then it wakes the loop up if the loop waits in its poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use super::quota::Quota;
use super::stats::{Counters, Stats};
use super::turns::{TurnCounters, Turns};

/// The request and the counters. The loop and its handles share them.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The strongest request so far: [`RUN`], [`STOP`] or [`ABORT`]. It never decreases.
    asked: AtomicU8,
    /// The statistics. Only the loop changes them.
    counters: Counters,
    /// The histograms of the turns. Only the loop changes them.
    turns: TurnCounters,
}

impl Control {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn turns(&self) -> &TurnCounters {
        &self.turns
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
    /// The loops of the server.
    loops: Arc<[LoopHandle]>,
    /// The connections of all loops together.
    connections: Arc<Quota>,
}

/// The part of a handle for one loop.
#[derive(Debug)]
pub(crate) struct LoopHandle {
    /// The request and the counters, shared with the loop.
    pub(crate) control: Arc<Control>,
    /// Wakes the loop up from its poll.
    pub(crate) waker: Waker,
}

impl Handle {
    pub(crate) fn new(loops: Vec<LoopHandle>, connections: Arc<Quota>) -> Handle {
        Handle {
            loops: loops.into(),
            connections,
        }
    }

    /// Asks the server to drain and to end. Returns at once, before the server has ended.
    ///
    /// The server accepts no new clients, writes the echo of the bytes that it has received, and ends each stream. Then
    /// [`Server::run`](crate::Server::run) returns, after the drain timeout at the latest.
    pub fn shutdown(&self) {
        self.ask(Control::stop);
    }

    /// Asks the server to end without a drain. Returns at once, before the server has ended.
    ///
    /// The server closes every connection. Echo that it has not written is lost.
    pub fn abort(&self) {
        self.ask(Control::abort);
    }

    fn ask(&self, request: fn(&Control)) {
        // Each loop must find the request when it wakes up, so all requests come before the first wake-up.
        for one in self.loops.iter() {
            request(&one.control);
        }
        for one in self.loops.iter() {
            if let Err(error) = one.waker.wake() {
                log::error!(
                    "cannot wake the server up: {error}; it handles the request after its next event"
                );
            }
        }
    }

    /// Returns the statistics up to now. This costs the loop nothing: the call only reads the counters.
    ///
    /// The loop counts each system call after the call has returned. So a client can have its echo some microseconds
    /// before the server counts it. The counts are exact while the loop waits for events. To see a certain count, use
    /// [`wait_for`](Handle::wait_for).
    pub fn stats(&self) -> Stats {
        let mut loops = self.loop_stats().into_iter();
        let mut sum = loops.next().unwrap_or_default();
        let is_alone = loops.len() == 0;
        loops.for_each(|stats| sum.add(&stats));
        if !is_alone {
            // The largest numbers of the loops are of different moments.
            sum.peak = self.connections.peak() as u64;
        }
        sum
    }

    /// Returns the statistics of each loop up to now, in the order of the loops: see [`stats`](Handle::stats).
    pub fn loop_stats(&self) -> Vec<Stats> {
        let loops = self.loops.iter();
        loops.map(|one| one.control.counters().snapshot()).collect()
    }

    /// Returns the turns of each loop up to now, in the order of the loops. They are empty unless
    /// [`Config::turn_histograms`](crate::Config::turn_histograms) is set.
    pub fn loop_turns(&self) -> Vec<Turns> {
        let loops = self.loops.iter();
        loops.map(|one| one.control.turns().snapshot()).collect()
    }

    /// Returns the largest number of connections that may be open at the same time.
    pub fn most_connections(&self) -> usize {
        self.connections.most()
    }

    /// Logs the statistics: of all loops together, and of each one if there are several.
    pub(crate) fn log_stats(&self) {
        log::info!("{}", self.stats());
        let loops = self.loop_stats();
        if loops.len() > 1 {
            for (n, stats) in loops.iter().enumerate() {
                log::info!("loop {n}: {stats}");
            }
        }
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

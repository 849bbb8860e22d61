//! Gives all drivers of a run the same start time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Sets the start of the schedule, after every driver of the run has made its connections.
#[derive(Debug)]
pub(crate) struct StartBarrier {
    /// Drivers that have not arrived yet.
    missing: AtomicUsize,
    /// The start of the schedule; `u64::MAX` until all drivers have arrived.
    start_ns: AtomicU64,
}

impl StartBarrier {
    /// Makes a barrier for this number of drivers, at least one.
    pub(crate) fn new(drivers: usize) -> StartBarrier {
        StartBarrier {
            missing: AtomicUsize::new(drivers),
            start_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts a driver that has made its connections at `now_ns`. Returns true for the last driver: the start is set,
    /// and the caller must wake the other drivers.
    #[must_use]
    pub(crate) fn arrive(&self, now_ns: u64) -> bool {
        let is_last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            self.start_ns
                .store(now_ns + HEAD_START_NS, Ordering::Release);
        }
        is_last
    }

    /// Returns the start of the schedule; `u64::MAX` until it is known.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }
}

/// The time from the last arrival to the start. In this time all threads wake up.
const HEAD_START_NS: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_arrival_sets_the_start() {
        let barrier = StartBarrier::new(2);
        assert!(!barrier.arrive(5));
        assert_eq!(barrier.start_ns(), u64::MAX);
        assert!(barrier.arrive(7));
        assert_eq!(barrier.start_ns(), 7 + HEAD_START_NS);
    }
}

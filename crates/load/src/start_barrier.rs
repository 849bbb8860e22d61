//! One start for all drivers of a run.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Sets the time at which the schedule starts, once every driver of the run has its connections.
#[derive(Debug)]
pub(crate) struct StartBarrier {
    /// Drivers that have not arrived yet.
    missing: AtomicUsize,
    /// `u64::MAX` until all have arrived.
    start_ns: AtomicU64,
}

impl StartBarrier {
    /// A barrier for so many drivers, at least one.
    pub(crate) fn new(drivers: usize) -> StartBarrier {
        StartBarrier {
            missing: AtomicUsize::new(drivers),
            start_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// A driver has its connections, at `now_ns`. Returns true for the last one, which has set the start and
    /// must wake up the others.
    #[must_use]
    pub(crate) fn arrive(&self, now_ns: u64) -> bool {
        let is_last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            self.start_ns
                .store(now_ns + HEAD_START_NS, Ordering::Release);
        }
        is_last
    }

    /// When the schedule starts; `u64::MAX` until that is known.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }
}

/// From the last arrival to the start, so that every thread is awake by then.
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

//! Gives all drivers of a run the same start time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::duration::ns;

/// Sets the start of the schedule, after every driver of the run has made its connections.
#[derive(Debug)]
pub(crate) struct StartBarrier {
    /// Drivers that have not arrived yet.
    missing: AtomicUsize,
    /// The start of the schedule; `u64::MAX` until all drivers have arrived.
    start_ns: AtomicU64,
    /// The planned start, as a wall-clock time; `None`: as soon as all drivers have arrived.
    start_at: Option<SystemTime>,
}

impl StartBarrier {
    /// Makes a barrier for this number of drivers, at least one.
    pub(crate) fn new(drivers: usize, start_at: Option<SystemTime>) -> StartBarrier {
        StartBarrier {
            missing: AtomicUsize::new(drivers),
            start_ns: AtomicU64::new(u64::MAX),
            start_at,
        }
    }

    /// Counts a driver that has made its connections at `now_ns`. Returns true for the last driver: the start is set,
    /// and the caller must wake the other drivers.
    ///
    /// # Errors
    /// The last driver arrived too late for the planned start. No start is set.
    pub(crate) fn arrive(&self, now_ns: u64) -> Result<bool, TooLate> {
        let is_last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            let start_ns = match self.start_at {
                None => now_ns + HEAD_START_NS,
                Some(start_at) => planned_start_ns(start_at, now_ns, wall_clock())?,
            };
            self.start_ns.store(start_ns, Ordering::Release);
        }
        Ok(is_last)
    }

    /// Returns the start of the schedule; `u64::MAX` until it is known.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }
}

/// The drivers arrived too late for the planned start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLate {
    /// The planned start.
    pub(crate) start_at: SystemTime,
    /// How much too late.
    pub(crate) by: Duration,
}

/// Converts a planned start to nanoseconds of the drivers' clock. `now_ns` on that clock and `now` on the wall clock
/// are the same moment.
///
/// # Errors
/// The start is less than [`HEAD_START_NS`] away, or in the past.
fn planned_start_ns(start_at: SystemTime, now_ns: u64, now: SystemTime) -> Result<u64, TooLate> {
    let earliest = now + Duration::from_nanos(HEAD_START_NS);
    match start_at.duration_since(earliest) {
        Ok(_) => {
            let wait = start_at.duration_since(now).unwrap_or_default();
            Ok(now_ns.saturating_add(ns(wait)))
        }
        Err(late) => Err(TooLate {
            start_at,
            by: late.duration(),
        }),
    }
}

/// Reads the wall clock, once for each run, when all connections are made. A step of the clock after that does not move
/// the start.
#[allow(
    clippy::disallowed_methods,
    reason = "a kernel's clock does not know the time of day, and only runs over the real kernel have a planned start"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The time from the last arrival to the start. In this time all threads wake up.
const HEAD_START_NS: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_arrival_sets_the_start() {
        let barrier = StartBarrier::new(2, None);
        assert_eq!(barrier.arrive(5), Ok(false));
        assert_eq!(barrier.start_ns(), u64::MAX);
        assert_eq!(barrier.arrive(7), Ok(true));
        assert_eq!(barrier.start_ns(), 7 + HEAD_START_NS);
    }

    #[test]
    fn a_planned_start_has_the_same_distance_on_both_clocks() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let start = |start_at| planned_start_ns(start_at, 7, now).map_err(|late| late.by);
        assert_eq!(start(now + Duration::from_secs(5)), Ok(5_000_000_007));
        let head_start = Duration::from_nanos(HEAD_START_NS);
        assert_eq!(start(now + head_start), Ok(7 + HEAD_START_NS));
        assert_eq!(start(now), Err(head_start));
        let past = Duration::from_secs(3);
        assert_eq!(start(now - past), Err(head_start + past));
    }

    #[test]
    fn an_arrival_after_the_planned_start_sets_no_start() {
        let barrier = StartBarrier::new(1, Some(SystemTime::UNIX_EPOCH));
        assert!(barrier.arrive(7).is_err());
        assert_eq!(barrier.start_ns(), u64::MAX);
    }
}

//! The load generator's clocks: the time since a run began, and the processor time of a thread.

use std::time::Duration;
#[cfg(not(unix))]
use std::time::Instant;

/// The time since some moment, in nanoseconds, by a clock that never goes back (`CLOCK_MONOTONIC`). Copies agree.
///
/// The driver asks it twice a message, so it is as short as can be: a number, not an [`Instant`](std::time::Instant)
/// whose difference to another has to be taken and checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    #[cfg(unix)]
    epoch_ns: u64,
    #[cfg(not(unix))]
    epoch: Instant,
}

impl Clock {
    /// Starts now.
    pub(crate) fn new() -> Clock {
        Clock {
            #[cfg(unix)]
            epoch_ns: monotonic_ns(),
            #[cfg(not(unix))]
            epoch: Instant::now(),
        }
    }

    /// How long ago that was.
    #[inline(always)]
    pub(crate) fn ns(self) -> u64 {
        #[cfg(unix)]
        {
            monotonic_ns() - self.epoch_ns
        }
        #[cfg(not(unix))]
        {
            u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(unix)]
#[inline(always)]
fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is negative, and together they last for 584 years.
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// The processor time that this thread has used; none where the system does not tell.
pub(crate) fn thread_processor_time() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

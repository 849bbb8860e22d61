//! The clocks of the real kernel: the monotonic time, and a thread's processor time.
//!
//! Only the pollers read them. Everything above is told the time.

use std::time::Duration;

/// The monotonic time in nanoseconds (`CLOCK_MONOTONIC`); all threads count from the same moment.
///
/// The load generator asks twice a message, so it is as short as can be: a number, not an
/// [`Instant`](std::time::Instant) whose difference to another has to be taken and checked.
#[cfg(unix)]
#[inline(always)]
pub(crate) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is negative, and together they last for 584 years.
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// The time in nanoseconds since it was first asked for.
#[cfg(not(unix))]
#[allow(
    clippy::disallowed_methods,
    reason = "the real kernel's time is read here"
)]
pub(crate) fn monotonic_ns() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = FIRST.get_or_init(Instant::now);
    u64::try_from(first.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The processor time that the calling thread has used (`CLOCK_THREAD_CPUTIME_ID`).
#[cfg(unix)]
pub(crate) fn thread_processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Not told here.
#[cfg(not(unix))]
pub(crate) fn thread_processor_time() -> Duration {
    Duration::ZERO
}

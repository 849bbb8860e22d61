//! The clocks of the real kernel: the monotonic time, and the scheduler's account of a thread.
//!
//! Only the pollers read these clocks. All other code gets the time from its poller, so it also runs in virtual time.

use std::time::Duration;

/// Returns the monotonic time in nanoseconds (`CLOCK_MONOTONIC`). All threads count from the same moment.
///
/// The load generator reads it twice for each message, so it must be fast. It is a number, because the difference of
/// two [`Instant`](std::time::Instant)s is a checked operation.
#[cfg(unix)]
#[inline(always)]
pub(crate) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither part is negative, and the sum overflows only after 584 years.
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the time in nanoseconds since the first call.
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

/// Returns the processor time that the calling thread has used (`CLOCK_THREAD_CPUTIME_ID`).
#[cfg(unix)]
pub(crate) fn thread_processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Returns zero: this system has no such clock.
#[cfg(not(unix))]
pub(crate) fn thread_processor_time() -> Duration {
    Duration::ZERO
}

/// Returns how long the calling thread has waited for a processor while it could run: the second number of `schedstat`
/// (proc(5)). `None` if the kernel does not count it: then the first number, the time on a processor, is 0 too
/// (`CONFIG_SCHED_INFO`).
#[cfg(target_os = "linux")]
pub(crate) fn thread_queued_time() -> Option<Duration> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut numbers = schedstat.split_ascii_whitespace().map(str::parse::<u64>);
    let (running_ns, queued_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (running_ns > 0).then(|| Duration::from_nanos(queued_ns))
}

/// Returns `None`: this system does not report it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_queued_time() -> Option<Duration> {
    None
}

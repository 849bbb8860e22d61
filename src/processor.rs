//! The processor that a thread runs on: how much of it was used.

use std::time::Duration;

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

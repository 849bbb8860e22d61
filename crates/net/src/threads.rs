//! Settings of the calling thread: its processor and its signals.

use std::io;

/// Leaves SIGINT, SIGTERM and SIGUSR1 to the other threads of the process.
///
/// The kernel gives a signal of the process to any thread that does not block it (signal(7)). If that is the thread of
/// the loop, the signal interrupts its poll, and the next poll reports the signal. If another thread gets the signal,
/// a poll may report a connection that arrived after the signal, and only the next poll reports the signal.
///
/// # Errors
/// The errors of pthread_sigmask(3). It does nothing on a system other than Linux.
pub fn leave_signals_to_others() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::signal::{SigSet, Signal};
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1] {
            signals.add(signal);
        }
        signals.thread_block()?;
    }
    Ok(())
}

/// Binds the calling thread to the processor with this number among those that it may use, and returns the system's
/// number of that processor. Numbers beyond the last one begin at the first one again.
///
/// # Errors
/// The errors of sched_getaffinity(2) and sched_setaffinity(2). `Unsupported` on a system other than Linux.
#[cfg(target_os = "linux")]
pub fn pin_this_thread(number: usize) -> io::Result<usize> {
    let processors = processors()?;
    let chosen = processors.get(number % processors.len().max(1));
    let processor = *chosen.ok_or(io::ErrorKind::NotFound)?;
    pin_this_thread_to(processor)?;
    Ok(processor)
}

/// Binds the calling thread to the processor with this number of the system.
///
/// # Errors
/// The errors of sched_setaffinity(2): `EINVAL` for a processor that this process may not use. `Unsupported` on a
/// system other than Linux.
#[cfg(target_os = "linux")]
pub fn pin_this_thread_to(processor: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    if processor >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut only = CpuSet::new();
    only.set(processor);
    Ok(sched_setaffinity(None, &only)?)
}

/// Returns the system's numbers of the processors that the calling thread may use.
///
/// # Errors
/// The errors of sched_getaffinity(2). `Unsupported` on a system other than Linux.
#[cfg(target_os = "linux")]
pub fn processors() -> io::Result<Vec<usize>> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None)?;
    let numbers = 0..CpuSet::MAX_CPU;
    Ok(numbers.filter(|n| allowed.is_set(*n)).collect())
}

/// Binds the calling thread to a processor.
///
/// # Errors
/// `Unsupported`: this system has no such call.
#[cfg(not(target_os = "linux"))]
pub fn pin_this_thread(_: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Binds the calling thread to a processor.
///
/// # Errors
/// `Unsupported`: this system has no such call.
#[cfg(not(target_os = "linux"))]
pub fn pin_this_thread_to(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns the processors that the calling thread may use.
///
/// # Errors
/// `Unsupported`: this system has no such call.
#[cfg(not(target_os = "linux"))]
pub fn processors() -> io::Result<Vec<usize>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_one_processor() {
        let run = |number| {
            let thread = std::thread::spawn(move || {
                let processor = pin_this_thread(number).unwrap();
                let allowed = rustix::thread::sched_getaffinity(None).unwrap();
                assert_eq!((allowed.count(), allowed.is_set(processor)), (1, true));
                processor
            });
            thread.join().unwrap()
        };
        let all = std::thread::available_parallelism().unwrap().get();
        assert_eq!(run(0), run(all));
    }
}

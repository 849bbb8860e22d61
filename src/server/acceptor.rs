//! Decides what the loop does after accept(2) failed, and when it accepts again.
//!
//! A failure must neither end the listener nor make the loop spin. This module makes no system call and reads no clock.

use std::io;
use std::time::{Duration, Instant};

use super::log_limiter::LogLimiter;
use super::stats::{AcceptErrorCounters, Counter};

/// The loop's next step after accept(2) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Wait for the next event. Not an error: the backlog is empty, and a new connection causes a new event.
    BacklogEmpty,
    /// Accept again at once. This connection is lost, but the next accept may succeed.
    Next,
    /// Stop accepting until a timer expires or a connection closes: until then, accept would fail again. Under edge
    /// triggering, no further event reports the connections that already wait in the backlog.
    Pause,
}

/// The state of accepting, shared by all listeners: accepting is paused, or it is not.
#[derive(Debug, Default)]
pub(crate) struct Acceptor {
    /// Keys of listeners whose backlog may hold connections that no event will report.
    waiting: Vec<usize>,
    /// When the pause ends; `None` while accepting is not paused.
    retry_at: Option<Instant>,
    /// The number of failures since the last accepted connection or the last empty backlog.
    failures_in_a_row: u32,
    /// Limits the log lines about failures.
    log_limiter: LogLimiter,
}

impl Acceptor {
    /// Counts the error and returns the next step. If that is a pause, the listener `key` waits for its end.
    pub(crate) fn failed(
        &mut self,
        key: usize,
        error: &io::Error,
        now: Instant,
        counters: &AcceptErrorCounters,
    ) -> AfterFailure {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.failures_in_a_row = 0;
            return AfterFailure::BacklogEmpty;
        }
        let (counter, pause) = meaning(error, counters);
        counter.add(1);
        self.failures_in_a_row += 1;
        // Such an error normally concerns a single connection. If it repeats without end, only a pause stops the spin.
        if !pause && self.failures_in_a_row < MOST_IN_A_ROW {
            return AfterFailure::Next;
        }
        if let Some(left_out) = self.log_limiter.allow(now) {
            log::warn!(
                "cannot accept: {error}; trying again every {PAUSE:?}, and when a connection closes{left_out}"
            );
        }
        self.retry_at = Some(now + PAUSE);
        self.wait(key);
        AfterFailure::Pause
    }

    /// Records that the backlog of the listener `key` may hold connections that no event will report.
    pub(crate) fn wait(&mut self, key: usize) {
        if !self.waiting.contains(&key) {
            self.waiting.push(key);
        }
    }

    /// Records that a connection was accepted.
    pub(crate) fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
    }

    /// Returns true while accepting is paused. The loop must not accept before it calls [`Acceptor::resume`].
    pub(crate) fn is_paused(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Returns when the pause ends; `None` while accepting is not paused.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Ends a pause: its time is over, a descriptor became free, or the listeners are closed. Returns the keys of the
    /// listeners that waited.
    pub(crate) fn resume(&mut self) -> Vec<usize> {
        self.retry_at = None;
        let mut waiting = std::mem::take(&mut self.waiting);
        // Rotate, so that listeners share the freed descriptor fairly.
        if !waiting.is_empty() {
            waiting.rotate_left(1);
        }
        waiting
    }
}

/// Returns the counter of an error, and whether accepting must pause because another accept would fail too.
#[cfg(unix)]
fn meaning<'a>(error: &io::Error, counters: &'a AcceptErrorCounters) -> (&'a Counter, bool) {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::CONNABORTED) => (&counters.aborted, false),
        Some(Errno::INTR) => (&counters.interrupted, false),
        Some(Errno::PERM) => (&counters.forbidden, false),
        // Linux returns errors that are pending on the new connection. accept(2), "Error handling", tells the caller to
        // treat them like `EAGAIN` and to accept again.
        Some(
            Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
            | Errno::CONNRESET,
        ) => (&counters.network, false),
        #[cfg(target_os = "linux")]
        Some(Errno::NONET) => (&counters.network, false),
        Some(Errno::MFILE) => (&counters.process_descriptors, true),
        Some(Errno::NFILE) => (&counters.system_descriptors, true),
        Some(Errno::NOBUFS | Errno::NOMEM) => (&counters.memory, true),
        _ => (&counters.other, true),
    }
}

#[cfg(not(unix))]
fn meaning<'a>(error: &io::Error, counters: &'a AcceptErrorCounters) -> (&'a Counter, bool) {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionAborted | Kind::ConnectionReset => (&counters.aborted, false),
        Kind::Interrupted => (&counters.interrupted, false),
        Kind::OutOfMemory => (&counters.memory, true),
        _ => (&counters.other, true),
    }
}

/// The length of a pause. It is long enough that a server without free descriptors is almost idle, and short enough
/// that clients do not give up.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of failures in a row after which accepting pauses, whatever the error is.
const MOST_IN_A_ROW: u32 = 64;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn after(acceptor: &mut Acceptor, errno: Errno) -> AfterFailure {
        let counters = AcceptErrorCounters::default();
        acceptor.failed(0, &errno.into(), Instant::now(), &counters)
    }

    #[test]
    fn a_lost_connection_is_skipped_and_a_lack_of_descriptors_or_memory_pauses() {
        let mut acceptor = Acceptor::default();
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PERM, Errno::PROTO] {
            assert_eq!(after(&mut acceptor, errno), AfterFailure::Next, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(after(&mut acceptor, errno), AfterFailure::Pause, "{errno}");
        }
        assert_eq!(
            after(&mut acceptor, Errno::AGAIN),
            AfterFailure::BacklogEmpty
        );
    }

    #[test]
    fn an_error_of_one_connection_that_repeats_becomes_a_pause() {
        let mut acceptor = Acceptor::default();
        let answers: Vec<_> = (0..MOST_IN_A_ROW)
            .map(|_| after(&mut acceptor, Errno::CONNABORTED))
            .collect();
        assert_eq!(answers.last(), Some(&AfterFailure::Pause));
        assert!(
            answers
                .iter()
                .rev()
                .skip(1)
                .all(|v| *v == AfterFailure::Next)
        );
    }

    #[test]
    fn another_listener_is_first_after_each_pause() {
        let mut acceptor = Acceptor::default();
        let mut first = Vec::new();
        for _ in 0..3 {
            for key in acceptor.resume() {
                acceptor.wait(key);
            }
            for key in 0..3 {
                acceptor.wait(key);
            }
            first.push(acceptor.waiting[0]);
        }
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
    }
}

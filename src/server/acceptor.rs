//! What each failure of accept means, and when to try again.
//!
//! Accepts nothing itself and reads no clock. The rule behind it: the listener neither dies nor spins.

use std::io;
use std::time::{Duration, Instant};

use super::log_limiter::LogLimiter;
use super::stats::{AcceptErrorCounters, Counter};

/// What the loop should do after accept failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Not an error: the backlog is empty. The next arrival is a new event.
    Drained,
    /// That connection is lost; the next accept may succeed.
    Next,
    /// Another try now would fail too. No new event is promised for what already waits in the backlog, so
    /// try on a timer, and whenever a connection closes.
    Pause,
}

/// The listeners' common state: whether accepting pauses.
#[derive(Debug, Default)]
pub(crate) struct Acceptor {
    /// Keys of listeners whose backlog may hold connections that no event will announce.
    waiting: Vec<usize>,
    /// When the pause ends; `None` while accepting does not pause.
    retry_at: Option<Instant>,
    /// Failures since the last connection that was accepted, or the last empty backlog.
    failures_in_a_row: u32,
    /// For log lines about failures.
    log_limiter: LogLimiter,
}

impl Acceptor {
    /// Counts the error and says what to do; where it is a pause, notes that `key` waits for its end.
    pub(crate) fn failed(
        &mut self,
        key: usize,
        error: &io::Error,
        now: Instant,
        counters: &AcceptErrorCounters,
    ) -> AfterFailure {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.failures_in_a_row = 0;
            return AfterFailure::Drained;
        }
        let (counter, pause) = meaning(error, counters);
        counter.add(1);
        self.failures_in_a_row += 1;
        // An error that should hit one connection but repeats is treated as a pause; otherwise the loop would spin.
        if !pause && self.failures_in_a_row < MOST_IN_A_ROW {
            return AfterFailure::Next;
        }
        if let Some(left_out) = self.log_limiter.allow(now) {
            log::warn!(
                "cannot accept: {error}; trying again every {PAUSE:?} and as connections close{left_out}"
            );
        }
        self.retry_at = Some(now + PAUSE);
        self.wait(key);
        AfterFailure::Pause
    }

    /// Notes that the backlog of `key` may hold connections that no event will announce.
    pub(crate) fn wait(&mut self, key: usize) {
        if !self.waiting.contains(&key) {
            self.waiting.push(key);
        }
    }

    /// A connection was accepted.
    pub(crate) fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
    }

    /// Whether accepting pauses: trying earlier than [`Acceptor::resume`] says is in vain.
    pub(crate) fn is_paused(&self) -> bool {
        self.retry_at.is_some()
    }

    /// When to try again, if accepting pauses.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Ends a pause, because its time is up or a descriptor has become free. Returns the keys of the listeners that waited.
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

/// Which counter an error belongs to, and whether trying again at once is in vain.
#[cfg(unix)]
fn meaning<'a>(error: &io::Error, counters: &'a AcceptErrorCounters) -> (&'a Counter, bool) {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::CONNABORTED) => (&counters.aborted, false),
        Some(Errno::INTR) => (&counters.interrupted, false),
        Some(Errno::PERM) => (&counters.forbidden, false),
        // accept(2), "Error handling": Linux passes errors of the new connection on; treat them as "try again".
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

/// Long enough that a process without descriptors is near idle, short enough that nobody who waits gives up.
const PAUSE: Duration = Duration::from_millis(100);

/// So many failures without a success are no longer one connection's bad luck.
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
    fn a_lost_connection_is_skipped_and_a_shortage_is_waited_out() {
        let mut acceptor = Acceptor::default();
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PERM, Errno::PROTO] {
            assert_eq!(after(&mut acceptor, errno), AfterFailure::Next, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(after(&mut acceptor, errno), AfterFailure::Pause, "{errno}");
        }
        assert_eq!(after(&mut acceptor, Errno::AGAIN), AfterFailure::Drained);
    }

    #[test]
    fn an_error_that_should_pass_and_does_not_becomes_a_pause() {
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
    fn listeners_take_turns_at_being_first_after_a_pause() {
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

//! What each failure of accept means, and when to try again.
//!
//! Accepts nothing itself and reads no clock. The rule behind it: the listener neither dies nor spins.

use std::io;
use std::time::{Duration, Instant};

use super::stats::AcceptErrorCounters;

/// What the loop should do after accept failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Not an error: the backlog is empty. The next arrival is a new event.
    Drained,
    /// That connection is lost; the next may be well.
    Next,
    /// Nothing will come of trying again now. No new event is promised for what already waits in the backlog, so
    /// try on a timer, and whenever a connection closes.
    Pause,
}

/// The listeners' common state: whether accepting pauses, and what has been said about it.
#[derive(Debug, Default)]
pub(crate) struct Acceptor {
    /// Listeners whose backlog may hold connections that no event will announce.
    waiting: Vec<usize>,
    retry_at: Option<Instant>,
    failures_in_a_row: u32,
    complaints: Complaints,
}

/// At most one line a second, with the count of those left out.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    last: Option<Instant>,
    left_out: u64,
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
        planted!(NoRetryAfterEmfile => return AfterFailure::Drained);
        planted!(RetryAtOnce => return AfterFailure::Next);
        self.failures_in_a_row += 1;
        // What should pass by itself and does not is a pause too, or it would be a spin.
        if !pause && self.failures_in_a_row < MOST_IN_A_ROW {
            return AfterFailure::Next;
        }
        if let Some(left_out) = self.complaints.may_say(now) {
            log::warn!(
                "cannot accept: {error}; trying again every {PAUSE:?} and as connections close{left_out}"
            );
        }
        self.retry_at = Some(now + PAUSE);
        planted!(ForgetWhoWaitsForAPause => return AfterFailure::Pause);
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

    /// Ends a pause, because its time is up or a descriptor has become free, and hands out who waited for that.
    pub(crate) fn resume(&mut self) -> Vec<usize> {
        self.retry_at = None;
        let mut waiting = std::mem::take(&mut self.waiting);
        // Whoever tries first has the one descriptor that is free: another listener each time.
        if !waiting.is_empty() {
            waiting.rotate_left(1);
        }
        waiting
    }
}

impl Complaints {
    /// Whether a line may be logged now, and then what to say of those that were not.
    pub(crate) fn may_say(&mut self, now: Instant) -> Option<String> {
        let quiet = |last| now.saturating_duration_since(last) < BETWEEN_COMPLAINTS;
        if self.last.is_some_and(quiet) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            n => format!(" ({n} more such since the last line)"),
        })
    }
}

/// Which counter an error belongs to, and whether trying again at once is in vain.
#[cfg(unix)]
fn meaning<'a>(
    error: &io::Error,
    counters: &'a AcceptErrorCounters,
) -> (&'a super::stats::Counter, bool) {
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
fn meaning<'a>(
    error: &io::Error,
    counters: &'a AcceptErrorCounters,
) -> (&'a super::stats::Counter, bool) {
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

const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(1);

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn verdict(acceptor: &mut Acceptor, errno: Errno) -> AfterFailure {
        let counters = AcceptErrorCounters::default();
        acceptor.failed(0, &errno.into(), Instant::now(), &counters)
    }

    #[test]
    fn a_lost_connection_is_skipped_and_a_shortage_is_waited_out() {
        let mut acceptor = Acceptor::default();
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PERM, Errno::PROTO] {
            assert_eq!(verdict(&mut acceptor, errno), AfterFailure::Next, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(
                verdict(&mut acceptor, errno),
                AfterFailure::Pause,
                "{errno}"
            );
        }
        assert_eq!(verdict(&mut acceptor, Errno::AGAIN), AfterFailure::Drained);
    }

    #[test]
    fn an_error_that_should_pass_and_does_not_becomes_a_pause() {
        let mut acceptor = Acceptor::default();
        let verdicts: Vec<_> = (0..MOST_IN_A_ROW)
            .map(|_| verdict(&mut acceptor, Errno::CONNABORTED))
            .collect();
        assert_eq!(verdicts.last(), Some(&AfterFailure::Pause));
        assert!(
            verdicts
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

    #[test]
    fn one_complaint_a_second_counts_the_others() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.may_say(start), Some(String::new()));
        for ms in 1..1000 {
            assert_eq!(complaints.may_say(start + Duration::from_millis(ms)), None);
        }
        let said = complaints.may_say(start + Duration::from_secs(1)).unwrap();
        assert!(said.contains("999 more"), "{said}");
    }
}

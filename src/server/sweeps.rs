//! Decides when the loop looks for stalled connections.
//!
//! A sweep is one look at every connection of the table. The loop makes a sweep once in each stall timeout. A peer is
//! stalled if its kernel has acknowledged nothing between two looks. So the loop finds a stalled peer after one to two
//! stall timeouts. A timer for each connection would be more exact, but it would take 16 bytes for each connection, and
//! every write would have to start it again.
//!
//! This module does not know the connections and reads no clock.

use std::ops::Range;
use std::time::{Duration, Instant};

/// The sweeps of one loop.
///
/// In each turn, call [`schedule`](Sweeps::schedule), look at the connections of [`keys`](Sweeps::keys), and then call
/// [`end_turn`](Sweeps::end_turn).
#[derive(Debug)]
pub(crate) struct Sweeps {
    /// The time from the end of one sweep to the start of the next: the stall timeout. `None` means no sweeps.
    every: Option<Duration>,
    /// When the next sweep begins; `None` while no sweep is scheduled.
    next: Option<Instant>,
    /// The first key that the sweep under way has not visited yet; `None` while no sweep is under way.
    at: Option<usize>,
    /// Whether a delivery is expected: since the last sweep began, bytes were written or a write was blocked.
    is_expected: bool,
    /// Whether the sweep under way has found undelivered bytes.
    is_needed_again: bool,
}

impl Sweeps {
    pub(crate) fn new(every: Option<Duration>) -> Sweeps {
        Sweeps {
            every,
            next: None,
            at: None,
            is_expected: false,
            is_needed_again: false,
        }
    }

    /// Records that bytes were written or a write was blocked. In both cases the peer's kernel must still acknowledge
    /// bytes.
    #[inline]
    pub(crate) fn expect_delivery(&mut self) {
        self.is_expected = true;
    }

    /// Schedules a sweep if a delivery is expected, and no sweep is scheduled or under way. Without a write there is no
    /// sweep, so an idle server sleeps.
    #[inline]
    pub(crate) fn schedule(&mut self, now: Instant) {
        if self.is_expected && self.next.is_none() && self.at.is_none() {
            self.next = self.every.map(|every| now + every);
        }
    }

    /// Returns the keys to look at in this turn. All keys of the table are below `end()`. The range is empty if no
    /// sweep is due or under way.
    pub(crate) fn keys(&mut self, end: impl FnOnce() -> usize, now: Instant) -> Range<usize> {
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.at = Some(0);
            self.is_expected = false;
            self.is_needed_again = false;
        }
        let Some(from) = self.at else {
            return 0..0;
        };
        let end = end();
        let to = end.min(from + KEYS_A_TURN);
        self.at = (to < end).then_some(to);
        from.min(to)..to
    }

    /// Requests another sweep after this one, because a connection has undelivered bytes.
    pub(crate) fn request_another(&mut self) {
        self.is_needed_again = true;
    }

    /// Ends the looks of this turn. If the sweep is complete and another one was requested, schedules it.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        if self.is_needed_again && self.at.is_none() && self.next.is_none() {
            self.next = self.every.map(|every| now + every);
            self.is_needed_again = false;
        }
    }

    /// Returns true if a sweep is under way. The next turn continues it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.at.is_some()
    }

    /// Returns when the next sweep begins; `None` while no sweep is scheduled.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}

/// The number of keys that a sweep visits in one turn. Each look takes a system call, so all looks take about half a
/// millisecond.
const KEYS_A_TURN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    #[test]
    fn no_sweep_is_scheduled_before_the_first_write() {
        let start = Instant::now();
        let mut sweeps = Sweeps::new(Some(EVERY));
        sweeps.schedule(start);
        assert_eq!(sweeps.next(), None);
        sweeps.expect_delivery();
        sweeps.schedule(start);
        assert_eq!(sweeps.next(), Some(start + EVERY));
        assert_eq!(sweeps.keys(|| 10, start), 0..0);
        assert_eq!(sweeps.keys(|| 10, start + EVERY), 0..10);
        sweeps.end_turn(start + EVERY);
        sweeps.schedule(start + EVERY);
        assert_eq!(
            sweeps.next(),
            None,
            "nothing was written since the sweep began"
        );
    }

    #[test]
    fn undelivered_bytes_cause_another_sweep() {
        let start = Instant::now();
        let mut sweeps = Sweeps::new(Some(EVERY));
        sweeps.expect_delivery();
        sweeps.schedule(start);
        // This sweep is late, as after a stop of the process. The next one follows a whole timeout later.
        let late = start + 5 * EVERY;
        assert_eq!(sweeps.keys(|| 1, late), 0..1);
        sweeps.request_another();
        sweeps.end_turn(late);
        assert_eq!(sweeps.next(), Some(late + EVERY));
    }

    #[test]
    fn a_large_table_is_swept_in_several_turns() {
        let start = Instant::now();
        let mut sweeps = Sweeps::new(Some(EVERY));
        sweeps.expect_delivery();
        sweeps.schedule(start);
        let now = start + EVERY;
        assert_eq!(sweeps.keys(|| KEYS_A_TURN + 1, now), 0..KEYS_A_TURN);
        sweeps.request_another();
        sweeps.end_turn(now);
        assert!(sweeps.is_under_way());
        assert_eq!(sweeps.next(), None);
        assert_eq!(
            sweeps.keys(|| KEYS_A_TURN + 1, now),
            KEYS_A_TURN..KEYS_A_TURN + 1
        );
        sweeps.end_turn(now);
        assert!(!sweeps.is_under_way());
        assert_eq!(sweeps.next(), Some(now + EVERY));
    }

    #[test]
    fn without_a_stall_timeout_there_is_no_sweep() {
        let start = Instant::now();
        let mut sweeps = Sweeps::new(None);
        sweeps.expect_delivery();
        sweeps.schedule(start);
        assert_eq!(sweeps.next(), None);
        assert_eq!(sweeps.keys(|| 10, start + EVERY), 0..0);
    }
}

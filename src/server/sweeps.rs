//! When to look at all connections for those whose peer takes nothing.
//!
//! A timer for each of them would cost each 16 bytes, and would have to be started at each write. But only the time from one
//! look to the next has to be right: a peer of which nothing was acknowledged between two looks has taken nothing for that
//! time. So every connection is looked at once in a stall timeout, and a peer is found after once to twice that.
//!
//! Knows no connection and reads no clock.

use std::ops::Range;
use std::time::{Duration, Instant};

/// The sweeps of one loop.
#[derive(Debug)]
pub(crate) struct Sweeps {
    /// From the end of a sweep to the next; `None` is never.
    every: Option<Duration>,
    /// When the next sweep begins.
    next: Option<Instant>,
    /// Where the sweep under way goes on.
    at: Option<usize>,
    /// Whether something was written since the last sweep began.
    is_expected: bool,
    /// Whether the sweep under way has found something undelivered.
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

    /// Something was written, or found no room: its peer owes an acknowledgement.
    #[inline]
    pub(crate) fn expect_delivery(&mut self) {
        self.is_expected = true;
    }

    /// Schedules a sweep if one is needed and none is. Where nothing is written there is nothing to look for, and a server with
    /// nothing to do sleeps.
    #[inline]
    pub(crate) fn schedule(&mut self, now: Instant) {
        if self.is_expected && self.next.is_none() && self.at.is_none() {
            self.next = self.every.map(|every| now + every);
        }
    }

    /// The keys to look at in this turn, of a table that has keys below `end()`; none when no sweep is due.
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

    /// A connection has something that is still to be delivered.
    pub(crate) fn come_again(&mut self) {
        self.is_needed_again = true;
    }

    /// The looks of this turn are done.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        if self.is_needed_again && self.at.is_none() && self.next.is_none() {
            self.next = self.every.map(|every| now + every);
            self.is_needed_again = false;
        }
    }

    /// Whether a sweep is under way. Then the next turn goes on with it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.at.is_some()
    }

    /// When the next sweep begins.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}

/// How many keys are looked at in one turn: with a system call for each, about half a millisecond.
const KEYS_A_TURN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_swept_before_something_was_written() {
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
        assert_eq!(sweeps.next(), None, "nothing was written since");
    }

    #[test]
    fn a_sweep_comes_again_where_something_is_to_be_delivered() {
        let start = Instant::now();
        let mut sweeps = Sweeps::new(Some(EVERY));
        sweeps.expect_delivery();
        sweeps.schedule(start);
        // Late, as after a stop of the process: the next one is a whole timeout after this one.
        let late = start + 5 * EVERY;
        assert_eq!(sweeps.keys(|| 1, late), 0..1);
        sweeps.come_again();
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
        sweeps.come_again();
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
    fn a_timeout_that_is_off_sweeps_nothing() {
        let start = Instant::now();
        let mut sweeps = Sweeps::new(None);
        sweeps.expect_delivery();
        sweeps.schedule(start);
        assert_eq!(sweeps.next(), None);
        assert_eq!(sweeps.keys(|| 10, start + EVERY), 0..0);
    }
}

//! Whether a connection may begin a message now, and if not, when.
//!
//! The one place where closed and open loop, duration and count differ: a closed loop's message is due when its
//! connection is free, an open loop's when the schedule says so. Reads no clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::schedule::Schedule;

/// How many messages are left to begin, and which connections wait for their next one to fall due.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the schedule starts; `u64::MAX` until that is known.
    start_ns: u64,
    /// From when on nothing is due.
    end_ns: u64,
    /// Messages that may still be begun.
    remaining: u64,
    /// When to call the connections that have room for a message that is not due yet.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Whether a connection is in `waiting`, by its key: each is there once at most.
    is_waiting: Vec<bool>,
}

/// Whether a message may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Yes: it was due then.
    Due(u64),
    /// Not before then.
    At(u64),
    /// Not any more, or not yet.
    Never,
}

impl Pace {
    /// For so many connections, with keys from 0 up. Nothing may begin until [`start`](Pace::start).
    pub(super) fn new(remaining: u64, connections: usize) -> Pace {
        Pace {
            start_ns: u64::MAX,
            end_ns: u64::MAX,
            remaining,
            waiting: BinaryHeap::new(),
            is_waiting: vec![false; connections],
        }
    }

    pub(super) fn start(&mut self, start_ns: u64, end_ns: u64) {
        (self.start_ns, self.end_ns) = (start_ns, end_ns);
    }

    /// From now on nothing is due.
    pub(super) fn end(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
        self.waiting.clear();
        self.is_waiting.fill(false);
    }

    /// Takes the next message of a connection that has room for it, if it is due.
    #[inline]
    pub(super) fn take(&mut self, schedule: Option<&mut Schedule>, now_ns: u64) -> Next {
        if self.remaining == 0 || now_ns < self.start_ns {
            return Next::Never;
        }
        let due_ns = match &schedule {
            None => now_ns,
            Some(schedule) => self.start_ns + schedule.due_ns(),
        };
        if due_ns >= self.end_ns {
            return Next::Never;
        }
        if due_ns > now_ns {
            return Next::At(due_ns);
        }
        if let Some(schedule) = schedule {
            schedule.advance();
        }
        self.remaining -= 1;
        Next::Due(due_ns)
    }

    /// Has a connection called at that time, unless it waits already.
    #[inline]
    pub(super) fn wait(&mut self, due_ns: u64, key: usize) {
        if let Some(is_waiting) = self.is_waiting.get_mut(key)
            && !std::mem::replace(is_waiting, true)
        {
            self.waiting.push(Reverse((due_ns, key)));
        }
    }

    /// When the next connection is to be called.
    #[inline]
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// Takes a connection whose time has come.
    #[inline]
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<usize> {
        let Reverse((due_ns, key)) = *self.waiting.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.waiting.pop();
        if let Some(is_waiting) = self.is_waiting.get_mut(key) {
            *is_waiting = false;
        }
        Some(key)
    }

    /// Whether all messages of a count have begun.
    pub(super) fn is_used_up(&self) -> bool {
        self.remaining == 0
    }

    /// At the end: the times of the messages that were due on this connection and have not begun.
    pub(super) fn left_over(
        &mut self,
        schedule: Option<&mut Schedule>,
        mut unsent: impl FnMut(u64),
    ) {
        let Some(schedule) = schedule else { return };
        while let Next::Due(due_ns) = self.take(Some(schedule), u64::MAX) {
            unsent(due_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Arrivals;

    #[test]
    fn a_closed_loop_is_due_when_it_is_free() {
        let mut pace = Pace::new(2, 1);
        assert_eq!(pace.take(None, 50), Next::Never, "not started");
        pace.start(100, 1_000);
        assert_eq!(pace.take(None, 99), Next::Never, "too early");
        assert_eq!(pace.take(None, 123), Next::Due(123));
        assert_eq!(pace.take(None, 1_000), Next::Never, "too late");
        assert_eq!(pace.take(None, 999), Next::Due(999));
        assert_eq!(pace.take(None, 999), Next::Never, "used up");
    }

    #[test]
    fn an_open_loop_takes_the_schedules_times_however_late_it_comes() {
        let mut schedule = Schedule::new(Arrivals::Fixed, 1e6, 0, 1, 1);
        let mut pace = Pace::new(u64::MAX, 1);
        pace.start(500, 5_500);
        assert_eq!(pace.take(Some(&mut schedule), 4_000), Next::Due(500));
        assert_eq!(pace.take(Some(&mut schedule), 4_000), Next::Due(1_500));
        assert_eq!(pace.take(Some(&mut schedule), 2_499), Next::At(2_500));
        // At the end nothing that was scheduled is skipped.
        let mut left_over = Vec::new();
        pace.left_over(Some(&mut schedule), |due_ns| left_over.push(due_ns));
        assert_eq!(left_over, [2_500, 3_500, 4_500]);
    }

    #[test]
    fn waiting_connections_are_called_in_order_and_once() {
        let mut pace = Pace::new(1, 4);
        for (due_ns, key) in [(30, 3), (10, 1), (20, 2)] {
            pace.wait(due_ns, key);
        }
        pace.wait(5, 1);
        assert_eq!(pace.next_ns(), Some(10));
        let called: Vec<_> = std::iter::from_fn(|| pace.pop(20)).collect();
        assert_eq!(called, [1, 2]);
    }
}

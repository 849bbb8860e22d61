//! Decides whether a connection may begin a message now, and if not, when.
//!
//! Closed loop and open loop, duration and count differ only here. A message of a closed loop is due when its
//! connection is free. A message of an open loop is due at its time in the schedule. The module reads no clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::schedule::Schedule;

/// Counts the messages that may still begin, and holds the connections that wait until their next message is due.
#[derive(Debug)]
pub(super) struct Pace {
    /// The start of the schedule; `u64::MAX` until it is known.
    start_ns: u64,
    /// The end: no message is due at this time or later.
    end_ns: u64,
    /// Messages that may still begin.
    remaining: u64,
    /// Connections that could begin a message that is not due yet: the time when it is due, and the connection's key.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Whether a connection is in `waiting`, by its key. Each connection is there at most once.
    is_waiting: Vec<bool>,
}

/// Whether a message may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A message begins now. It was due at this time.
    Due(u64),
    /// The next message is due at this later time.
    At(u64),
    /// No message may begin: the schedule has not started, or all messages have begun, or the end has come.
    Never,
}

impl Pace {
    /// Makes a pace of `remaining` messages for connections with the keys from 0 to `connections` - 1. No message may
    /// begin before [`start`](Pace::start).
    pub(super) fn new(remaining: u64, connections: usize) -> Pace {
        Pace {
            start_ns: u64::MAX,
            end_ns: u64::MAX,
            remaining,
            waiting: BinaryHeap::new(),
            is_waiting: vec![false; connections],
        }
    }

    /// Sets the start of the schedule and its end.
    pub(super) fn start(&mut self, start_ns: u64, end_ns: u64) {
        (self.start_ns, self.end_ns) = (start_ns, end_ns);
    }

    /// Ends the schedule: no message is due from `now_ns` on.
    pub(super) fn end(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
        self.waiting.clear();
        self.is_waiting.fill(false);
    }

    /// Begins the next message of a connection, if it is due. The connection must have room for it.
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

    /// Lets a connection wait until `due_ns`, unless it waits already.
    #[inline]
    pub(super) fn wait(&mut self, due_ns: u64, key: usize) {
        if let Some(is_waiting) = self.is_waiting.get_mut(key)
            && !std::mem::replace(is_waiting, true)
        {
            self.waiting.push(Reverse((due_ns, key)));
        }
    }

    /// When the next waiting connection may begin a message; `None` if no connection waits.
    #[inline]
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// Takes a waiting connection whose message is due.
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

    /// Whether all messages of the count have begun.
    pub(super) fn is_used_up(&self) -> bool {
        self.remaining == 0
    }

    /// Calls `unsent` with the time of each message that was due on this connection and has not begun. For the end of
    /// the run.
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
    fn a_message_of_a_closed_loop_is_due_when_its_connection_is_free() {
        let mut pace = Pace::new(2, 1);
        assert_eq!(
            pace.take(None, 50),
            Next::Never,
            "the schedule has not started"
        );
        pace.start(100, 1_000);
        assert_eq!(pace.take(None, 99), Next::Never, "the start has not come");
        assert_eq!(pace.take(None, 123), Next::Due(123));
        assert_eq!(pace.take(None, 1_000), Next::Never, "the end has come");
        assert_eq!(pace.take(None, 999), Next::Due(999));
        assert_eq!(pace.take(None, 999), Next::Never, "all messages have begun");
    }

    #[test]
    fn an_open_loop_keeps_the_times_of_the_schedule_when_it_is_late() {
        let mut schedule = Schedule::new(Arrivals::Fixed, 1e6, 0, 1, 1);
        let mut pace = Pace::new(u64::MAX, 1);
        pace.start(500, 5_500);
        assert_eq!(pace.take(Some(&mut schedule), 4_000), Next::Due(500));
        assert_eq!(pace.take(Some(&mut schedule), 4_000), Next::Due(1_500));
        assert_eq!(pace.take(Some(&mut schedule), 2_499), Next::At(2_500));
        // At the end no scheduled message is skipped.
        let mut left_over = Vec::new();
        pace.left_over(Some(&mut schedule), |due_ns| left_over.push(due_ns));
        assert_eq!(left_over, [2_500, 3_500, 4_500]);
    }

    #[test]
    fn waiting_connections_are_taken_in_order_and_once() {
        let mut pace = Pace::new(1, 4);
        for (due_ns, key) in [(30, 3), (10, 1), (20, 2)] {
            pace.wait(due_ns, key);
        }
        pace.wait(5, 1);
        assert_eq!(pace.next_ns(), Some(10));
        let taken: Vec<_> = std::iter::from_fn(|| pace.pop(20)).collect();
        assert_eq!(taken, [1, 2]);
    }
}

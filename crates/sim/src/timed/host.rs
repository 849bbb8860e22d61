//! A host: one program with its clock, its sleep and its ready list.

use std::collections::VecDeque;

use net::poller::Signal;

use super::settings::{Stall, StallKind};

/// One program, and its part of the kernel.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The program's clock.
    pub(super) clock_ns: u64,
    /// The end of the program's wait; `None` while it runs.
    pub(super) asleep_until_ns: Option<u64>,
    /// Sockets with a new edge.
    pub(super) ready: VecDeque<Source>,
    /// The number of the program's handles: its poller and its streams. The program has ended at 0.
    pub(super) handles: usize,
    /// Whether the waker was used since the last poll.
    pub(super) is_woken: bool,
    /// A signal that the program has not taken.
    pub(super) signal: Option<Signal>,
    /// The program's stalls, in order.
    pub(super) stalls: VecDeque<Stall>,
    /// The time that the program has used, without its waits.
    pub(super) busy_ns: u64,
    /// The time that the program has waited in the run queue.
    pub(super) run_queue_ns: u64,
}

/// A registered socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The host's end of the connection with this number.
    Stream(usize),
    /// The listener.
    Listener,
}

impl Host {
    /// When the program acts next; `u64::MAX` if it waits without limit or has ended.
    pub(super) fn next_ns(&self) -> u64 {
        match self.handles {
            0 => u64::MAX,
            _ => self.asleep_until_ns.unwrap_or(self.clock_ns),
        }
    }

    /// Spends time in a call. A stall that begins meanwhile adds to it.
    pub(super) fn spend(&mut self, ns: u64) {
        self.busy_ns += ns;
        let mut end_ns = self.clock_ns + ns;
        while let Some(stall) = self.stalls.front().copied()
            && stall.at_ns < end_ns
        {
            self.stalls.pop_front();
            // A stall that began while the program slept is handled in `wake`.
            if stall.at_ns >= self.clock_ns {
                end_ns += stall.length_ns;
                self.account(stall.kind, stall.length_ns);
            }
        }
        self.clock_ns = end_ns;
    }

    /// Ends a wait at `at_ns`. If a stall contains this time, ends the wait when the stall is over.
    pub(super) fn wake(&mut self, at_ns: u64) {
        self.asleep_until_ns = None;
        let mut end_ns = at_ns;
        while let Some(stall) = self.stalls.front().copied()
            && stall.at_ns <= end_ns
        {
            self.stalls.pop_front();
            let over_ns = stall.at_ns + stall.length_ns;
            if over_ns > end_ns {
                self.account(stall.kind, over_ns - end_ns);
                end_ns = over_ns;
            }
        }
        self.clock_ns = self.clock_ns.max(end_ns);
    }

    /// Ends the wait of a sleeping program at `at_ns` at the latest.
    pub(super) fn wake_by(&mut self, at_ns: u64) {
        if let Some(until_ns) = &mut self.asleep_until_ns {
            *until_ns = at_ns.min(*until_ns);
        }
    }

    fn account(&mut self, kind: StallKind, ns: u64) {
        if kind == StallKind::RunQueue {
            self.run_queue_ns += ns;
        }
    }
}

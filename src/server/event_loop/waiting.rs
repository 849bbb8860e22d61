//! The loop's part that says how long a poll may wait.

use std::time::Duration;

use super::EventLoop;
use crate::poller::Poller;

impl<P: Poller> EventLoop<P> {
    /// Not at all while somebody has yielded, or has been heard of just now; otherwise until the first of the timers.
    pub(super) fn time_to_wait(&self) -> Option<Duration> {
        // A handle sets its flag and then wakes the poll up. mio's `poll(2)` selector may lose that: each re-arming
        // empties the descriptor that the wake-up was written to. The flag is there by then, so look at it last.
        let asked_to_stop = self.control.is_stopping() && self.deadline.is_none();
        planted!(WaitForALostWakeUp => if self.ready.is_empty() { return self.time_to_first_timer() });
        let has_more = !self.ready.is_empty()
            || self.sweeps.is_under_way()
            || self.buffers.spills.is_trimming();
        if has_more || asked_to_stop || self.is_wide_awake() {
            return Some(Duration::ZERO);
        }
        self.time_to_first_timer()
    }

    /// Whether the last event is so recent that the next is worth polling for without sleeping (`--busy-poll`).
    ///
    /// A sleeping processor takes some tens of microseconds to be woken up, more in a virtual machine; a message that
    /// comes sooner than that is served sooner, at the price of a processor that does nothing else meanwhile.
    pub(super) fn is_wide_awake(&self) -> bool {
        self.awake_until.is_some_and(|until| self.now < until)
    }

    fn time_to_first_timer(&self) -> Option<Duration> {
        let timers = [
            self.timeouts.next(self.now),
            self.sweeps.next(),
            self.acceptor.retry_at(),
            self.report_at,
            self.trim_at,
            self.deadline,
        ];
        planted!(WakeUpForNothing => return Some(Duration::from_millis(1)));
        let first = timers.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(self.now))
    }
}

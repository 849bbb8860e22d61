//! Where the time of the driver's thread went: it ran, it waited for a processor, it slept in the poll, or none of
//! them.
//!
//! The kernel accounts for the first two (sched_debug(7) calls them run time and run delay; proc(5), `schedstat`), and
//! the driver for the third. Time that nothing explains was taken from the thread: the process was stopped, or the real
//! processor of a virtual one ran something else.

use std::time::Duration;

use super::duration::ns;
use net::connect::ThreadTimes;

/// The account of one thread, over its window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Presence {
    /// The last reading: the time, and what the kernel said.
    last: Option<(u64, ThreadTimes)>,
    /// Time asleep in the poll since the last reading.
    slept_ns: u64,
    totals: Totals,
}

/// The sums over the window, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Processor time.
    pub(crate) running_ns: u64,
    /// Time in which the thread could run and waited for a processor.
    pub(crate) queued_ns: u64,
    /// Time that is not explained. It is a lower bound, because short sleeps count as sleep completely.
    pub(crate) absent_ns: u64,
    /// Whether the kernel did not count the time in the run queue. Then `queued_ns` and `absent_ns` are 0.
    pub(crate) is_incomplete: bool,
}

/// The account of a period: the time between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Period {
    /// When it began, on the driver's clock.
    pub(crate) start_ns: u64,
    /// When it ended.
    pub(crate) end_ns: u64,
    /// The same as in [`Totals`], in this period.
    pub(crate) queued_ns: u64,
    /// The same as in [`Totals`], in this period.
    pub(crate) absent_ns: u64,
}

impl Presence {
    /// Counts time that the thread slept in a poll by its own choice.
    #[inline(always)]
    pub(crate) fn slept(&mut self, slept_ns: u64) {
        self.slept_ns += slept_ns;
    }

    /// Ends a period and returns it, and begins the next one. The first reading begins the first period.
    ///
    /// A sleep of a few microseconds contains processor time that the kernel counts too. Such time is counted twice. So
    /// the reported absence can be shorter than the true one. Each period is judged alone, so that the surplus of one
    /// does not hide the absence in another.
    pub(crate) fn read(&mut self, now_ns: u64, times: ThreadTimes) -> Option<Period> {
        let slept_ns = std::mem::take(&mut self.slept_ns);
        let (before_ns, before) = self.last.replace((now_ns, times))?;
        let mut period = Period {
            start_ns: before_ns,
            end_ns: now_ns,
            ..Period::default()
        };
        let of = |now: Duration, before: Duration| ns(now.saturating_sub(before));
        let running_ns = of(times.running, before.running);
        self.totals.running_ns += running_ns;
        if let (Some(now), Some(before)) = (times.queued, before.queued) {
            let queued_ns = of(now, before);
            let explained_ns = running_ns + queued_ns + slept_ns;
            period.queued_ns = queued_ns;
            period.absent_ns = (now_ns - before_ns).saturating_sub(explained_ns);
        } else {
            self.totals.is_incomplete = true;
        }
        self.totals.queued_ns += period.queued_ns;
        self.totals.absent_ns += period.absent_ns;
        Some(period)
    }

    /// Whether the current period is long enough for a reading.
    #[inline(always)]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.last
            .is_some_and(|(last_ns, _)| now_ns - last_ns >= PERIOD_NS)
    }

    /// Returns true before the first reading.
    pub(crate) fn has_not_begun(&self) -> bool {
        self.last.is_none()
    }

    /// Returns the sums so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }
}

/// The length of a period. Time that is counted twice in a period can hide an absence of at most this length.
const PERIOD_NS: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn times(running_ms: u64, queued_ms: u64) -> ThreadTimes {
        ThreadTimes {
            running: Duration::from_millis(running_ms),
            queued: Some(Duration::from_millis(queued_ms)),
        }
    }

    #[test]
    fn time_that_nothing_explains_is_an_absence() {
        let mut presence = Presence::default();
        presence.slept(5 * MS);
        assert_eq!(presence.read(100 * MS, times(10, 1)), None);
        // Of 100 ms: 30 ran, 20 queued, 45 slept. Nothing explains the last 5.
        presence.slept(45 * MS);
        let period = presence.read(200 * MS, times(40, 21)).unwrap();
        assert_eq!((period.start_ns, period.end_ns), (100 * MS, 200 * MS));
        assert_eq!((period.queued_ns, period.absent_ns), (20 * MS, 5 * MS));
        // A period in which more time is counted than has passed does not hide the absence of the period before.
        presence.slept(100 * MS);
        presence.read(300 * MS, times(60, 21));
        let totals = presence.totals();
        assert_eq!(totals.running_ns, 50 * MS);
        assert_eq!(totals.queued_ns, 20 * MS);
        assert_eq!(totals.absent_ns, 5 * MS);
    }

    #[test]
    fn without_the_waiting_time_of_the_scheduler_no_absence_is_reported() {
        let mut presence = Presence::default();
        let times = ThreadTimes {
            running: Duration::ZERO,
            queued: None,
        };
        presence.read(0, times);
        presence.read(100 * MS, times);
        let expected = Totals {
            is_incomplete: true,
            ..Totals::default()
        };
        assert_eq!(presence.totals(), expected);
    }
}

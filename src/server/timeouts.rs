//! The timers of idle and lingering connections. To start a timer, to stop one, and to find an expired one each take
//! constant time.
//!
//! A [`Timeout`] has the same duration for all peers, so timers expire in the order in which they were started. That
//! order is a queue: a started timer goes to its end, and only the first timer can have expired. Both queues are linked
//! lists in one array of links, indexed by the key of the table. This module reads no clock: time is an argument.

#![allow(
    clippy::indexing_slicing,
    reason = "`push` extends `links` before it queues a key, and each timeout has its queue"
)]

use std::time::{Duration, Instant};

/// The timer of a peer, named after the timeout that it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// The server waits for the next bytes of the peer.
    Idle,
    /// The server has ended its stream and waits for the peer's end of stream.
    Linger,
}

/// A time, in milliseconds since [`Timeouts::start`]. It wraps after 49 days: see [`QueueLink`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick(u32);

/// The queues of timers. A peer is in at most one of them.
#[derive(Debug)]
pub(crate) struct Timeouts {
    /// The time of tick 0.
    start: Instant,
    /// The links, by key.
    links: Vec<QueueLink>,
    /// One queue for each [`Timeout`], in the order of its variants.
    queues: [Queue; 2],
    /// The number of links for which the first `push` reserves space.
    expected: usize,
}

/// The timer of a peer, as a link of its queue.
///
/// `since` wraps after 49 days. This does no harm, because the age of a timer is a wrapping difference, and no timeout
/// is longer than half of 49 days ([`LONGEST`]).
#[derive(Clone, Copy, Debug)]
struct QueueLink {
    /// The key before this one in the queue, or [`NONE`].
    previous: u32,
    /// The key after this one in the queue, or [`NONE`].
    next: u32,
    /// When the timer was started, in milliseconds since [`Timeouts::start`].
    since: u32,
    /// The queue that the peer is in; `None` while no timer runs.
    queue: Option<Timeout>,
}

/// The timers of one timeout, in the order in which they expire.
#[derive(Clone, Copy, Debug)]
struct Queue {
    /// The duration of the timeout, in milliseconds; `None` if the timeout is off.
    after: Option<u32>,
    /// The key whose timer expires first, or [`NONE`].
    first: u32,
    /// The key whose timer expires last, or [`NONE`].
    last: u32,
}

impl Timeouts {
    /// Creates the queues, with the durations of the two timeouts; `None` turns a timeout off.
    ///
    /// A duration longer than [`LONGEST`] counts as `LONGEST`. A duration shorter than a millisecond counts as a
    /// millisecond: a timer that is restarted when it expires must not expire again in the same turn. The first timer
    /// reserves space for `expected` peers. This is address space only: the system provides memory when a link is used.
    pub(crate) fn new(
        start: Instant,
        idle: Option<Duration>,
        linger: Option<Duration>,
        expected: usize,
    ) -> Timeouts {
        let queue = |after: Option<Duration>| Queue {
            after: after.map(|after| {
                u32::try_from(after.min(LONGEST).as_millis()).map_or(1, |ms| ms.max(1))
            }),
            first: NONE,
            last: NONE,
        };
        Timeouts {
            start,
            links: Vec::new(),
            expected,
            queues: [queue(idle), queue(linger)],
        }
    }

    /// Converts a time to a tick. The loop does this once in each turn, not for each peer.
    pub(crate) fn tick(&self, now: Instant) -> Tick {
        // Keeps only the low 32 bits: see `QueueLink`.
        Tick(now.saturating_duration_since(self.start).as_millis() as u32)
    }

    /// Starts a timer of a peer, because bytes have moved. A timer of the peer that is already running starts anew.
    #[inline]
    pub(crate) fn restart(&mut self, key: usize, timeout: Timeout, Tick(since): Tick) {
        let is_on = self.queues[timeout as usize].after.is_some();
        let changes = match self.links.get(key) {
            Some(link) if is_on => link.queue != Some(timeout) || link.since != since,
            Some(link) => link.queue.is_some(),
            None => is_on,
        };
        if changes {
            self.stop(key);
            if is_on {
                self.push(key, timeout, since);
            }
        }
    }

    /// Starts a timer of a peer, although no bytes have moved. If this timer is already running, it goes on.
    pub(crate) fn resume(&mut self, key: usize, timeout: Timeout, now: Tick) {
        if self.links.get(key).and_then(|link| link.queue) != Some(timeout) {
            self.restart(key, timeout, now);
        }
    }

    /// Stops the timer of a peer, if one is running.
    pub(crate) fn stop(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let Some(timeout) = link.queue.take() else {
            return;
        };
        let (previous, next) = (link.previous, link.next);
        let queue = &mut self.queues[timeout as usize];
        match previous {
            NONE => queue.first = next,
            key => self.links[key as usize].next = next,
        }
        match next {
            NONE => queue.last = previous,
            key => self.links[key as usize].previous = previous,
        }
    }

    /// Stops and returns a timer that has expired; `None` if no timer has.
    pub(crate) fn expired(&mut self, Tick(now): Tick) -> Option<(usize, Timeout)> {
        let (key, timeout) = self.fronts().find_map(|(key, timeout, since, after)| {
            (now.wrapping_sub(since) >= after).then_some((key, timeout))
        })?;
        self.stop(key);
        Some((key, timeout))
    }

    /// Returns when the next timer expires; `None` if no timer is running.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let Tick(ticks) = self.tick(now);
        let wait = self
            .fronts()
            .map(|(_, _, since, after)| after.saturating_sub(ticks.wrapping_sub(since)))
            .min()?;
        Some(now + Duration::from_millis(u64::from(wait)))
    }

    /// Frees the memory of the links. No timer may be running.
    pub(crate) fn shrink(&mut self) {
        debug_assert!(self.fronts().next().is_none());
        self.links = Vec::new();
    }

    /// Returns the first timer of each queue: its key, its timeout, its start, and the duration of the timeout.
    fn fronts(&self) -> impl Iterator<Item = (usize, Timeout, u32, u32)> {
        [Timeout::Idle, Timeout::Linger]
            .into_iter()
            .filter_map(|timeout| {
                let queue = self.queues[timeout as usize];
                let link = self.links.get(queue.first as usize)?;
                Some((queue.first as usize, timeout, link.since, queue.after?))
            })
    }

    fn push(&mut self, key: usize, timeout: Timeout, since: u32) {
        if self.links.len() <= key {
            self.links
                .reserve(self.expected.saturating_sub(self.links.len()));
            self.links.resize(key + 1, QueueLink::UNQUEUED);
        }
        let queue = &mut self.queues[timeout as usize];
        let previous = std::mem::replace(&mut queue.last, key as u32);
        match previous {
            NONE => queue.first = key as u32,
            last => self.links[last as usize].next = key as u32,
        }
        self.links[key] = QueueLink {
            previous,
            next: NONE,
            since,
            queue: Some(timeout),
        };
    }
}

impl QueueLink {
    /// The link of a key without a running timer.
    const UNQUEUED: QueueLink = QueueLink {
        previous: NONE,
        next: NONE,
        since: 0,
        queue: None,
    };
}

/// No key. The keys of the table are far below this value.
const NONE: u32 = u32::MAX;

/// The longest timeout: 24 days, which is half of the time after which the milliseconds wrap.
pub(crate) const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts(start: Instant) -> Timeouts {
        let idle = Some(Duration::from_millis(100));
        let linger = Some(Duration::from_millis(30));
        Timeouts::new(start, idle, linger, 0)
    }

    fn expired(timeouts: &mut Timeouts, now: Instant) -> Option<(usize, Timeout)> {
        let tick = timeouts.tick(now);
        timeouts.expired(tick)
    }

    fn all_expired(timeouts: &mut Timeouts, now: Instant) -> Vec<usize> {
        let tick = timeouts.tick(now);
        std::iter::from_fn(|| timeouts.expired(tick).map(|(key, _)| key)).collect()
    }

    #[test]
    fn the_timer_that_was_restarted_last_expires_last() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeouts = timeouts(start);
        for key in 0..4 {
            let now = timeouts.tick(at(key as u64));
            timeouts.restart(key, Timeout::Idle, now);
        }
        let now = timeouts.tick(at(50));
        timeouts.restart(1, Timeout::Idle, now);
        timeouts.stop(2);
        assert_eq!(timeouts.next(at(50)), Some(at(100)));
        assert_eq!(all_expired(&mut timeouts, at(99)), [0_usize; 0]);
        assert_eq!(all_expired(&mut timeouts, at(103)), [0, 3]);
        assert_eq!(timeouts.next(at(103)), Some(at(150)));
        assert_eq!(all_expired(&mut timeouts, at(150)), [1]);
        assert_eq!(timeouts.next(at(150)), None);
    }

    #[test]
    fn another_timer_starts_anew_and_the_same_timer_goes_on() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeouts = timeouts(start);
        let now = timeouts.tick(at(0));
        timeouts.restart(7, Timeout::Idle, now);
        let now = timeouts.tick(at(90));
        timeouts.resume(7, Timeout::Linger, now);
        let now = timeouts.tick(at(110));
        timeouts.resume(7, Timeout::Linger, now);
        assert_eq!(expired(&mut timeouts, at(119)), None);
        assert_eq!(expired(&mut timeouts, at(120)), Some((7, Timeout::Linger)));
    }

    #[test]
    fn a_timer_that_is_started_again_does_not_expire_in_the_same_turn() {
        let start = Instant::now();
        let mut timeouts = Timeouts::new(start, Some(Duration::ZERO), None, 0);
        let due = start + Duration::from_millis(1);
        let now = timeouts.tick(start);
        timeouts.restart(0, Timeout::Idle, now);
        assert_eq!(expired(&mut timeouts, due), Some((0, Timeout::Idle)));
        let now = timeouts.tick(due);
        timeouts.restart(0, Timeout::Idle, now);
        assert_eq!(expired(&mut timeouts, due), None);
    }

    #[test]
    fn a_timeout_that_is_off_never_expires() {
        let start = Instant::now();
        let mut timeouts = Timeouts::new(start, None, None, 0);
        let now = timeouts.tick(start);
        timeouts.restart(0, Timeout::Linger, now);
        assert_eq!(timeouts.next(start), None);
    }

    #[test]
    fn timers_are_exact_across_the_wrap_of_the_milliseconds() {
        let start = Instant::now();
        let late = start + Duration::from_millis(u64::from(u32::MAX) - 10);
        let mut timeouts = timeouts(start);
        let now = timeouts.tick(late);
        timeouts.restart(0, Timeout::Idle, now);
        assert_eq!(
            expired(&mut timeouts, late + Duration::from_millis(99)),
            None
        );
        let due = late + Duration::from_millis(100);
        assert_eq!(timeouts.next(due - Duration::from_millis(1)), Some(due));
        assert_eq!(expired(&mut timeouts, due), Some((0, Timeout::Idle)));
    }

    #[test]
    fn a_link_takes_sixteen_bytes() {
        assert_eq!(size_of::<QueueLink>(), 16);
    }
}

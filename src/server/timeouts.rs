//! Peers that have been still for too long, found in constant time.
//!
//! Each [`Timeout`] is the same for all peers, so the peers that wait for it in the order in which they last moved
//! are in the order in which they are due: a queue each, threaded through one array of links indexed by slab key.
//! Whoever moves goes to the end of the queue; only the front is ever looked at. Reads no clock: time is an argument.

#![allow(
    clippy::indexing_slicing,
    reason = "`push` makes room for a key before it is in a queue, and a timeout is one of the queues"
)]

use std::time::{Duration, Instant};

/// What a peer may be waiting for, at most for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// The peer's next bytes.
    Idle,
    /// The peer's end of stream, after our own.
    Linger,
}

/// A point in time, in milliseconds after the start. It wraps after 49 days: see [`QueueLink`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick(u32);

/// The queues. A peer is in one of them, or in none.
#[derive(Debug)]
pub(crate) struct Timeouts {
    /// Where ticks begin.
    start: Instant,
    /// A link for each key.
    links: Vec<QueueLink>,
    /// One for each [`Timeout`], in the order of its variants.
    queues: [Queue; 2],
    /// How many links there is room for from the first one on.
    expected: usize,
}

/// A peer's place in a queue. `since` is in milliseconds after the start and wraps after 49 days, which is harmless
/// as long as no timeout is longer than half of that: ages are differences.
#[derive(Clone, Copy, Debug)]
struct QueueLink {
    /// The key before it in its queue, or [`NONE`].
    previous: u32,
    /// The key behind it, or [`NONE`].
    next: u32,
    /// When the wait began.
    since: u32,
    /// The queue that it is in.
    queue: Option<Timeout>,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    /// In milliseconds; `None` is never.
    after: Option<u32>,
    /// The key that has waited longest, or [`NONE`].
    first: u32,
    /// The key that has waited shortest, or [`NONE`].
    last: u32,
}

impl Timeouts {
    /// Timeouts of `None` never come. One above [`LONGEST`] counts as that, one below a millisecond as a millisecond: a timer
    /// that is started again when it expires must not expire in the same turn. There is room for `expected` peers from the
    /// first of them on: address space, of which only what is used becomes memory.
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

    /// The time as this module counts it: worked out once a turn, used for each peer.
    pub(crate) fn tick(&self, now: Instant) -> Tick {
        // The low 32 bits, on purpose: see `QueueLink`.
        Tick(now.saturating_duration_since(self.start).as_millis() as u32)
    }

    /// The peer has moved just now, and waits for this next.
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

    /// The peer has not moved, and waits for this; a wait for the same that is under way goes on.
    pub(crate) fn resume(&mut self, key: usize, timeout: Timeout, now: Tick) {
        if self.links.get(key).and_then(|link| link.queue) != Some(timeout) {
            self.restart(key, timeout, now);
        }
    }

    /// The peer waits for nothing any more.
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

    /// A peer whose timeout has come, taken out of its queue.
    pub(crate) fn expired(&mut self, Tick(now): Tick) -> Option<(usize, Timeout)> {
        let (key, timeout) = self.fronts().find_map(|(key, timeout, since, after)| {
            (now.wrapping_sub(since) >= after).then_some((key, timeout))
        })?;
        self.stop(key);
        Some((key, timeout))
    }

    /// When the next timeout comes, if any is under way.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let Tick(ticks) = self.tick(now);
        let wait = self
            .fronts()
            .map(|(_, _, since, after)| after.saturating_sub(ticks.wrapping_sub(since)))
            .min()?;
        Some(now + Duration::from_millis(u64::from(wait)))
    }

    /// Gives back the memory of a crowd that has left. Nobody may be waiting.
    pub(crate) fn shrink(&mut self) {
        debug_assert!(self.fronts().next().is_none());
        self.links = Vec::new();
    }

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
            self.links.resize(key + 1, QueueLink::LOOSE);
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
    const LOOSE: QueueLink = QueueLink {
        previous: NONE,
        next: NONE,
        since: 0,
        queue: None,
    };
}

/// No key: the table's keys are far below.
const NONE: u32 = u32::MAX;

/// The longest timeout, 24 days: half the time after which the milliseconds wrap.
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
    fn who_moved_last_is_due_last() {
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
    fn a_wait_for_something_else_starts_anew_and_one_for_the_same_goes_on() {
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
    fn a_timeout_that_is_off_never_comes() {
        let start = Instant::now();
        let mut timeouts = Timeouts::new(start, None, None, 0);
        let now = timeouts.tick(start);
        timeouts.restart(0, Timeout::Linger, now);
        assert_eq!(timeouts.next(start), None);
    }

    #[test]
    fn ages_survive_the_wrap_of_the_milliseconds() {
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
    fn a_place_costs_sixteen_bytes() {
        assert_eq!(size_of::<QueueLink>(), 16);
    }
}

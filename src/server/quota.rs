//! A number that all loops of a server share: how much may be in use at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A quota of connections, or of buffers. With one loop it is a counter with a limit. Several loops take from the same
/// quota, each on its own thread.
///
/// The operations are relaxed: the quota orders nothing but itself, and no other memory depends on its value.
#[derive(Debug)]
pub(crate) struct Quota {
    /// The largest number that may be in use.
    most: usize,
    /// The number in use.
    in_use: AtomicUsize,
    /// The highest value that `in_use` has had.
    peak: AtomicUsize,
}

impl Quota {
    /// Creates a quota of which nothing is in use.
    pub(crate) fn new(most: usize) -> Quota {
        Quota {
            most,
            in_use: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Takes one. Returns false if as many are in use as the quota allows.
    pub(crate) fn take(&self) -> bool {
        let next = |n| (n < self.most).then_some(n + 1);
        match self
            .in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        {
            Ok(before) => {
                // A read is cheaper than a locked instruction, and the peak seldom changes.
                if before + 1 > self.peak() {
                    self.peak.fetch_max(before + 1, Ordering::Relaxed);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Releases one that was taken.
    pub(crate) fn release(&self) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the largest number that may be in use.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Returns the number in use now.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Returns the largest number that was in use at the same time.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_take_at_the_same_time_never_exceed_the_quota() {
        let quota = Quota::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if quota.take() {
                            assert!(quota.in_use() <= 3);
                            quota.release();
                        }
                    }
                });
            }
        });
        assert_eq!(quota.in_use(), 0);
        assert!((1..=3).contains(&quota.peak()), "{}", quota.peak());
    }

    #[test]
    fn a_quota_of_zero_gives_nothing() {
        assert!(!Quota::new(0).take());
    }
}

//! Durations as nanoseconds.

use std::time::Duration;

/// A duration in nanoseconds; `u64::MAX` if it is longer than 584 years.
pub(crate) fn ns(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

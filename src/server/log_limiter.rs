//! Log lines that come at most once a second, so that a repeated failure does not flood the log.
//!
//! Reads no clock: time is an argument.

use std::time::{Duration, Instant};

/// Allows one line a second, and counts the lines left out.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    /// When the last line was logged.
    last: Option<Instant>,
    /// Lines left out since then.
    left_out: u64,
}

impl LogLimiter {
    /// If a line may be logged now, returns what to append to it: how many lines were left out since the last one.
    pub(crate) fn allow(&mut self, now: Instant) -> Option<String> {
        let is_recent = |last| now.saturating_duration_since(last) < BETWEEN_LINES;
        if self.last.is_some_and(is_recent) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            n => format!(" ({n} more such since the last line)"),
        })
    }
}

const BETWEEN_LINES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_counts_those_left_out() {
        let mut limiter = LogLimiter::default();
        let start = Instant::now();
        assert_eq!(limiter.allow(start), Some(String::new()));
        for ms in 1..1000 {
            assert_eq!(limiter.allow(start + Duration::from_millis(ms)), None);
        }
        let suffix = limiter.allow(start + Duration::from_secs(1)).unwrap();
        assert!(suffix.contains("999 more"), "{suffix}");
    }
}

//! Limits the lines about a repeated failure to one a second, so that they do not flood the log.
//!
//! This module reads no clock: time is an argument.

use std::time::{Duration, Instant};

/// Allows one log line a second, and counts the lines that are left out.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    /// When the last line was logged; `None` before the first one.
    last: Option<Instant>,
    /// The number of lines left out since then.
    left_out: u64,
}

impl LogLimiter {
    /// Returns the text to append to the log line: empty, or the number of lines left out since the last one. Returns
    /// `None` if the line must be left out.
    pub(crate) fn allow(&mut self, now: Instant) -> Option<String> {
        let is_recent = |last| now.saturating_duration_since(last) < BETWEEN_LINES;
        if self.last.is_some_and(is_recent) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            n => format!(" ({n} more of these since the last line)"),
        })
    }
}

/// The shortest time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_counts_the_lines_left_out() {
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

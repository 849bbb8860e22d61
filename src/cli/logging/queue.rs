//! A bounded queue of lines to write. They stay in order. Where lines are missing, the queue holds their number.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use log::Level;

/// A line that a thread has logged, with its time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) text: String,
}

/// An entry of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A log line.
    Line(Line),
    /// The queue was full, and this many lines are missing here. The first of them was logged at `since`.
    LeftOut { since: SystemTime, lines: u64 },
    /// A message without time and level: the reason for which the process ends.
    Last(String),
}

/// The queue between the threads that log and the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Notified when an entry is added.
    filled: Condvar,
    /// Notified when the queue is empty and its last entry is written.
    written: Condvar,
}

/// The state that the lock protects.
#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// Bytes of text in the lines.
    bytes: usize,
    /// True from the moment at which the queue is full until it is half empty. Lines are left out in this time, so that
    /// one note counts many of them.
    is_full: bool,
    /// True if an entry was taken out and is not written yet.
    is_writing: bool,
}

impl Queue {
    /// Adds a line. If the queue is full, only counts it, and does not call `line`.
    pub(super) fn push(&self, line: impl FnOnce() -> Line) {
        let mut waiting = self.lock();
        if waiting.has_room() {
            // Called under the lock, so that the times are in order.
            let line = line();
            waiting.bytes += line.text.len();
            waiting.entries.push_back(Entry::Line(line));
        } else if let Some(Entry::LeftOut { lines, .. }) = waiting.entries.back_mut() {
            *lines += 1;
        } else {
            let since = SystemTime::now();
            waiting
                .entries
                .push_back(Entry::LeftOut { since, lines: 1 });
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Adds a message even if the queue is full. A process has only one such message.
    pub(super) fn push_last(&self, text: String) {
        self.lock().entries.push_back(Entry::Last(text));
        self.filled.notify_one();
    }

    /// Waits for an entry and takes it out. The caller must have written the previous entry.
    pub(super) fn next(&self) -> Entry {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        if waiting.entries.is_empty() {
            self.written.notify_all();
        }
        loop {
            if let Some(entry) = waiting.entries.pop_front() {
                if let Entry::Line(line) = &entry {
                    waiting.bytes -= line.text.len();
                }
                waiting.is_writing = true;
                return entry;
            }
            waiting = self
                .filled
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until every entry is written, at most for `at_most`.
    pub(super) fn wait_until_written(&self, at_most: Duration) {
        let waiting = self.lock();
        let _ = self
            .written
            .wait_timeout_while(waiting, at_most, |waiting| {
                waiting.is_writing || !waiting.entries.is_empty()
            });
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_room(&mut self) -> bool {
        let (lines, bytes) = match self.is_full {
            true => (MOST_LINES / 2, MOST_BYTES / 2),
            false => (MOST_LINES, MOST_BYTES),
        };
        self.is_full = self.entries.len() >= lines || self.bytes >= bytes;
        !self.is_full
    }
}

/// Most entries in the queue: some seconds of the most detailed log, or hours of the default log.
const MOST_LINES: usize = 16 * 1024;

/// Most bytes of text in all lines together: 4 MiB.
const MOST_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    fn line(text: &str) -> Line {
        Line {
            time: SystemTime::UNIX_EPOCH,
            level: Level::Info,
            target: "test".to_owned(),
            text: text.to_owned(),
        }
    }

    fn left_out(entry: Entry) -> u64 {
        match entry {
            Entry::LeftOut { lines, .. } => lines,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_come_out_in_their_order() {
        let queue = Queue::default();
        for text in ["one", "two"] {
            queue.push(|| line(text));
        }
        queue.push_last("last".to_owned());
        assert_eq!(queue.next(), Entry::Line(line("one")));
        assert_eq!(queue.next(), Entry::Line(line("two")));
        assert_eq!(queue.next(), Entry::Last("last".to_owned()));
    }

    #[test]
    fn a_full_queue_counts_the_missing_lines_at_their_place() {
        let queue = Queue::default();
        for _ in 0..MOST_LINES + 3 {
            queue.push(|| line("x"));
        }
        // A line is accepted again only when the queue is half empty.
        for _ in 0..MOST_LINES / 2 {
            assert_eq!(queue.next(), Entry::Line(line("x")));
            queue.push(|| line("too early"));
        }
        queue.next();
        queue.next();
        queue.push(|| line("later"));
        for _ in 0..MOST_LINES / 2 - 2 {
            assert_eq!(queue.next(), Entry::Line(line("x")));
        }
        assert_eq!(left_out(queue.next()), 3 + MOST_LINES as u64 / 2);
        assert_eq!(queue.next(), Entry::Line(line("later")));
    }

    #[test]
    fn the_bytes_of_all_lines_are_bounded() {
        let queue = Queue::default();
        let text = "x".repeat(MOST_BYTES / 4);
        for _ in 0..5 {
            queue.push(|| line(&text));
        }
        for _ in 0..4 {
            assert_eq!(queue.next(), Entry::Line(line(&text)));
        }
        assert_eq!(left_out(queue.next()), 1);
    }

    #[test]
    fn the_wait_at_the_end_lasts_until_the_last_line_is_written_or_its_limit() {
        let queue = Arc::new(Queue::default());
        let wait = |at_most| {
            let start = Instant::now();
            queue.wait_until_written(at_most);
            start.elapsed()
        };
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        assert!(wait(long) < long, "the queue is empty");
        queue.push(|| line("taken out, and written when the next entry is requested"));
        queue.next();
        assert!(wait(short) >= short);
        let writing = queue.clone();
        std::thread::spawn(move || {
            loop {
                writing.next();
            }
        });
        assert!(wait(long) < long, "every line is written");
    }
}

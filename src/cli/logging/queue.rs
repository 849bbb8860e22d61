//! Lines that wait to be written: bounded, in order, and with a count at each place where some are missing.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use log::Level;

/// What a thread has logged, and when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) text: String,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Line(Line),
    /// So many lines found no room here, the first of them at this time.
    LeftOut {
        since: SystemTime,
        lines: u64,
    },
    /// A message that is no log line: why the process ends.
    Last(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// An entry has come.
    filled: Condvar,
    /// The last entry was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// Bytes of text in them.
    bytes: usize,
    /// Lines are left out until there is room for many, so that one note stands for many lines.
    is_full: bool,
    /// An entry was taken out and is not written yet.
    is_writing: bool,
}

impl Queue {
    /// Keeps a line if there is room, and counts it otherwise. It is made only if it is kept.
    pub(super) fn push(&self, line: impl FnOnce() -> Line) {
        let mut waiting = self.lock();
        if waiting.has_room() {
            // Made under the lock, so that the times are in order.
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

    /// Keeps this whether there is room or not: it comes once.
    pub(super) fn push_last(&self, text: String) {
        self.lock().entries.push_back(Entry::Last(text));
        self.filled.notify_one();
    }

    /// Waits for an entry and takes it out. The one before is written by now.
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

    /// Waits until everything is written, or for so long.
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

/// Some seconds of the most detailed log, or hours of the default one.
const MOST_LINES: usize = 16 * 1024;

/// Of text in all lines together.
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
    fn what_finds_no_room_is_counted_at_its_place() {
        let queue = Queue::default();
        for _ in 0..MOST_LINES + 3 {
            queue.push(|| line("x"));
        }
        // Not before there is room for many.
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
    fn long_lines_are_bounded_by_their_bytes() {
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
    fn the_end_waits_until_the_last_line_is_written_and_no_longer_than_told() {
        let queue = Arc::new(Queue::default());
        let wait = |at_most| {
            let start = Instant::now();
            queue.wait_until_written(at_most);
            start.elapsed()
        };
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        assert!(wait(long) < long, "nothing waits");
        queue.push(|| line("taken out, and not written before the next is asked for"));
        queue.next();
        assert!(wait(short) >= short);
        let writing = queue.clone();
        std::thread::spawn(move || {
            loop {
                writing.next();
            }
        });
        assert!(wait(long) < long, "all is written");
    }
}

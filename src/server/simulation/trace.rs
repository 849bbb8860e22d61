//! What happened in a run: always as a number to compare runs by, and in words when somebody asks.
//!
//! The server's lines are those of `serve -vv`: they come through the same calls of `log`, from the same formatter.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

/// A run's trace.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
}

thread_local! {
    /// The lines of the run on this thread, while they are wanted.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

impl Trace {
    /// Notes something that happened, in numbers.
    pub(crate) fn mix(&mut self, what: &str, numbers: &[u64]) {
        let mut hash = self.hash;
        // Whole names: several of them begin alike.
        let name = what
            .bytes()
            .fold(0, |all: u64, byte| all.rotate_left(8) ^ u64::from(byte));
        for number in [name].iter().chain(numbers) {
            hash = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        self.hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// A number that two equal runs have in common.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Whether anybody wants the words.
pub(crate) fn is_recording() -> bool {
    LINES.with_borrow(Option::is_some)
}

/// Adds a line of the world's, if anybody wants it.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line.to_string());
        }
    });
}

/// Runs something and returns its lines with its result.
pub(crate) fn record<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        // Fails when somebody else listens to the log: then the server's lines are theirs.
        let _ = log::set_logger(&Listener);
        log::set_max_level(log::LevelFilter::Trace);
    });
    LINES.set(Some(Vec::new()));
    let result = run();
    (result, LINES.take().unwrap_or_default())
}

/// Puts the server's log lines among the world's.
struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        is_recording()
    }

    fn log(&self, record: &log::Record<'_>) {
        say(format_args!("          server: {}", record.args()));
    }

    fn flush(&self) {}
}

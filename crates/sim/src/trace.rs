//! What happened in a run: always as a number to compare runs by, and in words on request.
//!
//! The server's lines are those that it logs, at every level.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

/// A run's trace.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// A number that depends on everything so far.
    hash: u64,
}

thread_local! {
    /// The lines of the run on this thread, while they are wanted.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

impl Trace {
    /// Adds something that happened, in numbers.
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

/// Whether this thread's lines are wanted.
pub(crate) fn is_recording() -> bool {
    LINES.with_borrow(Option::is_some)
}

/// Adds a line, if this thread's lines are wanted.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line.to_string());
        }
    });
}

/// Runs something and returns its result, and the lines of what happened: the kernel's, and what the server logs.
///
/// Becomes the logger of the process, if there is none yet. Otherwise the server's lines are missing.
pub fn record<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        // Fails when the process has a logger already.
        let _ = log::set_logger(&Listener);
        log::set_max_level(log::LevelFilter::Trace);
    });
    LINES.set(Some(Vec::new()));
    let result = run();
    (result, LINES.take().unwrap_or_default())
}

/// Puts the server's log lines among the kernel's.
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

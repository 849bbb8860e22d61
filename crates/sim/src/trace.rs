//! The trace of a run: always a hash, by which runs are compared, and on request also lines of text.
//!
//! The text includes every log line of the server, at every level.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

/// A run's trace.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The hash of everything that has happened so far.
    hash: u64,
}

thread_local! {
    /// The lines of the run on this thread; `None` while no lines are recorded.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

impl Trace {
    /// Adds one occurrence to the hash.
    pub(crate) fn mix(&mut self, what: &str, numbers: &[u64]) {
        let mut hash = self.hash;
        // The hash includes the whole name, because several names start with the same letters.
        let name = what
            .bytes()
            .fold(0, |all: u64, byte| all.rotate_left(8) ^ u64::from(byte));
        for number in [name].iter().chain(numbers) {
            hash = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        self.hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// The hash so far: equal runs have equal hashes.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Whether this thread records lines.
pub(crate) fn is_recording() -> bool {
    LINES.with_borrow(Option::is_some)
}

/// Adds a line, if this thread records lines.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line.to_string());
        }
    });
}

/// Runs a function. Returns its result and the lines of the trace: those of the kernel and the log lines of the server.
///
/// Installs the logger of the process. If the process has a logger already, the server's lines are missing.
pub fn record<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // Fails when the process has a logger already.
        let _ = log::set_logger(&LogCapture);
        log::set_max_level(log::LevelFilter::Trace);
    });
    LINES.set(Some(Vec::new()));
    let result = run();
    (result, LINES.take().unwrap_or_default())
}

/// The logger that adds the server's log lines to the trace.
struct LogCapture;

impl log::Log for LogCapture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        is_recording()
    }

    fn log(&self, record: &log::Record<'_>) {
        say(format_args!("          server: {}", record.args()));
    }

    fn flush(&self) {}
}

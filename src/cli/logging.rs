//! Log lines to standard error through `simple_logger`, without ever holding up the event loop.
//!
//! Standard error may be a pipe that nobody empties or a terminal stopped with Ctrl-S, and a write to it then blocks
//! its thread: the loop's. So each line is preceded by the question whether there is room for it, and is left out and
//! counted if there is none; the echo goes on.
//!
//! A thread of its own for the log would answer the same need with a queue in front of it. This way there is nothing
//! to flush at the end, and the process has one thread, as it says.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// Sends log lines to standard error from here on: at this level, or at the one that `RUST_LOG` names, or from
/// warnings and milestones up.
pub(super) fn start(level: Option<LevelFilter>) {
    let logger = SimpleLogger::new();
    let logger = match level {
        Some(level) => logger.with_level(level),
        None => logger.with_level(LevelFilter::Info).env(),
    };
    // mio logs each registration; our own lines say the same in words.
    let logger = logger.with_module_level("mio::", LevelFilter::Warn);
    let max_level = logger.max_level();
    let logger = Unblocked {
        logger,
        left_out: AtomicU64::new(0),
    };
    // Fails only if there is a logger already, and this is the only place that makes one.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(max_level);
    }
    if let (None, Ok(wanted)) = (level, std::env::var("RUST_LOG"))
        && wanted.parse::<LevelFilter>().is_err()
    {
        log::warn!("RUST_LOG={wanted:?} is no level: off, error, warn, info, debug or trace");
    }
}

/// Writes a line only where that does not block.
struct Unblocked {
    logger: SimpleLogger,
    left_out: AtomicU64,
}

impl Unblocked {
    fn write(&self, record: &Record<'_>) {
        // simple_logger prints with `eprintln!`, which panics when the reader of the pipe has just gone.
        let _ = catch_unwind(AssertUnwindSafe(|| self.logger.log(record)));
    }
}

impl Log for Unblocked {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !there_is_room() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.left_out.swap(0, Ordering::Relaxed) {
            0 => {}
            left_out => self.write(
                &Record::builder()
                    .level(Level::Warn)
                    .target("mio_echo")
                    .args(format_args!(
                        "lines left out, as nobody took them: {left_out}"
                    ))
                    .build(),
            ),
        }
        // The note may have taken the room.
        if there_is_room() {
            self.write(record);
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Whether a line can be written to standard error at once.
///
/// A pipe that polls as writable takes `PIPE_BUF` bytes without blocking (pipe(7); 4,096 on Linux), and no line is as
/// long. A pipe whose reader has gone polls as an error, and is not written to.
#[cfg(unix)]
fn there_is_room() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = io::stderr();
    let mut wanted = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut wanted, Some(&at_once)).is_ok() && wanted[0].revents() == PollFlags::OUT
}

/// There is no portable way to ask.
#[cfg(not(unix))]
fn there_is_room() -> bool {
    let _ = io::stderr();
    true
}

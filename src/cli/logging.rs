//! Log lines to standard error through `simple_logger`, without ever holding up the event loop.
//!
//! Standard error may be a pipe that nobody empties or a terminal stopped with Ctrl-S, and a write to it then blocks
//! its thread: the loop's, were it to write itself. So lines go through a bounded queue to a thread that does nothing
//! else. When the queue is full they are left out and counted; the echo goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

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
    // mio logs each registration; our own lines say the same in words. As simple_logger matches by prefix, our name,
    // which begins like mio's, has to be told apart, and it takes the longer of two that match.
    let level = logger.max_level();
    let logger = logger
        .with_module_level("mio::", LevelFilter::Warn)
        .with_module_level("mio_echo", level);
    let max_level = logger.max_level();
    let (sender, receiver) = sync_channel(LINES_WAITING);
    let queue = Queue {
        sender,
        max_level: level,
        left_out: AtomicU64::new(0),
    };
    // Fails only if there is a logger already, and this is the only place that makes one.
    if log::set_boxed_logger(Box::new(queue)).is_ok() {
        log::set_max_level(max_level);
        // Without the thread the queue fills and lines are left out: not worth ending the program for.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&logger, &receiver));
    }
}

/// The `log` crate's end of the queue.
struct Queue {
    sender: SyncSender<Line>,
    max_level: LevelFilter,
    left_out: AtomicU64,
}

enum Line {
    Text {
        level: Level,
        target: String,
        text: String,
        left_out_before: u64,
    },
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

impl Log for Queue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.max_level
    }

    fn log(&self, record: &Record<'_>) {
        let left_out_before = self.left_out.swap(0, Ordering::Relaxed);
        let line = Line::Text {
            level: record.level(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
            left_out_before,
        };
        if self.sender.try_send(line).is_err() {
            self.left_out
                .fetch_add(left_out_before + 1, Ordering::Relaxed);
        }
    }

    /// Waits for the lines so far, but not for ever: standard error may be blocked.
    fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        if self.sender.try_send(Line::Flush(sender)).is_ok() {
            let _ = receiver.recv_timeout(LONGEST_FLUSH);
        }
    }
}

fn write_lines(logger: &SimpleLogger, lines: &Receiver<Line>) {
    for line in lines {
        match line {
            Line::Text {
                level,
                target,
                text,
                left_out_before,
            } => {
                if left_out_before > 0 {
                    let note = format_args!(
                        "{left_out_before} lines left out: the log was not taken fast enough"
                    );
                    write(logger, Level::Warn, "mio_echo", note);
                }
                write(logger, level, &target, format_args!("{text}"));
            }
            Line::Flush(done) => drop(done.send(())),
        }
    }
}

fn write(logger: &SimpleLogger, level: Level, target: &str, args: std::fmt::Arguments<'_>) {
    let record = Record::builder()
        .level(level)
        .target(target)
        .args(args)
        .build();
    logger.log(&record);
}

/// About a megabyte of lines at the most.
const LINES_WAITING: usize = 8192;

const LONGEST_FLUSH: Duration = Duration::from_secs(1);

//! Log lines to standard error through `simple_logger`, written by a separate thread.
//!
//! A write to standard error blocks while nothing reads there: a terminal stopped with Ctrl-S, a pipe, a socket. A
//! check before the write does not prevent that. For a pipe, poll(2) promises space for `PIPE_BUF` bytes (pipe(7)), but
//! another process may fill it before the write. For a terminal, poll(2) promises less than a line. `O_NONBLOCK` would
//! change the descriptor for every process that shares it (fcntl(2)).
//!
//! So a call that logs does not write. It only puts the line and the time into a bounded [`Queue`]. A separate thread
//! writes the lines. The event loop itself stays on one thread.

mod queue;

use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use queue::{Entry, Line, Queue};

/// Starts logging to standard error, at this level. If `level` is `None`, `RUST_LOG` decides. If that is not set, the
/// level is `info`: errors, warnings and milestones.
///
/// # Errors
/// The system cannot start another thread.
pub(super) fn start(level: Option<LevelFilter>) -> io::Result<()> {
    let queue = Arc::new(Queue::default());
    let waiting = queue.clone();
    let writer = Writer {
        logger: logger(level).without_timestamps(),
        has_times: !is_journal(),
        failed: 0,
        is_broken_off: false,
    };
    thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(move || {
            // If the system refuses it, a signal can come one turn later.
            let _ = net::threads::leave_signals_to_others();
            writer.run(&waiting);
        })?;
    // The default hook would wait for the lock on standard error. The writing thread may be blocked while it holds it.
    std::panic::set_hook(Box::new(move |panic| {
        let current = thread::current();
        let name = current.name().unwrap_or("<unnamed>");
        if name != THREAD {
            let backtrace = std::backtrace::Backtrace::capture();
            print_after_log(&format_args!("thread '{name}' {panic}\n{backtrace}"));
            finish();
        }
    }));
    let front = logger(level);
    let max_level = front.max_level();
    let queued = Queued {
        filter: front,
        queue: queue.clone(),
    };
    // Both calls fail only if a logger exists, and only this function creates one.
    if QUEUE.set(queue).is_ok() && log::set_boxed_logger(Box::new(queued)).is_ok() {
        log::set_max_level(max_level);
    }
    if let (None, Ok(wanted)) = (level, std::env::var("RUST_LOG"))
        && wanted.parse::<LevelFilter>().is_err()
    {
        log::warn!(
            "RUST_LOG={wanted:?} is not a log level: use off, error, warn, info, debug or trace"
        );
    }
    Ok(())
}

/// Prints a line on standard error, after all log lines and without their time and level.
pub(super) fn print_after_log(line: &dyn fmt::Display) {
    match QUEUE.get() {
        Some(queue) => queue.push_last(line.to_string()),
        // Nothing can be done if standard error is closed.
        None => _ = writeln!(io::stderr(), "{line}"),
    }
}

/// Waits until all lines are written, at most for [`LAST_WAIT`]: standard error may never accept them.
pub(super) fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_written(LAST_WAIT);
    }
}

/// Returns true if standard error goes to the journal, which records the time of each line itself. `JOURNAL_STREAM` has
/// the device and the inode of that stream (systemd.exec(5)).
fn is_journal() -> bool {
    #[cfg(unix)]
    if let (Ok(stream), Ok(stat)) = (
        std::env::var("JOURNAL_STREAM"),
        rustix::fs::fstat(io::stderr()),
    ) {
        return stream == format!("{}:{}", stat.st_dev, stat.st_ino);
    }
    false
}

fn logger(level: Option<LevelFilter>) -> SimpleLogger {
    let logger = SimpleLogger::new();
    let logger = match level {
        Some(level) => logger.with_level(level),
        None => logger.with_level(LevelFilter::Info).env(),
    };
    // mio logs each registration. The lines of the server already say the same.
    logger.with_module_level("mio::", LevelFilter::Warn)
}

/// The logger that all threads call. It puts the lines into the queue.
struct Queued {
    /// Decides which lines are logged.
    filter: SimpleLogger,
    queue: Arc<Queue>,
}

impl Log for Queued {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.queue.push(|| Line {
                time: SystemTime::now(),
                level: record.level(),
                target: record.target().to_owned(),
                text: record.args().to_string(),
            });
        }
    }

    fn flush(&self) {
        self.queue.wait_until_written(LAST_WAIT);
    }
}

/// The thread that writes the lines.
struct Writer {
    logger: SimpleLogger,
    /// Whether each line begins with its time.
    has_times: bool,
    /// Number of lines that could not be written since the last successful write.
    failed: u64,
    /// True if the last line was written in part.
    is_broken_off: bool,
}

impl Writer {
    fn run(mut self, queue: &Queue) {
        loop {
            match queue.next() {
                Entry::Line(line) => self.write(&line),
                Entry::LeftOut { since, lines } => self.write_left_out(since, lines),
                Entry::Last(text) => _ = writeln!(io::stderr(), "{text}"),
            }
        }
    }

    fn write(&mut self, line: &Line) {
        if self.failed > 0 {
            self.write_left_out(line.time, 0);
        }
        if self.failed > 0 || !self.print(line) {
            self.failed += 1;
        }
    }

    /// Logs how many lines are missing here: `lines`, plus the lines that could not be written before.
    fn write_left_out(&mut self, since: SystemTime, lines: u64) {
        self.failed += lines;
        let note = Line {
            time: since,
            level: Level::Warn,
            target: "mio_echo".to_owned(),
            text: format!(
                "log lines left out because standard error did not accept them: {}",
                self.failed
            ),
        };
        if self.print(&note) {
            self.failed = 0;
        }
    }

    /// Prints a line. Returns false if standard error did not accept all of it: a disk is full, or the reader of a pipe
    /// has gone.
    fn print(&mut self, line: &Line) -> bool {
        // The lock keeps other threads of this process from printing within the line.
        let mut output = io::stderr().lock();
        let rest_of_the_last = if self.is_broken_off { "\n" } else { "" };
        let time = match self.has_times {
            true => format!("{} ", humantime::format_rfc3339_millis(line.time)),
            false => String::new(),
        };
        if write!(output, "{rest_of_the_last}{time}").is_err() {
            self.is_broken_off = true;
            return false;
        }
        // simple_logger prints with `eprintln!`, which panics when a write fails.
        let printed = catch_unwind(AssertUnwindSafe(|| {
            self.logger.log(
                &Record::builder()
                    .level(line.level)
                    .target(&line.target)
                    .args(format_args!("{}", line.text))
                    .build(),
            );
        }));
        self.is_broken_off = printed.is_err();
        printed.is_ok()
    }
}

/// Name of the thread that writes.
const THREAD: &str = "log";

/// The queue of lines; set when logging starts.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Longest time that the process waits for the last lines before it ends.
const LAST_WAIT: Duration = Duration::from_millis(500);

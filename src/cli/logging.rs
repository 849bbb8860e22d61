//! Log lines to standard error through `simple_logger`, written by a thread of their own.
//!
//! A write to standard error may block for as long as nothing reads there: a terminal stopped with Ctrl-S, a pipe, a socket.
//! No question beforehand prevents that. For a pipe poll(2) promises room for `PIPE_BUF` bytes (pipe(7)), which another process
//! may fill in between, and for a terminal it promises less than a line. `O_NONBLOCK` would change the descriptor for every
//! process that shares it (fcntl(2)). So the thread that logs only puts its line into a bounded [`Queue`], with the time, and
//! one more thread writes. The event loop itself stays on one thread.

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

/// Sends log lines to standard error from here on: at this level, or at the one that `RUST_LOG` names, or from
/// warnings and milestones up.
///
/// # Errors
/// If the system has no thread more.
pub(super) fn start(level: Option<LevelFilter>) -> io::Result<()> {
    let queue = Arc::new(Queue::default());
    let waiting = queue.clone();
    let writer = Writer {
        logger: logger(level).without_timestamps(),
        failed: 0,
        is_broken_off: false,
    };
    thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(move || writer.run(&waiting))?;
    // The default hook would wait for standard error, which the writing thread may hold for ever.
    std::panic::set_hook(Box::new(move |panic| {
        let current = thread::current();
        let name = current.name().unwrap_or("<unnamed>");
        if name != THREAD {
            let backtrace = std::backtrace::Backtrace::capture();
            tell(&format_args!("thread '{name}' {panic}\n{backtrace}"));
            finish();
        }
    }));
    let front = logger(level);
    let max_level = front.max_level();
    let queued = Queued {
        filter: front,
        queue: queue.clone(),
    };
    // Either fails only if there is a logger already, and this is the only place that makes one.
    if QUEUE.set(queue).is_ok() && log::set_boxed_logger(Box::new(queued)).is_ok() {
        log::set_max_level(max_level);
    }
    if let (None, Ok(wanted)) = (level, std::env::var("RUST_LOG"))
        && wanted.parse::<LevelFilter>().is_err()
    {
        log::warn!("RUST_LOG={wanted:?} is no level: off, error, warn, info, debug or trace");
    }
    Ok(())
}

/// Prints a line of its own on standard error, behind all log lines.
pub(super) fn tell(line: &dyn fmt::Display) {
    match QUEUE.get() {
        Some(queue) => queue.push_last(line.to_string()),
        // Nothing can be done if standard error is closed.
        None => _ = writeln!(io::stderr(), "{line}"),
    }
}

/// Waits until all lines are written, but not longer than [`LAST_WAIT`]: standard error may never take them.
pub(super) fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_written(LAST_WAIT);
    }
}

fn logger(level: Option<LevelFilter>) -> SimpleLogger {
    let logger = SimpleLogger::new();
    let logger = match level {
        Some(level) => logger.with_level(level),
        None => logger.with_level(LevelFilter::Info).env(),
    };
    // mio logs each registration; our own lines say the same in words.
    logger.with_module_level("mio::", LevelFilter::Warn)
}

/// The side of the threads that log.
struct Queued {
    /// Decides which lines are wanted.
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

/// The side of the thread that writes.
struct Writer {
    logger: SimpleLogger,
    /// Lines that could not be written, since the last that could.
    failed: u64,
    /// The last line has a beginning and no end.
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

    /// Says how many lines are missing here: so many, and those that could not be written before.
    fn write_left_out(&mut self, since: SystemTime, lines: u64) {
        self.failed += lines;
        let note = Line {
            time: since,
            level: Level::Warn,
            target: "mio_echo".to_owned(),
            text: format!(
                "log lines left out, as standard error did not take them: {}",
                self.failed
            ),
        };
        if self.print(&note) {
            self.failed = 0;
        }
    }

    /// Whether standard error took all of it: a disk may be full, the reader of a pipe may have gone.
    fn print(&mut self, line: &Line) -> bool {
        // Other threads of this process print nothing in between.
        let mut output = io::stderr().lock();
        let time = humantime::format_rfc3339_millis(line.time);
        let rest_of_the_last = if self.is_broken_off { "\n" } else { "" };
        if write!(output, "{rest_of_the_last}{time} ").is_err() {
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

/// Of the thread that writes.
const THREAD: &str = "log";

/// Where the lines wait; set once logging has started.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// How long the end of the process waits for the last lines.
const LAST_WAIT: Duration = Duration::from_millis(500);

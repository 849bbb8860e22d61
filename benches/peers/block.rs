//! One measurement of one server: a fresh process under the load of one workload.

use std::fmt;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mio_echo::load::{Progress, Stopper, run};
use mio_echo::report::{Latency, Measured, Run, Verdict};

use crate::common::own;
use crate::common::process::{Server, connect_clients};
use crate::workloads::Workload;

/// A server that takes part in the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    /// Its name in the tables.
    pub(crate) name: String,
    pub(crate) start: Start,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// This project's server, with these options of `mio-echo serve`.
    Ours(&'static [&'static str]),
    /// The server of this name from [`crate::servers::PEERS`].
    Peer(&'static str),
    /// Any program: a command line in which `{port}` stands for the port.
    Command(String),
}

/// The figures of one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Messages a second.
    pub(crate) rate: f64,
    /// The server's processor time a message, in microseconds.
    pub(crate) cpu_us: f64,
    /// The median response time, in microseconds: from when a message was due (in a closed loop: was sent) to the last
    /// byte of its echo.
    pub(crate) p50_us: f64,
    /// The 99th percentile of the same time.
    pub(crate) p99_us: f64,
    /// The 99.9th percentile; `NaN` if there are too few messages for it.
    pub(crate) p999_us: f64,
    /// The growth of the server's memory, in KiB a connection.
    pub(crate) kib: f64,
}

/// Why a measurement has no figures.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An echo was wrong. Such a server is not compared with others, and the bench fails.
    WrongEcho(String),
    /// The server cannot be measured here: it does not start, refuses connections, or loses them.
    NotMeasurable(String),
    /// The run is not valid by the load generator's own rules, for example because the generator had no processor, or
    /// because the server did not keep the rate.
    NotValid(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::WrongEcho(why) => write!(f, "a wrong echo: {why}"),
            Fault::NotMeasurable(why) => write!(f, "cannot be measured here: {why}"),
            Fault::NotValid(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::NotMeasurable(error.to_string())
    }
}

/// How long one measurement takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The time under load before the window. It is not measured.
    pub(crate) warmup: Duration,
    /// The time that is measured.
    pub(crate) window: Duration,
}

impl Timing {
    /// Returns the timing for so many connections, whose warm-up includes the time in which the slowest server accepts
    /// them. The generator has a connection as soon as the kernel has it, and does not notice when the server accepts
    /// it.
    fn for_connections(self, connections: usize) -> Timing {
        Timing {
            warmup: self.warmup + ACCEPTING * connections as u32,
            ..self
        }
    }
}

impl Contender {
    pub(crate) fn new(name: &str, start: Start) -> Contender {
        let name = name.to_owned();
        Contender { name, start }
    }

    pub(crate) fn launch(&self) -> io::Result<Server> {
        match &self.start {
            Start::Ours(options) => Server::start(&mut own::server(options)?),
            Start::Peer(name) => {
                let mut command = Command::new(std::env::current_exe()?);
                Server::start(command.args(["--serve", name]))
            }
            Start::Command(command) => Server::start_command(command),
        }
    }
}

/// Starts the server, puts the load on it, and measures it during the window.
///
/// # Errors
/// If the server cannot be measured, if an echo is wrong, or if the run is invalid.
pub(crate) fn measure(
    contender: &Contender,
    workload: &Workload,
    timing: Timing,
) -> Result<Sample, Fault> {
    let server = contender.launch()?;
    let before = server.resident()?;
    let idle = connect_clients(server.address, workload.idle)?;
    let timing = timing.for_connections(workload.clients);
    let plan = workload.plan(server.address, timing.warmup, timing.window);
    let mut usage = Ok((0.0, before));
    let mut window_start = SystemTime::now();
    let recording = thread::scope(|scope| {
        let mut sampler = None;
        let recording = run(&plan, &Stopper::default(), |progress| {
            if matches!(progress, Progress::Started) {
                window_start = SystemTime::now() + timing.warmup;
                sampler = Some(scope.spawn(|| measure_usage(&server, timing)));
            }
        });
        if let Some(sampler) = sampler {
            usage = sampler
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the measuring thread panicked")));
        }
        recording
    })
    .map_err(io::Error::other)?;
    let (utilisation, resident) = usage?;
    drop(idle);
    server.stop()?;

    let run = Run::new(0, Measured::new(&plan, recording, window_start));
    if let Some(error) = run.errors.first() {
        let what = format!(
            "errors: {}, the first: {}, {}",
            run.counts.errors, error.kind, error.first.detail
        );
        return Err(match error.kind.is_a_wrong_echo() {
            true => Fault::WrongEcho(what),
            false => Fault::NotMeasurable(what),
        });
    }
    let reasons = run.validity.reasons.join("; ");
    match run.validity.verdict {
        Verdict::Valid => {}
        Verdict::Invalid => return Err(Fault::NotValid(format!("invalid: {reasons}"))),
        Verdict::Overloaded => return Err(Fault::NotValid(format!("overloaded: {reasons}"))),
    }
    let rate = run.throughput.messages_per_second;
    if rate > 1_000.0 && utilisation < 1e-3 {
        let what = "the started process does not do the work: it is a wrapper; name the server's program itself";
        return Err(Fault::NotMeasurable(what.to_owned()));
    }
    let response: &Latency = &run.latency.response;
    let micros = |percent| {
        let ns = response.percentile(percent);
        ns.map_or(f64::NAN, |ns| ns as f64 / 1e3)
    };
    Ok(Sample {
        rate,
        cpu_us: utilisation * 1e6 / rate,
        p50_us: micros(50.0),
        p99_us: micros(99.0),
        p999_us: micros(99.9),
        kib: (resident - before) as f64 / 1024.0 / workload.connections() as f64,
    })
}

/// Returns the share of a processor that the server uses inside the window, and its memory in bytes at the end of that.
fn measure_usage(server: &Server, timing: Timing) -> io::Result<(f64, i64)> {
    thread::sleep(timing.warmup + MARGIN);
    let (start, cpu) = (Instant::now(), server.cpu()?);
    thread::sleep(timing.window.saturating_sub(2 * MARGIN));
    let used = server.cpu()? - cpu;
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    Ok((share, server.resident()?))
}

/// The time in which each server accepts a connection. A server that fills a new buffer of 64 KiB with zeros for each
/// connection needs about 50 µs.
const ACCEPTING: Duration = Duration::from_micros(100);

/// Keeps the measurement of processor time away from both ends of the window. The run starts a few milliseconds after
/// it reports `Started`, and at its end connections close; neither is to be measured.
const MARGIN: Duration = Duration::from_millis(10);

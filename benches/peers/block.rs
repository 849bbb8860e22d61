//! One measurement of one server: a fresh process under the load of one workload.

use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::load::{Progress, Stopper, run};

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
    /// The median time from the first write of a message to the last byte of its echo, in microseconds.
    pub(crate) p50_us: f64,
    /// The 99th percentile of the same time, in microseconds.
    pub(crate) p99_us: f64,
    /// The growth of the server's memory, in KiB a connection.
    pub(crate) kib: f64,
}

/// How long one measurement takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The time under load before the window. It is not measured.
    pub(crate) warmup: Duration,
    /// The time that is measured.
    pub(crate) window: Duration,
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
/// If the server cannot be measured, or if an echo is wrong: such a server is not compared with others.
pub(crate) fn measure(
    contender: &Contender,
    workload: &Workload,
    timing: Timing,
) -> io::Result<Sample> {
    let server = contender.launch()?;
    let before = server.resident()?;
    let idle = connect_clients(server.address, workload.idle)?;
    let plan = workload.plan(server.address, timing.warmup, timing.window);
    let mut usage = Ok((0.0, before));
    let recording = thread::scope(|scope| {
        let mut sampler = None;
        let recording = run(&plan, &Stopper::default(), |progress| {
            if matches!(progress, Progress::Started) {
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

    let rate = recording.completed as f64 / timing.window.as_secs_f64();
    let micros = |quantile| recording.service.value_at_quantile(quantile) as f64 / 1e3;
    if let Some((kind, faults)) = recording.faults.iter().next() {
        let (count, detail) = (recording.counts.errors, &faults.first.detail);
        let what = format!("errors: {count}, the first: {kind}, {detail}");
        return Err(io::Error::other(what));
    }
    if rate > 1_000.0 && utilisation < 1e-3 {
        let what = "the started process does not do the work: it is a wrapper; name the server's program itself";
        return Err(io::Error::other(what));
    }
    Ok(Sample {
        rate,
        cpu_us: utilisation * 1e6 / rate,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
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

/// Keeps the measurement of processor time away from both ends of the window. The run starts a few milliseconds after
/// it reports `Started`, and at its end connections close; neither is to be measured.
const MARGIN: Duration = Duration::from_millis(10);

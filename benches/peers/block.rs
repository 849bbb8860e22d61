//! One block of one server: a fresh process, a load, and what both say of it.

use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::load::{Progress, Stopper, run};

use crate::common::own;
use crate::common::process::{Server, crowd};
use crate::workloads::Workload;

/// Whom to measure.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) start: Start,
}

/// How to start it.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// Our own, with these options.
    Ours(&'static [&'static str]),
    /// One of the peers of this bench.
    Peer(&'static str),
    /// Any program.
    Command(String),
}

/// What one block showed.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Messages a second.
    pub(crate) rate: f64,
    /// The server's processor time a message, in microseconds.
    pub(crate) cpu_us: f64,
    /// From the offer of a message to the last byte of its echo, in microseconds.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The server's memory a connection, in KiB.
    pub(crate) kib: f64,
}

/// How long to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warmup: Duration,
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

/// Starts the server, loads it, and looks at it well within the window.
///
/// # Errors
/// Why it could not be measured, or what came back wrong: such a server is not compared with others.
pub(crate) fn measure(
    contender: &Contender,
    workload: &Workload,
    timing: Timing,
) -> io::Result<Sample> {
    let server = contender.launch()?;
    let before = server.resident()?;
    let idle = crowd(server.address, workload.idle)?;
    let plan = workload.plan(server.address, timing.warmup, timing.window);
    let mut looked = Ok((0.0, before));
    let recording = thread::scope(|scope| {
        let mut looker = None;
        let recording = run(&plan, &Stopper::default(), |progress| {
            if matches!(progress, Progress::Started) {
                looker = Some(scope.spawn(|| look(&server, timing)));
            }
        });
        if let Some(looker) = looker {
            looked = looker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("panicked")));
        }
        recording
    })
    .map_err(io::Error::other)?;
    let (utilisation, resident) = looked?;
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
        let what = "another process than the one that was started does the work: name that one, not a wrapper";
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

/// The share of a processor that the server takes in the midst of the window, and its memory then.
fn look(server: &Server, timing: Timing) -> io::Result<(f64, i64)> {
    thread::sleep(timing.warmup + MARGIN);
    let (start, cpu) = (Instant::now(), server.cpu()?);
    thread::sleep(timing.window.saturating_sub(2 * MARGIN));
    let used = server.cpu()? - cpu;
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    Ok((share, server.resident()?))
}

/// The run begins a few milliseconds after it says so, and at its end connections close, which is not what is measured.
const MARGIN: Duration = Duration::from_millis(10);

//! The measurement: interleaved pairs of both servers, each server in a new process.

use std::io;
use std::time::Duration;

use crate::common::output::show_progress;
use crate::common::own;
use crate::common::process::{LOAD_CORE, SERVER_CORE, Server, pin};
use crate::common::spread::{Median, Spread};
use crate::generator::{Generator, Received, WITHOUT_END};

/// The messages that each connection sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Size of a message, in bytes.
    pub(crate) message: u64,
}

pub(crate) const WORKLOADS: [Workload; 5] = [
    Workload::closed_loop("16 KiB", 16),
    Workload::closed_loop("64 KiB", 64),
    Workload::closed_loop("256 KiB", 256),
    Workload::closed_loop("1 MiB", 1024),
    Workload {
        name: "stream",
        message: WITHOUT_END,
    },
];

impl Workload {
    const fn closed_loop(name: &'static str, kib: u64) -> Workload {
        let message = kib * 1024;
        Workload { name, message }
    }
}

/// Where the server and the generator run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Placement {
    /// Each on a core of its own.
    OwnCores,
    /// Both on the same core.
    OneCore,
}

impl Placement {
    pub(crate) const ALL: [Placement; 2] = [Placement::OwnCores, Placement::OneCore];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Placement::OwnCores => "own cores",
            Placement::OneCore => "one core",
        }
    }

    fn generator_core(self) -> usize {
        match self {
            Placement::OwnCores => LOAD_CORE,
            Placement::OneCore => SERVER_CORE,
        }
    }
}

/// One workload at one placement, and its measurements.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) placement: Placement,
    /// The pairs in which both servers could be measured.
    pairs: Vec<Pair>,
    /// The last error, if a pair could not be measured.
    pub(crate) fault: Option<io::Error>,
}

/// One measurement of each server, one right after the other.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The server with the pipe.
    pub(crate) pipe: Sample,
    /// The server with `--no-splice`.
    pub(crate) plain: Sample,
}

/// The figures of one process of the server in its window.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Bytes that came back, in MiB a second.
    pub(crate) rate: f64,
    /// The server's processor time, in nanoseconds a KiB of echo.
    pub(crate) cpu: f64,
    /// The share of the bytes that went through the pipe, from the server's start to its end, warm-up included.
    pub(crate) spliced: f64,
}

/// How many pairs are measured, and for how long each server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) pairs: u32,
    pub(crate) window: Duration,
}

/// Measures one pair of every row, then the next pair of every row: so a change of the machine's speed affects all
/// rows.
pub(crate) fn run(rows: &mut [Row], timing: Timing) {
    for n in 0..timing.pairs {
        for row in rows.iter_mut() {
            show_progress(&format!(
                "pair {} of {}: {}",
                n + 1,
                timing.pairs,
                row.name()
            ));
            match row.measure_pair(n % 2 == 0, timing.window) {
                Ok(pair) => row.pairs.push(pair),
                Err(error) => row.fault = Some(error),
            }
        }
    }
    show_progress("");
}

impl Row {
    pub(crate) fn new(workload: Workload, placement: Placement) -> Row {
        Row {
            workload,
            placement,
            pairs: Vec::new(),
            fault: None,
        }
    }

    /// Returns the name in the report.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.workload.name, self.placement.name())
    }

    /// Returns true if at least one pair could be measured.
    pub(crate) fn is_measured(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Returns the median of one figure over the pairs.
    pub(crate) fn median(&self, figure: fn(&Pair) -> f64) -> f64 {
        Spread::of(self.pairs.iter().map(figure)).median
    }

    /// Returns the median of rate with the pipe ÷ rate without it, pair by pair.
    pub(crate) fn rate_ratio(&self) -> Median {
        Median::of(
            self.pairs
                .iter()
                .map(|pair| pair.pipe.rate / pair.plain.rate),
        )
    }

    /// Returns the median of processor time a byte with the pipe ÷ that without it, pair by pair.
    pub(crate) fn cpu_ratio(&self) -> Median {
        Median::of(self.pairs.iter().map(|pair| pair.pipe.cpu / pair.plain.cpu))
    }

    fn measure_pair(&self, pipe_first: bool, window: Duration) -> io::Result<Pair> {
        Ok(if pipe_first {
            let pipe = self.measure(&[], window)?;
            let plain = self.measure(NO_SPLICE, window)?;
            Pair { pipe, plain }
        } else {
            let plain = self.measure(NO_SPLICE, window)?;
            let pipe = self.measure(&[], window)?;
            Pair { pipe, plain }
        })
    }

    /// Measures one new process of the server.
    fn measure(&self, options: &[&str], window: Duration) -> io::Result<Sample> {
        let server = Server::start(&mut own::server(options)?)?;
        if !pin(None, self.placement.generator_core()) {
            return Err(io::Error::other("cannot pin the generator to its core"));
        }
        let mut generator = Generator::connect(server.address, self.workload.message)?;
        let measured = measure_window(&server, &mut generator, window);
        let (received, cpu) = measured.map_err(|error| match server.waited() {
            Ok(waited) => io::Error::other(format!(
                "{error} (the server waited {waited:.1?} in its core's run queue)"
            )),
            Err(_) => error,
        })?;
        drop(generator);
        let kib = received.bytes as f64 / 1024.0;
        Ok(Sample {
            rate: kib / 1024.0 / received.elapsed.as_secs_f64(),
            cpu: cpu.as_nanos() as f64 / kib,
            spliced: spliced(&server.stop_and_read()?)?,
        })
    }
}

/// Returns the bytes that came back in the window after the warm-up, and the server's processor time in that window.
fn measure_window(
    server: &Server,
    generator: &mut Generator,
    window: Duration,
) -> io::Result<(Received, Duration)> {
    generator.run(WARMUP)?;
    // The kernel updates the CPU clock of a process on another core only at that core's timer tick. So the value may be
    // up to 4 ms old at 250 Hz.
    let before = server.cpu()?;
    let received = generator.run(window)?;
    Ok((received, server.cpu()? - before))
}

/// Reads from the server's final statistics the share of the bytes that went through the pipe.
fn spliced(statistics: &str) -> io::Result<f64> {
    let statistics: serde_json::Value = serde_json::from_str(statistics)
        .map_err(|error| io::Error::other(format!("the server's statistics: {error}")))?;
    let count = |name: &str| {
        let count = statistics[name].as_u64();
        count.ok_or_else(|| io::Error::other(format!("the server's statistics have no {name}")))
    };
    Ok(count("bytes_spliced")? as f64 / count("bytes_in")? as f64)
}

/// Time under load before the window.
pub(crate) const WARMUP: Duration = Duration::from_millis(100);

const NO_SPLICE: &[&str] = &["--no-splice"];

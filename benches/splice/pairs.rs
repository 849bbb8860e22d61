//! What is measured, and how: interleaved pairs of both servers, each in a fresh process.

use std::io;
use std::time::Duration;

use crate::common::output::tell;
use crate::common::own;
use crate::common::process::{LOAD_CORE, SERVER_CORE, Server, pin};
use crate::common::spread::{Median, Spread};
use crate::generator::{Generator, Received, WITHOUT_END};

/// What each connection sends.
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

/// One workload at one placement, with what was measured of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) placement: Placement,
    /// The pairs of which both halves could be measured.
    pairs: Vec<Pair>,
    /// The last error, if a pair could not be measured.
    pub(crate) fault: Option<io::Error>,
}

/// Both servers, one right after the other.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) pipe: Sample,
    pub(crate) plain: Sample,
}

/// What one process of the server did in its window.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Bytes that came back, in MiB a second.
    pub(crate) rate: f64,
    /// The server's processor time, in nanoseconds a KiB.
    pub(crate) cpu: f64,
    /// The share of the bytes that went through the pipe, from the server's start to its end.
    pub(crate) spliced: f64,
}

/// How often and how long everything is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) pairs: u32,
    pub(crate) window: Duration,
}

/// Measures all rows once for each pair, so that a change of the machine's speed meets all of them.
pub(crate) fn run(rows: &mut [Row], timing: Timing) {
    for n in 0..timing.pairs {
        for row in rows.iter_mut() {
            tell(&format!(
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
    tell("");
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

    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.workload.name, self.placement.name())
    }

    /// Returns true if at least one pair could be measured.
    pub(crate) fn is_measured(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Returns the median of a figure of one sample of each pair.
    pub(crate) fn median(&self, figure: fn(&Pair) -> f64) -> f64 {
        Spread::of(self.pairs.iter().map(figure)).median
    }

    /// Returns the median of the rate with the pipe by the rate without it.
    pub(crate) fn rate_ratio(&self) -> Median {
        Median::of(
            self.pairs
                .iter()
                .map(|pair| pair.pipe.rate / pair.plain.rate),
        )
    }

    /// Returns the median of the processor time a byte with the pipe by that without it.
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

    /// Measures one fresh process of the server.
    fn measure(&self, options: &[&str], window: Duration) -> io::Result<Sample> {
        let server = Server::start(&mut own::server(options)?)?;
        if !pin(None, self.placement.generator_core()) {
            return Err(io::Error::other("cannot set the generator's core"));
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

/// Returns what came back in the window after the warm-up, and the server's processor time in that window.
fn measure_window(
    server: &Server,
    generator: &mut Generator,
    window: Duration,
) -> io::Result<(Received, Duration)> {
    generator.run(WARMUP)?;
    // The clock of a process that runs on another core is as old as that core's last tick, by 4 ms at 250 Hz.
    let before = server.cpu()?;
    let received = generator.run(window)?;
    Ok((received, server.cpu()? - before))
}

/// Returns the share of the bytes that went through the pipe, of the server's final statistics.
fn spliced(statistics: &str) -> io::Result<f64> {
    let statistics: serde_json::Value = serde_json::from_str(statistics)
        .map_err(|error| io::Error::other(format!("the server's statistics: {error}")))?;
    let count = |name: &str| {
        let count = statistics[name].as_u64();
        count.ok_or_else(|| io::Error::other(format!("the server's statistics have no {name}")))
    };
    Ok(count("bytes_spliced")? as f64 / count("bytes_in")? as f64)
}

pub(crate) const WARMUP: Duration = Duration::from_millis(100);

const NO_SPLICE: &[&str] = &["--no-splice"];

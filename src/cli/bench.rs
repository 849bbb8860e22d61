//! `mio-echo bench`: measures an echo server.

mod embedded;
mod plans;
mod progress;
mod series;
mod sweep;

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use log::LevelFilter;
use mio_echo::load::{Arrivals, FaultKind, Sizes, Stopper};
use mio_echo::report::{Assertion, Document, Verdict};
use mio_echo::{Address, raise_descriptor_limit};

use super::outputs::Outputs;
use super::values::{self, OnOff};
use super::{Failure, logging, stop};
use embedded::Embedded;
use sweep::Sweep;

/// Measure an echo server: every byte verified, times that do not lie, and a verdict on the measurement itself
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct BenchArgs {
    /// The echo server, HOST:PORT or unix:PATH; two are compared with each other. Without one, an own server is started
    /// on a free loopback port
    #[arg(value_name = "TARGET")]
    targets: Vec<Address>,

    /// Connections, over all threads [default: 50]
    #[arg(short, long, value_name = "N", value_parser = values::whole)]
    connections: Option<u64>,

    /// How long to measure, warm-up excluded [default: 10s]
    #[arg(short, long, value_name = "TIME", value_parser = values::duration, conflicts_with = "count")]
    duration: Option<Duration>,

    /// How many messages to send, instead of a duration
    #[arg(short = 'n', long, value_name = "N", value_parser = values::whole)]
    count: Option<u64>,

    /// Event loops, each on a thread of its own
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = values::whole)]
    threads: u64,

    /// Messages a second, over all connections: an open loop, which sends when the schedule says so. Without it a
    /// closed loop, which sends when an echo has come back
    #[arg(short, long, value_name = "R", value_parser = values::rate)]
    rate: Option<f64>,

    /// How the messages of an open loop arrive: at equal distances, or as from people who know nothing of each other
    /// [default: fixed]
    #[arg(long, value_name = "KIND")]
    arrivals: Option<ArrivalsArg>,

    /// Bytes a message: 64, or 64-4096 (each length alike), or 64:9,4096:1 (lengths with weights) [default: 64]
    #[arg(short, long, value_name = "SIZE", value_parser = values::sizes)]
    size: Option<Sizes>,

    /// Messages that a connection may have under way
    #[arg(short = 'P', long, value_name = "K", default_value = "1", value_parser = values::whole)]
    pipeline: u64,

    /// Connections made a second at the start [default: as fast as they are accepted]
    #[arg(long, value_name = "R", value_parser = values::rate)]
    connect_rate: Option<f64>,

    /// Close each connection after N messages, and make another; 1 is connect, ask, close
    #[arg(long, value_name = "N", value_parser = values::whole)]
    reconnect: Option<u64>,

    /// Addresses to connect from, in turn [default: the system's choice; on loopback further ones of 127/8 when its
    /// ports are used up]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    source: Vec<IpAddr>,

    /// TCP_NODELAY: whether small messages leave at once
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    no_delay: OnOff,

    /// Never sleep while measuring: processors are busy, and latencies leave out what it takes to wake one up
    #[arg(long)]
    never_sleep: bool,

    /// SO_SNDBUF of each socket [default: the system's]
    #[arg(long, value_name = "SIZE", value_parser = values::buffer)]
    sndbuf: Option<usize>,

    /// SO_RCVBUF of each socket [default: the system's]
    #[arg(long, value_name = "SIZE", value_parser = values::buffer)]
    rcvbuf: Option<usize>,

    /// How long to send before anything counts [default: 1s; with --count none]
    #[arg(short, long, value_name = "TIME", value_parser = values::span)]
    warmup: Option<Duration>,

    /// How long a connection may take to be made, and an echo to come back
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    timeout: Duration,

    /// What payloads, sizes and arrivals are drawn from
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,

    /// What is checked of each echo: every byte, or its length only
    #[arg(long, value_name = "FULL|OFF", default_value = "full")]
    verify: VerifyArg,

    /// One run for each value: KEY=A..B*2 or A..B+1000 or A,B,C, where KEY is rate, connections or size
    #[arg(long, value_name = "KEY=VALUES", help_heading = SEVERAL)]
    sweep: Option<Sweep>,

    /// Look for the highest rate at which this holds, such as p99<2ms
    #[arg(long, value_name = "CONDITION", help_heading = SEVERAL, conflicts_with_all = ["sweep", "rate", "count"])]
    find_max: Option<Assertion>,

    /// Runs of each target [default: 1; with two targets 5]
    #[arg(long, value_name = "N", help_heading = SEVERAL, value_parser = values::whole)]
    runs: Option<u64>,

    /// With two targets: in turn, or at random within each pair of runs [default: interleave]
    #[arg(long, value_name = "ORDER", help_heading = SEVERAL)]
    order: Option<Order>,

    /// Exit with 99 if this is so: errors, rate, p50 to p99.99 or max, or regress(p99)>5% of two targets. May be repeated
    #[arg(long, value_name = "CONDITION", help_heading = REPORT)]
    fail_if: Vec<Assertion>,

    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ArrivalsArg {
    Fixed,
    Poisson,
}

impl From<ArrivalsArg> for Arrivals {
    fn from(arg: ArrivalsArg) -> Arrivals {
        match arg {
            ArrivalsArg::Fixed => Arrivals::Fixed,
            ArrivalsArg::Poisson => Arrivals::Poisson,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VerifyArg {
    Full,
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Order {
    #[default]
    Interleave,
    Random,
}

/// Measures, and reports.
pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    logging::start(Some(LevelFilter::Warn))?;
    plans::check(args).map_err(Failure::Usage)?;
    if let Err(error) = raise_descriptor_limit() {
        log::warn!("cannot raise the descriptor limit: {error}");
    }
    let embedded = match args.targets.is_empty() {
        true => Some(Embedded::start(plans::most_connections(args))?),
        false => None,
    };
    let targets = match &embedded {
        Some(server) => vec![server.address().clone()],
        None => args.targets.clone(),
    };
    let plans = plans::plans(args, &targets).map_err(Failure::Usage)?;
    args.outputs.check(plans.len())?;
    let stopper = Stopper::default();
    stop::on_signals(&stopper)?;
    let mut document = series::measure(args, &plans, &stopper)?;
    if embedded.is_some() {
        let note =
            "the server is a thread of this process, and shares its processors with the generator";
        document.validity.notes.push(note.to_owned());
    }
    document.assertions = args.fail_if.iter().map(|a| a.check(&document)).collect();
    args.outputs.write(&document)?;
    verdict(&document)
}

/// The exit code, the worst first: a measurement that cannot be believed meets no condition.
pub(super) fn verdict(document: &Document) -> Result<(), Failure> {
    let mut errors = document.runs.iter().flat_map(|run| &run.errors);
    let wrong = errors.any(|error| FaultKind::is_a_wrong_echo(error.kind));
    let interrupted = document.runs.iter().any(|run| run.interrupted);
    let undecided = document.assertions.iter().any(|a| a.met.is_none());
    let met = document.assertions.iter().any(|a| a.met == Some(true));
    let code = if wrong {
        WRONG_ECHO
    } else if interrupted {
        super::INTERRUPTED
    } else if document.validity.verdict == Verdict::Invalid || undecided {
        INVALID
    } else if met {
        CONDITION_MET
    } else {
        return Ok(());
    };
    Err(Failure::Code(code))
}

const SEVERAL: &str = "Several runs";
pub(super) const REPORT: &str = "Report";

const WRONG_ECHO: u8 = 3;
pub(super) const INVALID: u8 = 4;
pub(super) const CONDITION_MET: u8 = 99;

const EXIT_CODES: &str = "\
Exit codes: 0 measured, 1 failure, 2 usage error, 3 an echo was wrong, 4 the measurement is invalid, 99 a --fail-if was \
met, 130 interrupted (a second time: at once, without a report), 141 nobody reads the output. Of several the first of 3, \
130, 4, 99. Whenever something was measured, the report is written.";

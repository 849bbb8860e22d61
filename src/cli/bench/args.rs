//! The arguments of `mio-echo bench`.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mio_echo::Address;
use mio_echo::load::{Arrivals, Sizes};
use mio_echo::report::Assertion;

use super::amounts::{self, OnOff};
use super::sweep::Sweep;
use crate::cli::outputs::{Outputs, REPORT};
use crate::cli::values;

/// Measure an echo server: every byte verified, times that do not lie, and a verdict on the measurement itself
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(in crate::cli) struct BenchArgs {
    /// The echo server, HOST:PORT or unix:PATH; two are compared with each other. Without one, an own server is started
    /// on a free loopback port
    #[arg(value_name = "TARGET", value_parser = values::address)]
    pub(super) targets: Vec<Address>,

    /// Connections, over all threads [default: 50]
    #[arg(short, long, value_name = "N", value_parser = amounts::whole)]
    pub(super) connections: Option<u64>,

    /// How long to measure, warm-up excluded [default: 10s]
    #[arg(short, long, value_name = "TIME", value_parser = values::duration, conflicts_with = "count")]
    pub(super) duration: Option<Duration>,

    /// How many messages to send, instead of a duration
    #[arg(short = 'n', long, value_name = "N", value_parser = amounts::whole)]
    pub(super) count: Option<u64>,

    /// Event loops, each on a thread of its own
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = amounts::whole)]
    pub(super) threads: u64,

    /// Messages a second, over all connections: an open loop, which sends when the schedule says so. Without it a
    /// closed loop, which sends when an echo has come back
    #[arg(short, long, value_name = "R", value_parser = amounts::rate)]
    pub(super) rate: Option<f64>,

    /// How the messages of an open loop arrive: at equal distances, or as from people who know nothing of each other
    /// [default: fixed]
    #[arg(long, value_name = "KIND")]
    pub(super) arrivals: Option<ArrivalsArg>,

    /// Bytes a message: 64, or 64-4096 (each length alike), or 64:9,4096:1 (lengths with weights) [default: 64]
    #[arg(short, long, value_name = "SIZE")]
    pub(super) size: Option<Sizes>,

    /// Messages that a connection may have under way
    #[arg(short = 'P', long, value_name = "K", default_value = "1", value_parser = amounts::whole)]
    pub(super) pipeline: u64,

    /// Connections made a second at the start [default: as fast as they are accepted]
    #[arg(long, value_name = "R", value_parser = amounts::rate)]
    pub(super) connect_rate: Option<f64>,

    /// Close each connection after N messages, and make another; 1 is connect, ask, close
    #[arg(long, value_name = "N", value_parser = amounts::whole)]
    pub(super) reconnect: Option<u64>,

    /// Addresses to connect from, in turn [default: the system's choice; on loopback further ones of 127/8 when its
    /// ports are used up]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub(super) source: Vec<IpAddr>,

    /// TCP_NODELAY: whether small messages leave at once
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    pub(super) no_delay: OnOff,

    /// Never sleep while measuring: processors are busy, and latencies leave out what it takes to wake one up
    #[arg(long)]
    pub(super) never_sleep: bool,

    /// SO_SNDBUF of each socket [default: the system's]
    #[arg(long, value_name = "SIZE", value_parser = amounts::buffer)]
    pub(super) sndbuf: Option<usize>,

    /// SO_RCVBUF of each socket [default: the system's]
    #[arg(long, value_name = "SIZE", value_parser = amounts::buffer)]
    pub(super) rcvbuf: Option<usize>,

    /// How long to send before anything counts [default: 1s; with --count none]
    #[arg(short, long, value_name = "TIME", value_parser = values::span)]
    pub(super) warmup: Option<Duration>,

    /// How long a connection may take to be made, and an echo to come back
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(super) timeout: Duration,

    /// What payloads, sizes and arrivals are drawn from
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,

    /// What is checked of each echo: every byte, or its length only
    #[arg(long, value_name = "FULL|OFF", default_value = "full")]
    pub(super) verify: VerifyArg,

    /// One run for each value: KEY=A..B*2 or A..B+1000 or A,B,C, where KEY is rate, connections or size
    #[arg(long, value_name = "KEY=VALUES", help_heading = SEVERAL)]
    pub(super) sweep: Option<Sweep>,

    /// Look for the highest rate at which this holds, such as p99<2ms
    #[arg(long, value_name = "CONDITION", help_heading = SEVERAL, conflicts_with_all = ["sweep", "rate", "count"])]
    pub(super) find_max: Option<Assertion>,

    /// Runs of each target [default: 1; with two targets 5]
    #[arg(long, value_name = "N", help_heading = SEVERAL, value_parser = amounts::whole)]
    pub(super) runs: Option<u64>,

    /// With two targets: in turn, or at random within each pair of runs [default: interleave]
    #[arg(long, value_name = "ORDER", help_heading = SEVERAL)]
    pub(super) order: Option<Order>,

    /// Exit with 99 if this is so: errors, rate, p50 to p99.99 or max, or regress(p99)>5% of two targets. May be repeated
    #[arg(long, value_name = "CONDITION", help_heading = REPORT)]
    pub(super) fail_if: Vec<Assertion>,

    #[command(flatten)]
    pub(super) outputs: Outputs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ArrivalsArg {
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
pub(super) enum VerifyArg {
    Full,
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    #[default]
    Interleave,
    Random,
}

const SEVERAL: &str = "Several runs";

const EXIT_CODES: &str = "\
Exit codes: 0 measured, 1 failure, 2 usage error, 3 an echo was wrong, 4 the measurement is invalid, 99 a --fail-if was \
met, 130 interrupted (a second time: at once, without a report), 141 nobody reads the output. Of several the first of 3, \
130, 4, 99. Whenever something was measured, the report is written.";

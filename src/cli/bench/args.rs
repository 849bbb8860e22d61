//! The arguments of `mio-echo bench`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use mio_echo::Address;
use mio_echo::load::{Arrivals, Sizes};
use mio_echo::report::Assertion;

use super::amounts::{self, OnOff};
#[cfg(all(unix, feature = "check"))]
use super::commands::{self, ServerCommand};
use super::sweep::Sweep;
use crate::cli::outputs::{Outputs, REPORT};
use crate::cli::values;

/// Measure an echo server: compare every byte, report rates and response times, and say whether the measurement is
/// valid
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct BenchArgs {
    /// The echo server: HOST:PORT or unix:PATH. Of several servers, each is compared with the first one. Without a
    /// target, a server is started in this process on a free loopback port
    #[arg(value_name = "TARGET", value_parser = values::address)]
    pub(super) targets: Vec<Address>,

    /// Start a server with this command, and end it after the last run. {address} in it is replaced by the address to
    /// listen on, {host} and {port} by its parts. May be repeated: each further server is compared with the first one
    #[cfg(all(unix, feature = "check"))]
    #[arg(long = "cmd", value_name = "COMMAND", value_parser = commands::parse)]
    pub(super) commands: Vec<ServerCommand>,

    /// Number of connections, over all threads [default: 50]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = LOAD)]
    #[arg(value_parser = amounts::whole)]
    pub(super) connections: Option<u64>,

    /// Duration of the measurement, without the warm-up [default: 10s]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, help_heading = LOAD)]
    #[arg(value_parser = values::duration, conflicts_with = "count")]
    pub(super) duration: Option<Duration>,

    /// Number of messages to send, instead of a duration
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, help_heading = LOAD)]
    #[arg(value_parser = amounts::whole)]
    pub(super) count: Option<u64>,

    /// Number of event loops, each on its own thread
    #[arg(
        short,
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value = "1"
    )]
    #[arg(value_parser = amounts::whole, help_heading = GENERATOR)]
    pub(super) threads: u64,

    /// Processors of the event loops, divided by commas: loop i runs on the i-th one, and the list begins again after
    /// its end (Linux) [default: the system's choice]
    #[arg(long, value_name = "CPU", value_delimiter = ',', help_heading = GENERATOR)]
    pub(super) pin: Vec<usize>,

    /// Messages a second, over all connections: an open loop, which sends at scheduled times. Without this option: a
    /// closed loop, which sends the next message when an echo has come back
    #[arg(short, long, value_name = "R", allow_negative_numbers = true, help_heading = LOAD)]
    #[arg(value_parser = amounts::rate)]
    pub(super) rate: Option<f64>,

    /// Times at which an open loop sends: at equal intervals (fixed), or random and independent of each other (poisson)
    /// [default: fixed]
    #[arg(long, value_name = "KIND", help_heading = LOAD)]
    pub(super) arrivals: Option<ArrivalsArg>,

    /// Size of a message in bytes: 64, or 64-4096 (each size equally likely), or 64:9,4096:1 (sizes with weights)
    /// [default: 64]
    #[arg(short, long, value_name = "SIZE", allow_negative_numbers = true, help_heading = LOAD)]
    pub(super) size: Option<Sizes>,

    /// Number of messages that a connection may have under way at the same time
    #[arg(
        short = 'P',
        long,
        value_name = "K",
        allow_negative_numbers = true,
        default_value = "1"
    )]
    #[arg(value_parser = amounts::whole, help_heading = LOAD)]
    pub(super) pipeline: u64,

    /// Connections opened a second at the start [default: as fast as the server accepts them]
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = amounts::rate)]
    #[arg(help_heading = CONNECTIONS)]
    pub(super) connect_rate: Option<f64>,

    /// Close each connection after N messages and open a new one; with 1, each message has its own connection
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = amounts::whole)]
    #[arg(help_heading = CONNECTIONS)]
    pub(super) reconnect: Option<u64>,

    /// Local addresses to connect from, used in turn; separated by commas [default: the system's choice. On Linux, when
    /// the ports of 127.0.0.1 are used up, connections to loopback also use other addresses of 127/8]
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = CONNECTIONS)]
    pub(super) source: Vec<IpAddr>,

    /// TCP_NODELAY: send small messages at once
    #[arg(long, value_name = "ON|OFF", default_value = "on", help_heading = CONNECTIONS)]
    pub(super) no_delay: OnOff,

    /// Never sleep during the measurement. The processors are busy, and latencies do not include the time to wake one
    /// up
    #[arg(long, help_heading = GENERATOR)]
    pub(super) never_sleep: bool,

    /// SO_SNDBUF of each socket [default: the system's]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = amounts::buffer)]
    #[arg(help_heading = CONNECTIONS)]
    pub(super) sndbuf: Option<usize>,

    /// SO_RCVBUF of each socket [default: the system's]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = amounts::buffer)]
    #[arg(help_heading = CONNECTIONS)]
    pub(super) rcvbuf: Option<usize>,

    /// Time to send before the measurement starts [default: 1s; 0s with --count]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, help_heading = LOAD)]
    #[arg(value_parser = values::span)]
    pub(super) warmup: Option<Duration>,

    /// Time at which the schedule and its warm-up start: 2030-01-31T12:00:00Z, or +5s after the start of the program.
    /// The connections are made before. If they are not open in time, the command fails. Of several runs, only the
    /// first one starts at this time [default: when the connections are open]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = amounts::start_at)]
    #[arg(help_heading = GENERATOR)]
    pub(super) start_at: Option<SystemTime>,

    /// Limit for opening a connection, and for the wait for an echo; at least 1ms
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "10s"
    )]
    #[arg(value_parser = values::duration, help_heading = CONNECTIONS)]
    pub(super) timeout: Duration,

    /// Close each connection without ending the client's own stream first: for servers that do not support a
    /// half-close. Bytes after the last echo are not checked
    #[arg(long, help_heading = CONNECTIONS)]
    pub(super) no_half_close: bool,

    /// Seed of the random sizes and sending times [default: another random number in each run]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = amounts::seed, help_heading = LOAD)]
    pub(super) seed: Option<u64>,

    /// Key of the payload: which bytes are sent [default: another random number in each run]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = amounts::seed, help_heading = LOAD)]
    pub(super) payload_key: Option<u64>,

    /// What to check in each echo: every byte (full), or only its length (off)
    #[arg(long, value_name = "FULL|OFF", default_value = "full", help_heading = LOAD)]
    pub(super) verify: VerifyArg,

    /// Show the numbers of the running load over HTTP: a page at /, and OpenMetrics for Prometheus at /metrics. ADDRESS
    /// is a port of the loopback interface, HOST:PORT or [IPV6]:PORT; PORT may be auto
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "ADDRESS", value_parser = values::site)]
    #[arg(help_heading = REPORT)]
    pub(super) metrics: Option<Address>,

    /// Make one run for each value: KEY=A..B*2, KEY=A..B+1000 or KEY=A,B,C. KEY is rate, connections or size
    #[arg(long, value_name = "KEY=VALUES", help_heading = SEVERAL)]
    pub(super) sweep: Option<Sweep>,

    /// Search for the highest rate at which this condition holds, such as p99<2ms
    #[arg(long, value_name = "CONDITION", help_heading = SEVERAL, conflicts_with_all = ["sweep", "rate", "count"])]
    pub(super) find_max: Option<Assertion>,

    /// Number of runs of each target, or of each value of a sweep [default: 1; with several targets 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(help_heading = SEVERAL, value_parser = amounts::whole)]
    pub(super) runs: Option<u64>,

    /// Order of several targets in each round: the first one changes from round to round (interleave), or the order is
    /// random (random) [default: interleave]
    #[arg(long, value_name = "ORDER", help_heading = SEVERAL)]
    pub(super) order: Option<Order>,

    /// Exit with 99 if this condition is met. It is about errors, failed, unfinished, timeouts, rate, p50 to p99.99 or
    /// max, such as p99>2ms; also of service, first_byte, connect, opening and cycle, as in connect.p99. With several
    /// targets also regress(p99)>5%: a target is worse than the first one by more than 5%. May be repeated
    #[arg(long, value_name = "CONDITION", help_heading = REPORT)]
    pub(super) fail_if: Vec<Assertion>,

    #[command(flatten)]
    pub(super) outputs: Outputs,
}

impl BenchArgs {
    /// The number of servers that are named.
    pub(super) fn servers(&self) -> usize {
        self.targets.len() + self.command_texts().len()
    }

    /// The commands of `--cmd`, as the user wrote them.
    pub(super) fn command_texts(&self) -> Vec<String> {
        #[cfg(all(unix, feature = "check"))]
        return self
            .commands
            .iter()
            .map(|command| command.text.clone())
            .collect();
        #[cfg(not(all(unix, feature = "check")))]
        Vec::new()
    }
}

/// The value of `--arrivals`.
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

/// The value of `--verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum VerifyArg {
    Full,
    Off,
}

/// The value of `--order`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    #[default]
    Interleave,
    Random,
}

/// The headings of the options in the help.
const LOAD: &str = "Load";
const CONNECTIONS: &str = "Connections";
const GENERATOR: &str = "Generator";
const SEVERAL: &str = "Several runs";

const AFTER_HELP: &str = "\
Examples:
  mio-echo bench 127.0.0.1:7007                      how many messages a second?
  mio-echo bench 127.0.0.1:7007 -r 20k --html a.html how long do they take at a rate?
  mio-echo bench 127.0.0.1:7007 --find-max 'p99<2ms' up to which rate is it fast?
  mio-echo bench 127.0.0.1:7007 127.0.0.1:7008       which of two servers is faster?
  mio-echo bench --cmd './old {port}' --cmd './new {port}' --fail-if 'regress(p99)>10%'

Exit codes: 0 measured, 1 failure, 2 usage error, 3 an echo was wrong, 4 the measurement is invalid or a --fail-if \
condition cannot be decided, 5 the server or the connections could not keep the rate, 99 a --fail-if condition is met, \
130 interrupted, 141 the reader of standard output has gone. If several of 3, 130, 4, 99 and 5 apply, the exit code is \
the first of them in this order. A report is written \
whenever something was measured, also after SIGINT or SIGTERM. A second signal ends the process at once, without one.";

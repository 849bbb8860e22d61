//! `mio-echo serve`: runs the server until a signal stops it.

use std::io::{self, Write};
#[cfg(any(unix, feature = "metrics"))]
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use mio_echo::{Address, Config, Server, Stats, raise_descriptor_limit};
use serde::Serialize;

use super::failure::Failure;
use super::logging;
#[cfg(feature = "metrics")]
use super::metrics::{self, Site};
#[cfg(unix)]
use super::systemd;
use super::values::{self, OrOff};

/// Send back every byte that a client sends, until SIGINT or SIGTERM
#[derive(Args, Debug)]
#[command(after_help = SIGNALS)]
pub(super) struct ServeArgs {
    /// Where to listen: HOST:PORT, [IPV6]:PORT, :PORT (every IPv4 interface) or unix:PATH. PORT is 1 to 65535, or
    /// auto for a free port. Several addresses may be given [default: the sockets that systemd passes, or else
    /// 127.0.0.1:7007]
    #[arg(value_name = "ADDRESS", value_parser = values::address)]
    addresses: Vec<Address>,

    /// Number of connections that may wait to be accepted [default: the system's maximum]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    backlog: Option<u32>,

    /// Number of connections that may be open at the same time. The server closes every further connection at once
    /// [default: as many as the descriptor limit allows, after it is raised to its hard value]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// Size of the read buffer, which all connections share; from 1 byte to 1GiB
    #[arg(
        long,
        value_name = "SIZE",
        allow_negative_numbers = true,
        default_value = "64KiB"
    )]
    #[arg(value_parser = values::read_buffer)]
    read_buffer: usize,

    /// Memory for echo bytes that the kernel has not accepted yet, for all clients together. When it is used up,
    /// further bytes of these clients stay in the kernel
    #[arg(
        long,
        value_name = "SIZE",
        allow_negative_numbers = true,
        default_value = "256MiB"
    )]
    #[arg(value_parser = values::size)]
    memory: usize,

    /// Copy large transfers through this process. Without this option, Linux moves them through a pipe in the kernel.
    /// Use this option if a client sends memory pages with sendfile or MSG_ZEROCOPY, and changes the pages before their
    /// echo has come back
    #[arg(long)]
    no_splice: bool,

    /// Close a client that sends nothing for this time, if its kernel has acknowledged nothing for three quarters of
    /// this time; at least 1ms, or off
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "off"
    )]
    #[arg(value_parser = values::timeout)]
    idle_timeout: OrOff,

    /// Reset a client whose kernel acknowledges no byte of its echo for this time. The reset comes after twice this
    /// time at the latest; at least 1s, or off
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "1m"
    )]
    #[arg(value_parser = values::stall_timeout)]
    stall_timeout: OrOff,

    /// Longest duration of a shutdown, in which the server writes the echo of all bytes that it has received; from 0s
    /// to 24days
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "5s"
    )]
    #[arg(value_parser = values::drain_timeout)]
    drain_timeout: Duration,

    /// Number of event loops, each on a thread of its own; 1 to 1024, or auto for one on each processor. The kernel
    /// distributes the TCP clients over them. A Unix-domain path has one loop
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        allow_negative_numbers = true
    )]
    #[arg(value_parser = values::threads)]
    threads: usize,

    /// Bind each event loop to a processor (Linux)
    #[arg(long)]
    pin: bool,

    /// Let several processes listen on the same port, one for each core. The kernel distributes the clients over them
    #[arg(long)]
    reuse_port: bool,

    /// Permissions of each Unix-domain socket's file in octal, such as 0660. They are set before the first client can
    /// connect. A client needs write permission [default: 0777 without the bits of the umask]
    #[arg(long, value_name = "MODE", allow_negative_numbers = true, value_parser = values::mode)]
    unix_mode: Option<u32>,

    /// After each event, poll without sleeping for this time. Echoes leave sooner, and one processor is busy; at most
    /// 1s, or off
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "off"
    )]
    #[arg(value_parser = values::busy_poll)]
    busy_poll: OrOff,

    /// Log the statistics at this interval; at least 1ms, or off
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "off"
    )]
    #[arg(value_parser = values::timeout)]
    stats_every: OrOff,

    /// Show the numbers of the server over HTTP: a page at /, and OpenMetrics for Prometheus at /metrics. ADDRESS is a
    /// port of the loopback interface, HOST:PORT or [IPV6]:PORT; PORT may be auto
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "ADDRESS", value_parser = values::site)]
    metrics: Option<Address>,

    /// At the end, print the statistics as one JSON object, in the last line of standard output
    #[arg(long)]
    json: bool,

    /// Log each connection. Given twice (-vv), log each step of the event loop. RUST_LOG=debug and RUST_LOG=trace do
    /// the same
    #[arg(short, long, help_heading = LOGGING, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log errors only
    #[arg(short, long, help_heading = LOGGING, conflicts_with = "verbose")]
    quiet: bool,
}

/// Runs the server, and prints each address that it listens on.
pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    logging::start(level(args))?;
    if let Err(error) = raise_descriptor_limit() {
        log::warn!("cannot raise the descriptor limit: {error}");
    }
    let is_unix = |address: &Address| matches!(address, Address::Unix(_));
    if args.unix_mode.is_some() && !args.addresses.iter().any(is_unix) {
        log::warn!("--unix-mode has no effect: no address is a Unix-domain path");
    }
    let mut config = config(args);
    #[cfg(unix)]
    let (passed, watchdog) = (
        systemd::passed_sockets()?,
        systemd::Watchdog::of_this_service(),
    );
    #[cfg(unix)]
    {
        config.heartbeat = watchdog.map(systemd::Watchdog::heartbeat);
    }
    #[cfg(not(unix))]
    let passed = Vec::new();
    if config.addresses.is_empty() && passed.is_empty() {
        config.addresses = vec![Address::default()];
    }
    #[cfg(feature = "metrics")]
    let site = args.metrics.as_ref().map(Site::bind).transpose()?;
    #[cfg(feature = "metrics")]
    if site.is_some() {
        config.turn_histograms = true;
        config.spare_descriptors = metrics::DESCRIPTORS;
    }
    let mut server = Server::bind_with(&config, passed)?;
    stop_on_signals(&mut server)?;
    let handle = server.handle();
    #[cfg(unix)]
    {
        systemd::tell_that_it_is_ready();
        if let Some(watchdog) = watchdog {
            watchdog.feed(handle.clone())?;
        }
    }
    let addresses: Vec<String> = server
        .local_addresses()
        .iter()
        .map(Address::to_string)
        .collect();
    for address in &addresses {
        announce(&format!("listening on {address}"));
    }
    #[cfg(feature = "metrics")]
    if let Some(site) = site {
        announce(&format!("metrics on {}", site.url()));
        let serving = metrics::Serving::new(handle.clone(), &config, &addresses);
        site.publish(Arc::new(serving))?;
    }
    let stats = server.run()?;
    log::info!("served: {stats}");
    let loops = match args.threads {
        1 => Vec::new(),
        _ => handle.loop_stats(),
    };
    for (n, stats) in loops.iter().enumerate() {
        log::info!("loop {n}: {stats}");
    }
    if let Some(shares) = shares(&loops) {
        log::info!("{shares}");
    }
    if args.json {
        say(&serde_json::to_string(&Served { stats, loops })?)
            .map_err(|error| format!("cannot write the statistics to standard output: {error}"))?;
    }
    Ok(())
}

/// Prints a line for a script that waits for it. The script may close the pipe then, and the server still runs.
fn announce(line: &str) {
    if let Err(error) = say(line) {
        log::warn!("cannot write to standard output: {error}");
    }
}

/// The JSON of `--json`.
#[derive(Serialize)]
struct Served {
    /// All loops together.
    #[serde(flatten)]
    stats: Stats,
    /// Each loop, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loops: Vec<Stats>,
}

/// Says how unevenly the connections lay on the loops; `None` if there are not several loops or no connections.
fn shares(loops: &[Stats]) -> Option<String> {
    let accepted: u64 = loops.iter().map(|stats| stats.accepted).sum();
    let most = loops.iter().map(|stats| stats.accepted).max()?;
    let even = accepted as f64 / loops.len() as f64;
    (loops.len() > 1 && accepted > 0).then(|| {
        format!(
            "connections of the busiest loop: {most}, {:.2} times its even share",
            most as f64 / even
        )
    })
}

fn config(args: &ServeArgs) -> Config {
    Config {
        addresses: args.addresses.clone(),
        backlog: args.backlog,
        max_connections: args.max_connections.map(|n| n as usize),
        read_buffer: args.read_buffer,
        memory: args.memory,
        splice: !args.no_splice,
        idle_timeout: args.idle_timeout.0,
        stall_timeout: args.stall_timeout.0,
        drain_timeout: args.drain_timeout,
        threads: args.threads,
        pin: args.pin,
        reuse_port: args.reuse_port,
        unix_mode: args.unix_mode,
        busy_poll: args.busy_poll.0,
        stats_every: args.stats_every.0,
        turn_histograms: false,
        spare_descriptors: 0,
        heartbeat: None,
    }
}

/// Handles SIGINT and SIGTERM: the first one starts the drain. The second one ends the process from within the signal
/// handler, so it works even if the thread of the loop is blocked.
#[cfg(unix)]
fn stop_on_signals(server: &mut Server) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use std::sync::atomic::AtomicBool;

    // Install this handler first. A signal that arrives before it would only set the flag, and the server would not
    // stop.
    server.catch_signals()?;
    let asked_before = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration. The check must run before the flag is set.
        flag::register_conditional_shutdown(signal, 128 + signal, asked_before.clone())?;
        flag::register(signal, asked_before.clone())?;
    }
    Ok(())
}

#[cfg(windows)]
fn stop_on_signals(server: &mut Server) -> io::Result<()> {
    let handle = server.handle();
    let mut asked_before = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked_before, true) {
            std::process::exit(130);
        }
        handle.shutdown();
    })
    .map_err(io::Error::other)
}

/// Prints one line on standard output and flushes it: a script may be waiting for it.
fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// The log level of the arguments. `None` if the arguments set no level; then `RUST_LOG` decides.
fn level(args: &ServeArgs) -> Option<LevelFilter> {
    match (args.quiet, args.verbose) {
        (true, _) => Some(LevelFilter::Error),
        (false, 0) => None,
        (false, 1) => Some(LevelFilter::Debug),
        (false, _) => Some(LevelFilter::Trace),
    }
}

/// The heading of the logging options in the help.
const LOGGING: &str = "Logging";

const SIGNALS: &str = "\
Signals: SIGINT or SIGTERM starts a shutdown. The server accepts only the connections that already wait in its \
backlogs, writes the echo of all bytes that it has received, and exits with 0, after --drain-timeout at the latest. A \
second SIGINT or SIGTERM ends the process at once, with 130 (SIGINT) or 143 (SIGTERM). SIGUSR1 logs the statistics.";

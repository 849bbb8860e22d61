//! `mio-echo serve`: echoes until it is told to stop.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use mio_echo::{Address, Config, Server, raise_descriptor_limit};

use super::failure::Failure;
use super::logging;
use super::values::{self, OrOff};

/// Echo everything that every client sends, until SIGINT or SIGTERM
#[derive(Args, Debug)]
#[command(after_help = SIGNALS)]
pub(super) struct ServeArgs {
    /// Where to listen: HOST:PORT, [IPV6]:PORT, :PORT (every IPv4 interface) or unix:PATH. PORT is 1 to 65535, or
    /// auto for a free one. Several may be given
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:7007", value_parser = values::address)]
    addresses: Vec<Address>,

    /// Connections that may wait to be accepted [default: the system's maximum]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    backlog: Option<u32>,

    /// Connections that may be open at once; one more is turned away [default: what the descriptor limit, raised to
    /// its hard value, has room for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// Size of a read; one buffer serves all connections
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::read_buffer)]
    read_buffer: usize,

    /// Memory for what clients have not taken yet, all of them together; when it is used up, what they send stays in
    /// the kernel
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    memory: usize,

    /// Copy bulk through this process, where Linux would move it through a pipe in the kernel: for clients that send with
    /// sendfile or MSG_ZEROCOPY and change the pages before they have their echo
    #[arg(long)]
    no_splice: bool,

    /// Close a client that sends nothing for so long, if its kernel has acknowledged nothing for three quarters of that
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = values::timeout)]
    idle_timeout: OrOff,

    /// Close a client whose kernel acknowledges nothing of its echo for so long, at the latest after twice as long; at
    /// least 1s
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = values::stall_timeout)]
    stall_timeout: OrOff,

    /// How long a shutdown may take to write out what was received
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::span)]
    drain_timeout: Duration,

    /// Let several processes listen on the port, one loop a core, the kernel spreading clients over them
    #[arg(long)]
    reuse_port: bool,

    /// Permissions of each Unix-domain socket's file, in octal, such as 0660, set before the first client can connect. A
    /// client needs write permission [default: 0777 without the bits of the umask]
    #[arg(long, value_name = "MODE", value_parser = values::mode)]
    unix_mode: Option<u32>,

    /// For so long after an event, poll without sleeping: answers come sooner, and a processor is busy meanwhile. At most
    /// 1s
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = values::awake)]
    busy_poll: OrOff,

    /// Log the statistics so often
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = values::timeout)]
    stats_every: OrOff,

    /// Print the final statistics as one JSON object, the last line of standard output
    #[arg(long)]
    json: bool,

    /// Log connections; twice: every step of the loop. RUST_LOG=debug and RUST_LOG=trace do the same
    #[arg(short, long, help_heading = LOGGING, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log errors only
    #[arg(short, long, help_heading = LOGGING, conflicts_with = "verbose")]
    quiet: bool,
}

/// Serves, and says on standard output where.
pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    logging::start(level(args))?;
    if let Err(error) = raise_descriptor_limit() {
        log::warn!("cannot raise the descriptor limit: {error}");
    }
    let is_unix = |address: &Address| matches!(address, Address::Unix(_));
    if args.unix_mode.is_some() && !args.addresses.iter().any(is_unix) {
        log::warn!("--unix-mode has no effect: no address is a Unix-domain path");
    }
    let mut server = Server::bind(&config(args))?;
    stop_on_signals(&mut server)?;
    for address in server.local_addresses() {
        // A script that has heard enough may close the pipe: that is no reason not to serve.
        if let Err(error) = say(&format!("listening on {address}")) {
            log::warn!("cannot write to standard output: {error}");
        }
    }
    let stats = server.run()?;
    log::info!("served: {stats}");
    if args.json {
        say(&serde_json::to_string(&stats)?)
            .map_err(|error| format!("cannot write the statistics to standard output: {error}"))?;
    }
    Ok(())
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
        reuse_port: args.reuse_port,
        unix_mode: args.unix_mode,
        busy_poll: args.busy_poll.0,
        stats_every: args.stats_every.0,
    }
}

/// The first SIGINT or SIGTERM drains. The second ends the process from within the signal handler, so that it works
/// whatever the loop's thread is held up by.
#[cfg(unix)]
fn stop_on_signals(server: &mut Server) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    let asked_before = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration: look first, then mark.
        flag::register_conditional_shutdown(signal, 128 + signal, asked_before.clone())?;
        flag::register(signal, asked_before.clone())?;
    }
    server.catch_signals()
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

/// One line on standard output, at once: a script may be waiting for it.
fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// What to log; `None` if the arguments do not say, so that the environment may.
fn level(args: &ServeArgs) -> Option<LevelFilter> {
    match (args.quiet, args.verbose) {
        (true, _) => Some(LevelFilter::Error),
        (false, 0) => None,
        (false, 1) => Some(LevelFilter::Debug),
        (false, _) => Some(LevelFilter::Trace),
    }
}

const LOGGING: &str = "Logging";

const SIGNALS: &str = "\
Signals: SIGINT and SIGTERM accept only what already waits in the backlog, write out what was received, and end with 0, after --drain-timeout \
at the latest; a second one ends at once. SIGUSR1 logs the statistics.";

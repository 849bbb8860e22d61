//! The command line of the bench, and the run that it asks for.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::block::Timing;
use crate::common::process::{connect_clients, end_servers_on_signals, pin_load};
use crate::common::{environment, window};
use crate::workloads::{WORKLOADS, Workload};
use crate::{fairness, goals, growth, race, report, servers, tails};

/// Compare echo servers, ours and others, in one interleaved run
#[derive(Parser, Debug)]
#[command(bin_name = "cargo bench --bench peers --")]
struct Args {
    /// Measure only the workloads whose name contains one of these; "growth", "fairness" and "tails" are names too
    #[arg(value_name = "WORKLOAD")]
    only: Vec<String>,

    /// Measure another server too; it must listen on 127.0.0.1, on the port that replaces {port} in its command
    #[arg(long, value_name = "NAME=COMMAND {port}")]
    peer: Vec<String>,

    /// Number of rounds; every server is measured once in each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Length of each measurement
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = window)]
    window: Duration,

    /// Folder for peers.md, peers.svg and growth.svg
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers"))]
    out: PathBuf,

    /// Run the server of this name on a free port
    #[arg(long, hide = true)]
    serve: Option<String>,

    /// Accepted and ignored: cargo passes it to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.serve {
        Some(name) if name == fairness::WITHOUT_BUDGET => fairness::serve_without_budget(),
        Some(name) => servers::serve(name),
        None => compare(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> io::Result<()> {
    mio_echo::raise_descriptor_limit()?;
    end_servers_on_signals()?;
    let contenders = race::contenders(&args.peer)?;
    for contender in &contenders[contenders.len() - args.peer.len()..] {
        // A command that does not work fails here, once, and not in each round of each workload.
        let server = contender.launch()?;
        connect_clients(server.address, 1).map_err(|error| {
            io::Error::other(format!("{} does not echo: {error}", contender.name))
        })?;
    }
    let workloads: Vec<Workload> = WORKLOADS
        .into_iter()
        .filter(|workload| args.wants(workload.name))
        .collect();
    let parts = ["growth", "fairness", "tails"];
    let [grows, is_fair, has_tails] = parts.map(|name| args.wants(name));
    if workloads.is_empty() && !parts.iter().any(|name| args.wants(name)) {
        let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(io::Error::other(format!(
            "no workload is called {}; the names are: {}; {}",
            args.only.join(" or "),
            names.join("; "),
            parts.join("; ")
        )));
    }
    let machine = environment();
    let pinned = pin_load();
    let timing = Timing {
        warmup: Duration::from_millis(100),
        window: args.window,
    };
    let rounds = args.rounds as usize;
    let mut report = report::Report::new(&args.out)?;
    report.say(&report::heading(&machine, pinned, rounds, timing));
    let mut failures = 0;
    if !workloads.is_empty() {
        let comparisons = race::run(&workloads, &contenders, rounds, timing);
        report.say(&report::about_memory());
        for comparison in &comparisons {
            report.say(&report::table(comparison));
        }
        report.say(&goals::of(&comparisons));
        failures = race::failures(&comparisons);
        report.keep("peers.svg", &crate::plot::ratios(&comparisons))?;
    }
    if grows {
        let (curve, failed) = growth::measure(rounds, timing);
        failures += failed;
        report.say(&report::curve(&curve));
        report.keep("growth.svg", &crate::plot::growth(&curve))?;
    }
    if has_tails {
        let (tails, failed) = tails::measure(&contenders, rounds, timing);
        report.say(&tails);
        failures += failed;
    }
    if is_fair {
        report.say(&fairness::measure(rounds)?);
    }
    report.end()?;
    match failures {
        0 => Ok(()),
        n => Err(io::Error::other(format!(
            "{n} rows failed: an echo was wrong, or mio-echo could not be measured; the reasons are below the tables"
        ))),
    }
}

impl Args {
    /// Returns true if the workload of this name was asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| name.to_lowercase().contains(&only.to_lowercase()))
    }
}

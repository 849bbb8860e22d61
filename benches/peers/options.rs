//! The command line of the bench, and what it leads to.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::block::Timing;
use crate::common::process::{crowd, end_servers_on_signals, pin_load};
use crate::common::{environment, window};
use crate::workloads::{WORKLOADS, Workload};
use crate::{fairness, goals, growth, race, report, servers};

/// Compare echo servers, ours and others, in one interleaved run
#[derive(Parser, Debug)]
#[command(bin_name = "cargo bench --bench peers --")]
struct Args {
    /// Only workloads whose name contains one of these; growth and fairness are names too
    #[arg(value_name = "WORKLOAD")]
    only: Vec<String>,

    /// Measure another program too; {port} in its command is where it has to listen, on 127.0.0.1
    #[arg(long, value_name = "NAME=COMMAND {port}")]
    peer: Vec<String>,

    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How long each measurement is
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = window)]
    window: Duration,

    /// Where to write peers.md, peers.svg and growth.svg
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers"))]
    out: PathBuf,

    /// Be a peer, on a free port
    #[arg(long, hide = true)]
    serve: Option<String>,

    /// What cargo says to every bench
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
        // Rather now than in each round of each workload.
        let server = contender.launch()?;
        crowd(server.address, 1).map_err(|error| {
            io::Error::other(format!("{} does not echo: {error}", contender.name))
        })?;
    }
    let workloads: Vec<Workload> = WORKLOADS
        .into_iter()
        .filter(|workload| args.wants(workload.name))
        .collect();
    let (grows, is_fair) = (args.wants("growth"), args.wants("fairness"));
    if workloads.is_empty() && !grows && !is_fair {
        let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(io::Error::other(format!(
            "no workload is called {}: there are {}, growth, fairness",
            args.only.join(" or "),
            names.join("; ")
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
        let heats = race::run(&workloads, &contenders, rounds, timing);
        for heat in &heats {
            report.say(&report::table(heat));
        }
        report.say(&goals::of(&heats));
        failures = race::failures(&heats);
        report.keep("peers.svg", &crate::plot::ratios(&heats))?;
    }
    if grows {
        let curve = growth::measure(rounds, timing)?;
        report.say(&report::curve(&curve));
        report.keep("growth.svg", &crate::plot::growth(&curve))?;
    }
    if is_fair {
        report.say(&fairness::measure(rounds)?);
    }
    report.end()?;
    match failures {
        0 => Ok(()),
        n => Err(io::Error::other(format!(
            "{n} rows are of servers that could not be measured or echoed wrong: see below their tables"
        ))),
    }
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| name.to_lowercase().contains(&only.to_lowercase()))
    }
}

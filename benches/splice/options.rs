//! The command line of the bench, and the run that it asks for.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::common::process::{end_servers_on_signals, has_two_cores};
use crate::common::{environment, window};
use crate::pairs::{self, Placement, Row, Timing, WORKLOADS};
use crate::report;

/// Compare bulk through a pipe with read and write: rate and processor time
#[derive(Parser, Debug)]
#[command(bin_name = "cargo bench --bench splice --")]
struct Args {
    /// Measure only workloads and placements whose name contains one of these. Workloads: 16 KiB, 64 KiB, 256 KiB,
    /// 1 MiB, stream. Placements: own cores, one core. If no workload is named, all are measured; the same holds for
    /// placements
    #[arg(value_name = "NAME")]
    only: Vec<String>,

    /// Number of pairs: each measures both servers once. A confidence interval needs at least 6
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,

    /// Length of each measurement
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = window)]
    window: Duration,

    /// Only check that the bench runs: one pair of 50 ms each, no goals are judged
    #[arg(long)]
    test: bool,

    /// Accepted and ignored: cargo passes it to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

pub(crate) fn main() -> ExitCode {
    match compare(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("splice: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> io::Result<()> {
    end_servers_on_signals()?;
    let timing = match args.test {
        true => Timing {
            pairs: 1,
            window: Duration::from_millis(50),
        },
        false => Timing {
            pairs: args.pairs,
            window: args.window,
        },
    };
    let mut rows = args.rows()?;
    println!("{}", report::heading(&environment(), timing));
    pairs::run(&mut rows, timing);
    println!("{}", report::table(&rows));
    if !args.test {
        println!("{}", report::goals(&rows));
    }
    match rows.iter().filter(|row| row.fault.is_some()).count() {
        0 => Ok(()),
        n => Err(io::Error::other(format!(
            "{n} rows could not be measured; the reasons are below the table"
        ))),
    }
}

impl Args {
    /// Returns the rows that the names select, without rows that need more cores than there are.
    ///
    /// # Errors
    /// If a name is part of no workload's or placement's name.
    fn rows(&self) -> io::Result<Vec<Row>> {
        let workloads = WORKLOADS.map(|workload| workload.name);
        let placements = Placement::ALL.map(Placement::name);
        for only in &self.only {
            if ![&workloads[..], &placements]
                .concat()
                .iter()
                .any(|name| contains(name, only))
            {
                return Err(io::Error::other(format!(
                    "no workload or placement is called {only}; workloads: {}; placements: {}",
                    workloads.join(", "),
                    placements.join(", ")
                )));
            }
        }
        let mut rows = Vec::new();
        for placement in Placement::ALL {
            if placement == Placement::OwnCores && !has_two_cores() {
                continue;
            }
            for workload in WORKLOADS {
                if self.wants(workload.name, &workloads)
                    && self.wants(placement.name(), &placements)
                {
                    rows.push(Row::new(workload, placement));
                }
            }
        }
        Ok(rows)
    }

    /// Returns true if the command line selects `name`, or selects no name of its `kind`.
    fn wants(&self, name: &str, kind: &[&str]) -> bool {
        let is_asked_for = |name: &str| self.only.iter().any(|only| contains(name, only));
        is_asked_for(name) || !kind.iter().any(|name| is_asked_for(name))
    }
}

fn contains(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

//! Runs all servers under all workloads, round by round.

use std::io;

use crate::block::{Contender, Sample, Start, Timing, measure};
use crate::common::output::show_progress;
use crate::common::spread::Spread;
use crate::servers::PEERS;
use crate::workloads::Workload;

/// The results of one workload: a row for each server.
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
}

/// The results of one server under one workload.
pub(crate) struct Row {
    pub(crate) name: String,
    /// One sample for each round; `None` if the server could not be measured or an echo was wrong.
    pub(crate) samples: Vec<Option<Sample>>,
    /// The reason for the last `None`.
    pub(crate) fault: Option<String>,
}

/// Returns our server, the servers of this bench, and those of `--peer`.
///
/// # Errors
/// If an argument of `--peer` is not a new name and a command with `{port}`.
pub(crate) fn contenders(named: &[String]) -> io::Result<Vec<Contender>> {
    let mut contenders = vec![
        Contender::new(OURS, Start::Ours(&[])),
        Contender::new(BUSY_POLLING, Start::Ours(&["--busy-poll", "50us"])),
    ];
    for (name, _) in PEERS {
        contenders.push(Contender::new(name, Start::Peer(name)));
    }
    for peer in named {
        let Some((name, command)) = peer.split_once('=') else {
            let what = format!("--peer {peer:?}: write it as NAME=COMMAND {{port}}");
            return Err(io::Error::other(what));
        };
        if name.is_empty() || contenders.iter().any(|contender| contender.name == name) {
            let what = format!(
                "--peer {peer:?}: the name must not be empty, and no other server may have it"
            );
            return Err(io::Error::other(what));
        }
        if !command.contains("{port}") {
            let what =
                format!("--peer {name}: the command must contain {{port}}, the port to listen on");
            return Err(io::Error::other(what));
        }
        contenders.push(Contender::new(name, Start::Command(command.to_owned())));
    }
    Ok(contenders)
}

/// Measures each server under each workload once a round. The servers run from first to last in one round, from last to
/// first in the next; every two rounds another server is the first.
pub(crate) fn run(
    workloads: &[Workload],
    contenders: &[Contender],
    rounds: usize,
    timing: Timing,
) -> Vec<Comparison> {
    let mut comparisons: Vec<Comparison> = workloads
        .iter()
        .map(|workload| Comparison {
            workload: *workload,
            rows: contenders
                .iter()
                .filter(|contender| contender.name != BUSY_POLLING || workload.clients == 1)
                .map(|contender| Row {
                    name: contender.name.clone(),
                    samples: Vec::new(),
                    fault: None,
                })
                .collect(),
        })
        .collect();
    for round in 0..rounds {
        for comparison in &mut comparisons {
            let entered = comparison.rows.len();
            for place in 0..entered {
                // The order changes from round to round, so that no server always runs after the same other one.
                let place = if round % 2 == 0 {
                    place
                } else {
                    entered - 1 - place
                };
                let row = &mut comparison.rows[(place + round / 2) % entered];
                let name = &row.name;
                let Some(contender) = contenders.iter().find(|c| c.name == *name) else {
                    continue;
                };
                let left = format!("round {} of {rounds}", round + 1);
                show_progress(&format!("{left}: {}, {name}", comparison.workload.name));
                match measure(contender, &comparison.workload, timing) {
                    Ok(sample) => row.samples.push(Some(sample)),
                    Err(error) => {
                        row.samples.push(None);
                        row.fault = Some(error.to_string());
                    }
                }
            }
        }
    }
    show_progress("");
    comparisons
}

/// Counts the rows whose server could not be measured or sent a wrong echo.
pub(crate) fn failures(comparisons: &[Comparison]) -> usize {
    let rows = comparisons.iter().flat_map(|comparison| &comparison.rows);
    rows.filter(|row| row.fault.is_some()).count()
}

impl Comparison {
    /// Returns the row of the server of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl Row {
    /// Returns the median and quartiles of one figure over the rounds.
    pub(crate) fn spread(&self, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().flatten().map(figure))
    }

    /// Returns the ratio of one figure: this server's ÷ the other one's of the same round.
    pub(crate) fn by(&self, other: &Row, figure: fn(&Sample) -> f64) -> Spread {
        let rounds = self.samples.iter().zip(&other.samples);
        let pairs = rounds.filter_map(|(ours, theirs)| Some((ours.as_ref()?, theirs.as_ref()?)));
        Spread::of(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs)))
    }
}

/// Our server.
pub(crate) const OURS: &str = "mio-echo";
/// Our server with `--busy-poll`.
pub(crate) const BUSY_POLLING: &str = "mio-echo, busy-poll 50us";
/// The minimal epoll server, which the others are compared with.
pub(crate) const LIMIT: &str = "epoll limit";

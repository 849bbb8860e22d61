//! Runs all servers under all workloads, round by round.

use std::io;

use crate::block::{Contender, Fault, Sample, Start, Timing, measure};
use crate::common::output::show_progress;
use crate::common::spread::Spread;
use crate::servers::{BARE, PEERS};
use crate::workloads::Workload;

/// The results of one workload: a row for each server.
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
}

/// The results of one server under one workload.
pub(crate) struct Row {
    pub(crate) name: String,
    /// One measurement for each round.
    pub(crate) rounds: Vec<Result<Sample, Fault>>,
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
    let takes_part = |workload: &Workload, contender: &&Contender| {
        contender.name != BUSY_POLLING || workload.never_sleeps
    };
    let mut comparisons: Vec<Comparison> = workloads
        .iter()
        .map(|workload| Comparison {
            workload: *workload,
            rows: contenders
                .iter()
                .filter(|contender| takes_part(workload, contender))
                .map(|contender| Row::new(&contender.name))
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
                row.rounds
                    .push(measure(contender, &comparison.workload, timing));
            }
        }
    }
    show_progress("");
    comparisons
}

/// Counts the rows that make the bench fail: a wrong echo, or our own server if it could not be measured in any of the
/// rounds. Another server that cannot be measured here is a row that says why.
pub(crate) fn failures(comparisons: &[Comparison]) -> usize {
    let rows = comparisons.iter().flat_map(|comparison| &comparison.rows);
    rows.filter(|row| {
        let is_wrong = row
            .faults()
            .any(|fault| matches!(fault, Fault::WrongEcho(_)));
        let is_ours = [OURS, BUSY_POLLING].contains(&row.name.as_str());
        let is_lost = row
            .faults()
            .any(|fault| matches!(fault, Fault::NotMeasurable(_)));
        is_wrong || (is_ours && is_lost)
    })
    .count()
}

impl Comparison {
    /// Returns the row of the server of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Returns the bare epoll loop, level-triggered or edge-triggered, whose figure is lower.
    pub(crate) fn barest(&self, figure: fn(&Sample) -> f64) -> Option<&Row> {
        let rows = BARE.iter().filter_map(|name| self.row(name));
        rows.filter(|row| !row.spread(figure).median.is_nan())
            .min_by(|a, b| {
                let (a, b) = (a.spread(figure).median, b.spread(figure).median);
                a.total_cmp(&b)
            })
    }
}

impl Row {
    fn new(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            rounds: Vec::new(),
        }
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().flatten()
    }

    /// Returns why rounds have no figures.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.rounds.iter().filter_map(|round| round.as_ref().err())
    }

    /// Whether no round has figures.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples().next().is_none()
    }

    /// Returns the median and quartiles of one figure over the rounds.
    pub(crate) fn spread(&self, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples().map(figure).filter(|value| !value.is_nan()))
    }

    /// Returns the number of rounds in which both servers have figures.
    pub(crate) fn pairs(&self, other: &Row) -> usize {
        let rounds = self.rounds.iter().zip(&other.rounds);
        rounds
            .filter(|(ours, theirs)| ours.is_ok() && theirs.is_ok())
            .count()
    }

    /// Returns the ratio of one figure: this server's ÷ the other one's of the same round.
    pub(crate) fn by(&self, other: &Row, figure: fn(&Sample) -> f64) -> Spread {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let pairs =
            rounds.filter_map(|(ours, theirs)| Some((ours.as_ref().ok()?, theirs.as_ref().ok()?)));
        let ratios = pairs.map(|(ours, theirs)| figure(ours) / figure(theirs));
        Spread::of(ratios.filter(|ratio| !ratio.is_nan()))
    }
}

/// Our server.
pub(crate) const OURS: &str = "mio-echo";
/// Our server with `--busy-poll`.
pub(crate) const BUSY_POLLING: &str = "mio-echo, busy-poll 50us";

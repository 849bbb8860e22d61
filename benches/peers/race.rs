//! Who runs against whom, round by round.

use std::io::{self, Write};

use crate::block::{Contender, Sample, Start, Timing, measure};
use crate::servers::PEERS;
use crate::workloads::Workload;

/// What came of one workload: a row for each contender, a sample for each round.
pub(crate) struct Heat {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    /// Why it could not be measured.
    pub(crate) refused: Option<String>,
}

/// Ours, the peers of this bench, and whoever was named on the command line.
pub(crate) fn contenders(named: &[String]) -> io::Result<Vec<Contender>> {
    let mut contenders = vec![
        Contender::new(OURS, Start::Ours(&[])),
        Contender::new(AWAKE, Start::Ours(&["--busy-poll", "50us"])),
    ];
    for (name, _) in PEERS {
        contenders.push(Contender::new(name, Start::Peer(name)));
    }
    for peer in named {
        let Some((name, command)) = peer.split_once('=') else {
            let what = format!("--peer is NAME=COMMAND {{port}}, and not {peer:?}");
            return Err(io::Error::other(what));
        };
        if !command.contains("{port}") {
            let what = format!("--peer {name}: the command has no {{port}}, so nobody finds it");
            return Err(io::Error::other(what));
        }
        contenders.push(Contender::new(name, Start::Command(command.to_owned())));
    }
    Ok(contenders)
}

/// All workloads in each round, all contenders in each workload, every time in another order.
pub(crate) fn run(
    workloads: &[Workload],
    contenders: &[Contender],
    rounds: usize,
    timing: Timing,
) -> Vec<Heat> {
    let mut heats: Vec<Heat> = workloads
        .iter()
        .map(|workload| Heat {
            workload: *workload,
            rows: contenders
                .iter()
                .filter(|contender| contender.name != AWAKE || workload.clients == 1)
                .map(|contender| Row {
                    name: contender.name.clone(),
                    samples: Vec::new(),
                    refused: None,
                })
                .collect(),
        })
        .collect();
    for round in 0..rounds {
        for heat in &mut heats {
            let entered = heat.rows.len();
            for place in 0..entered {
                let row = &mut heat.rows[(place + round) % entered];
                let name = &row.name;
                let Some(contender) = contenders.iter().find(|c| c.name == *name) else {
                    continue;
                };
                let left = format!("round {} of {rounds}", round + 1);
                tell(&format!("{left}: {}, {name}", heat.workload.name));
                match measure(contender, &heat.workload, timing) {
                    Ok(sample) => row.samples.push(sample),
                    Err(error) => row.refused = Some(error.to_string()),
                }
            }
        }
    }
    tell("");
    heats
}

/// One line of progress on standard error, over the last one.
fn tell(what: &str) {
    use std::io::IsTerminal;
    let mut output = io::stderr();
    if output.is_terminal() {
        let _ = write!(output, "\r\x1b[K{what}");
        let _ = output.flush();
    }
}

/// How many servers could not be measured, or echoed wrong.
pub(crate) fn failures(heats: &[Heat]) -> usize {
    let rows = heats.iter().flat_map(|heat| &heat.rows);
    let failed = |row: &&Row| {
        row.refused.is_some() || row.samples.iter().any(|sample| sample.fault.is_some())
    };
    rows.filter(failed).count()
}

impl Heat {
    /// A contender's row.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl Row {
    /// One figure, round by round, by another contender's of the same round.
    pub(crate) fn by(&self, other: &Row, figure: fn(&Sample) -> f64) -> Vec<f64> {
        let pairs = self.samples.iter().zip(&other.samples);
        pairs
            .map(|(ours, theirs)| figure(ours) / figure(theirs))
            .collect()
    }
}

pub(crate) const OURS: &str = "mio-echo";
pub(crate) const AWAKE: &str = "mio-echo, busy-poll 50us";
pub(crate) const LIMIT: &str = "epoll limit";

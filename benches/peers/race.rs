//! Who runs against whom, round by round.

use std::io;

use crate::block::{Contender, Sample, Start, Timing, measure};
use crate::common::output::tell;
use crate::common::spread::Spread;
use crate::servers::PEERS;
use crate::workloads::Workload;

/// What came of one workload: a row for each contender, a sample for each round.
pub(crate) struct Heat {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: String,
    /// Round by round; `None` where it could not be measured, or something came back wrong.
    pub(crate) samples: Vec<Option<Sample>>,
    /// Why not.
    pub(crate) fault: Option<String>,
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
        if name.is_empty() || contenders.iter().any(|contender| contender.name == name) {
            let what = format!("--peer {peer:?}: it needs a name that nobody else has");
            return Err(io::Error::other(what));
        }
        if !command.contains("{port}") {
            let what = format!("--peer {name}: the command has no {{port}}, so nobody finds it");
            return Err(io::Error::other(what));
        }
        contenders.push(Contender::new(name, Start::Command(command.to_owned())));
    }
    Ok(contenders)
}

/// All workloads in each round, all contenders in each workload, in turns from first to last and back.
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
                    fault: None,
                })
                .collect(),
        })
        .collect();
    for round in 0..rounds {
        for heat in &mut heats {
            let entered = heat.rows.len();
            for place in 0..entered {
                // Nobody comes after the same one every time.
                let place = if round % 2 == 0 {
                    place
                } else {
                    entered - 1 - place
                };
                let row = &mut heat.rows[(place + round / 2) % entered];
                let name = &row.name;
                let Some(contender) = contenders.iter().find(|c| c.name == *name) else {
                    continue;
                };
                let left = format!("round {} of {rounds}", round + 1);
                tell(&format!("{left}: {}, {name}", heat.workload.name));
                match measure(contender, &heat.workload, timing) {
                    Ok(sample) => row.samples.push(Some(sample)),
                    Err(error) => {
                        row.samples.push(None);
                        row.fault = Some(error.to_string());
                    }
                }
            }
        }
    }
    tell("");
    heats
}

/// How many servers could not be measured, or echoed wrong.
pub(crate) fn failures(heats: &[Heat]) -> usize {
    let rows = heats.iter().flat_map(|heat| &heat.rows);
    rows.filter(|row| row.fault.is_some()).count()
}

impl Heat {
    /// A contender's row.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl Row {
    /// One figure, over the rounds.
    pub(crate) fn spread(&self, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().flatten().map(figure))
    }

    /// One figure by another contender's of the same round.
    pub(crate) fn by(&self, other: &Row, figure: fn(&Sample) -> f64) -> Spread {
        let rounds = self.samples.iter().zip(&other.samples);
        let pairs = rounds.filter_map(|(ours, theirs)| Some((ours.as_ref()?, theirs.as_ref()?)));
        Spread::of(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs)))
    }
}

pub(crate) const OURS: &str = "mio-echo";
pub(crate) const AWAKE: &str = "mio-echo, busy-poll 50us";
pub(crate) const LIMIT: &str = "epoll limit";

//! What a message costs from ten connections to fifteen thousand, beside the epoll limit.

use std::io;

use crate::block::{self, Contender, Start, Timing};
use crate::common::spread::Spread;
use crate::race::{LIMIT, OURS};
use crate::workloads::ping_pong;

/// One point of the curve.
pub(crate) struct Point {
    pub(crate) clients: usize,
    /// Microseconds of processor time a message.
    pub(crate) ours: Spread,
    pub(crate) limit: Spread,
    pub(crate) ratio: Spread,
}

pub(crate) fn measure(rounds: usize, timing: Timing) -> io::Result<Vec<Point>> {
    let contenders = [
        Contender::new(OURS, Start::Ours(&[])),
        Contender::new(LIMIT, Start::Peer(LIMIT)),
    ];
    let mut samples = [const { Vec::new() }; CLIENTS.len()];
    for round in 0..rounds {
        for (samples, clients) in samples.iter_mut().zip(CLIENTS) {
            let workload = ping_pong(clients);
            let mut cpu = [0.0; 2];
            for place in 0..2 {
                let which = (place + round) % 2;
                cpu[which] = block::measure(&contenders[which], &workload, timing)?.cpu_us;
            }
            samples.push(cpu);
        }
    }
    let points = samples.iter().zip(CLIENTS).map(|(samples, clients)| Point {
        clients,
        ours: Spread::of(samples.iter().map(|[ours, _]| *ours)),
        limit: Spread::of(samples.iter().map(|[_, limit]| *limit)),
        ratio: Spread::of(samples.iter().map(|[ours, limit]| ours / limit)),
    });
    Ok(points.collect())
}

const CLIENTS: [usize; 8] = [10, 30, 100, 300, 1_000, 3_000, 10_000, 15_000];

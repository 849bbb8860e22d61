//! Processor time a message from 10 to 15,000 connections: our server and the epoll limit.

use std::io;

use crate::block::{self, Contender, Start, Timing};
use crate::common::spread::Spread;
use crate::race::{LIMIT, OURS};
use crate::workloads::ping_pong;

/// One point of both curves.
pub(crate) struct Point {
    pub(crate) clients: usize,
    /// Our server's processor time, in microseconds a message.
    pub(crate) ours: Spread,
    /// That of the epoll limit.
    pub(crate) limit: Spread,
    /// Ours ÷ the limit's, round by round.
    pub(crate) ratio: Spread,
}

/// Measures both servers at each number of clients. They swap places from round to round.
///
/// # Errors
/// If a server cannot be measured.
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

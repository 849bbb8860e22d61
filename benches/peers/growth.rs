//! Rate and processor time a message from 10 to 15,000 connections: our server and the bare epoll loops.

use crate::block::{Contender, Start, Timing};
use crate::race::{self, Comparison, OURS, Row};
use crate::servers::BARE;
use crate::workloads::ping_pong;

/// One point of the curves.
pub(crate) struct Point {
    pub(crate) clients: usize,
    pub(crate) ours: Row,
    /// The bare epoll loops: level-triggered and edge-triggered.
    pub(crate) bare: [Row; 2],
}

/// Measures the servers at each number of clients, round by round. Returns the points, and how many rows make the bench
/// fail.
pub(crate) fn measure(rounds: usize, timing: Timing) -> (Vec<Point>, usize) {
    let mut contenders = vec![Contender::new(OURS, Start::Ours(&[]))];
    contenders.extend(BARE.map(|name| Contender::new(name, Start::Peer(name))));
    let workloads = CLIENTS.map(ping_pong);
    let comparisons = race::run(&workloads, &contenders, rounds, timing);
    let failures = race::failures(&comparisons);
    let point = |comparison: Comparison| {
        let [ours, level, edge] = <[Row; 3]>::try_from(comparison.rows).ok()?;
        Some(Point {
            clients: comparison.workload.clients,
            ours,
            bare: [level, edge],
        })
    };
    (
        comparisons.into_iter().filter_map(point).collect(),
        failures,
    )
}

const CLIENTS: [usize; 8] = [10, 30, 100, 300, 1_000, 3_000, 10_000, 15_000];

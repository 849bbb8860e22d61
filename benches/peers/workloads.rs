//! The workloads: the kinds of load that each server is measured under.

use std::net::SocketAddr;
use std::time::Duration;

use mio_echo::load::{Plan, Sizes, Until};

/// One kind of load. Without a rate, every connection is a closed loop: it sends the next message when an echo has come
/// back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Name on the command line and in the report.
    pub(crate) name: &'static str,
    /// Connections that send messages.
    pub(crate) clients: usize,
    /// Idle connections: each sends one byte before the measurement and then nothing.
    pub(crate) idle: usize,
    /// Size of a message, in bytes.
    pub(crate) size: u32,
    /// Messages in flight on each connection.
    pub(crate) pipeline: usize,
    /// Messages a second over all connections, in an open loop.
    pub(crate) rate: Option<f64>,
    /// True if the client polls without sleeping, so that the latency does not include the client's wake-up.
    pub(crate) never_sleeps: bool,
    /// True if each connection is closed after one message, and the next message uses a new one.
    pub(crate) reconnects: bool,
}

/// One client that sends messages of 64 bytes, one after the other.
const PING_PONG: Workload = Workload {
    name: "",
    clients: 1,
    idle: 0,
    size: 64,
    pipeline: 1,
    rate: None,
    never_sleeps: false,
    reconnects: false,
};

pub(crate) const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "1 client",
        never_sleeps: true,
        ..PING_PONG
    },
    Workload {
        name: "50 clients",
        clients: 50,
        ..PING_PONG
    },
    Workload {
        name: "1,000 clients",
        clients: 1_000,
        ..PING_PONG
    },
    Workload {
        name: "10,000 clients",
        clients: 10_000,
        ..PING_PONG
    },
    Workload {
        name: "64 KiB messages",
        clients: 8,
        size: 64 * 1024,
        ..PING_PONG
    },
    Workload {
        name: "1 MiB messages",
        clients: 8,
        size: 1024 * 1024,
        ..PING_PONG
    },
    Workload {
        name: "50 busy among 10,000 idle",
        clients: 50,
        idle: 10_000,
        ..PING_PONG
    },
    Workload {
        name: "connect, ask, close",
        clients: 16,
        reconnects: true,
        ..PING_PONG
    },
    Workload {
        name: "16 in flight",
        clients: 50,
        pipeline: 16,
        ..PING_PONG
    },
];

/// Returns the workload for one point of the growth curve: this many clients.
pub(crate) fn ping_pong(clients: usize) -> Workload {
    Workload {
        name: "growth",
        clients,
        ..PING_PONG
    }
}

impl Workload {
    /// Returns the number of all connections, busy and idle.
    pub(crate) fn connections(&self) -> usize {
        self.clients + self.idle
    }

    /// Returns the load generator's plan for the busy connections.
    pub(crate) fn plan(&self, address: SocketAddr, warmup: Duration, window: Duration) -> Plan {
        let mut plan = Plan::new(address.into());
        plan.connections = self.clients;
        plan.sizes = Sizes::one(self.size).unwrap_or_default();
        plan.pipeline = self.pipeline;
        plan.reconnect = self.reconnects.then_some(1);
        plan.rate = self.rate;
        plan.never_sleep = self.never_sleeps;
        plan.warmup = warmup;
        plan.until = Until::Elapsed(window);
        plan
    }
}

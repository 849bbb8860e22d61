//! What the servers are asked to do.

use std::net::SocketAddr;
use std::time::Duration;

use mio_echo::load::{Plan, Sizes, Until};

/// One kind of load. Every connection is in a closed loop: it asks again when it has its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Connections that talk.
    pub(crate) clients: usize,
    /// Connections that have said one byte and nothing since.
    pub(crate) idle: usize,
    /// Of a message, in bytes.
    pub(crate) size: u32,
    /// Messages under way on each connection.
    pub(crate) pipeline: usize,
    /// Whether the client never sleeps: what it takes to wake it up is then not in the latency.
    pub(crate) awake: bool,
    /// Whether each connection is closed after one message, and made anew.
    pub(crate) reconnects: bool,
}

const PING_PONG: Workload = Workload {
    name: "",
    clients: 1,
    idle: 0,
    size: 64,
    pipeline: 1,
    awake: false,
    reconnects: false,
};

pub(crate) const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "1 client",
        awake: true,
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

/// As many clients as there are points on a curve.
pub(crate) fn ping_pong(clients: usize) -> Workload {
    Workload {
        name: "growth",
        clients,
        ..PING_PONG
    }
}

impl Workload {
    pub(crate) fn connections(&self) -> usize {
        self.clients + self.idle
    }

    pub(crate) fn plan(&self, address: SocketAddr, warmup: Duration, window: Duration) -> Plan {
        let mut plan = Plan::new(address.into());
        plan.connections = self.clients;
        plan.sizes = Sizes::one(self.size).unwrap_or_default();
        plan.pipeline = self.pipeline;
        plan.reconnect = self.reconnects.then_some(1);
        plan.never_sleep = self.awake;
        plan.warmup = warmup;
        plan.until = Until::Elapsed(window);
        plan
    }
}

//! Chooses which connection to make next, when and from which address, and classifies failed attempts.
//!
//! The module begins an attempt when the driver asks for one. The driver registers, closes and tries again.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::diagnosis::{Fault, FaultKind};
use crate::duration::ns;
use crate::plan::Plan;
use net::connect::{self, ConnectOptions, Connector, Target};

/// The connections that a driver has to make, and the state of its attempts.
#[derive(Debug)]
pub(super) struct Dialing {
    /// The server.
    target: Target,
    /// Options of the client's sockets.
    options: ConnectOptions,
    /// Addresses to connect from. `None`: the system chooses.
    sources: Vec<Option<IpAddr>>,
    /// How many of the sources are in use. If the plan names the sources, this is all of them. Otherwise it starts with
    /// one, and grows by one when no source in use has a free port.
    in_use: usize,
    /// Index of the last attempt's source.
    current: usize,
    /// Connections a second at the start, over all threads. `None`: as fast as the server accepts them.
    ramp: Option<f64>,
    /// The longest connecting phase, from the first attempt on. After it the run starts with the connections that are
    /// open.
    limit_ns: u64,
    /// The index of this thread, and the number of threads: each thread makes its part of the ramp.
    share: (usize, usize),
    /// The next slot that has never been dialled.
    next: usize,
    /// The number of slots.
    slots: usize,
    /// Attempts under way.
    pending: usize,
    /// The time of the first attempt; `None` before it.
    began_ns: Option<u64>,
    /// An error that every further attempt is expected to get too.
    fatal: Option<Fault>,
    /// The last error. It is the reported reason if no connection can be made.
    last: Option<Fault>,
}

impl Dialing {
    /// Makes the dialing of thread `thread`, which has this number of slots.
    pub(super) fn new(plan: &Plan, target: Target, thread: usize, slots: usize) -> Dialing {
        let options = ConnectOptions {
            no_delay: plan.no_delay,
            send_buffer: plan.send_buffer,
            receive_buffer: plan.receive_buffer,
        };
        let (sources, in_use) = sources(plan, &target);
        let ramp_s = plan
            .connect_rate
            .map_or(0.0, |rate| plan.connections as f64 / rate);
        Dialing {
            target,
            options,
            sources,
            in_use,
            current: 0,
            ramp: plan.connect_rate,
            limit_ns: (ramp_s * 1e9) as u64 + ns(plan.timeout),
            share: (thread, plan.threads),
            next: 0,
            slots,
            pending: 0,
            began_ns: None,
            fatal: None,
            last: None,
        }
    }

    /// Starts the ramp, at the first call.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.began_ns.get_or_insert(now_ns);
    }

    /// Returns when the next slot is dialled for the first time. `u64::MAX`: no such slot is left, or too many
    /// attempts are under way.
    pub(super) fn next_ns(&self) -> u64 {
        if self.next == self.slots || self.pending >= MOST_PENDING {
            return u64::MAX;
        }
        let Some(began_ns) = self.began_ns else {
            return 0;
        };
        match self.ramp {
            None => began_ns,
            Some(rate) => {
                let (thread, threads) = self.share;
                let place = self.next * threads + thread;
                began_ns + (place as f64 * 1e9 / rate) as u64
            }
        }
    }

    /// Takes a slot that must be dialled for the first time now; `None` if none must.
    pub(super) fn take_next(&mut self, now_ns: u64) -> Option<usize> {
        if self.next_ns() > now_ns || self.fatal.is_some() {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Whether every slot has been dialled, and no attempt is under way.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.slots && self.pending == 0
    }

    /// Whether the connecting phase has reached its time limit.
    pub(super) fn is_late(&self, now_ns: u64) -> bool {
        let deadline_ns = self.began_ns.map(|began_ns| began_ns + self.limit_ns);
        deadline_ns.is_some_and(|deadline_ns| now_ns >= deadline_ns)
    }

    /// Stops: no further slot is dialled for the first time.
    pub(super) fn stop(&mut self) {
        self.next = self.slots;
    }

    /// Counts an attempt that has begun.
    pub(super) fn attempt_began(&mut self) {
        self.pending += 1;
    }

    /// Counts an attempt that has ended, with success or not.
    pub(super) fn attempt_ended(&mut self) {
        self.pending -= 1;
    }

    /// Begins to connect from the next source. If no source in use has a free port, starts to use one more source.
    /// Returns the stream, and when connect(2) was called.
    pub(super) fn connect<K: Connector>(&mut self, kernel: &mut K) -> io::Result<(K::Stream, u64)> {
        let mut tried = 0;
        loop {
            self.current = (self.current + 1) % self.in_use;
            let source = self.sources.get(self.current).copied().flatten();
            match kernel.connect(&self.target, source, &self.options) {
                Err(error) if connect::is_out_of_ports(&error) => {
                    tried += 1;
                    if tried < self.in_use {
                        continue;
                    }
                    if self.in_use == self.sources.len() {
                        return Err(error);
                    }
                    self.current = self.in_use - 1;
                    self.in_use += 1;
                }
                made => return made,
            }
        }
    }

    /// Stores an error as the reason, in case no connection can be made.
    pub(super) fn remember(&mut self, fault: &Fault) {
        self.last = Some(fault.clone());
    }

    /// Stores an error that every further attempt is expected to get too.
    pub(super) fn remember_as_fatal(&mut self, fault: &Fault) {
        self.fatal.get_or_insert_with(|| fault.clone());
    }

    /// Takes the error that every further attempt is expected to get too.
    pub(super) fn take_fatal(&mut self) -> Option<Fault> {
        self.fatal.take()
    }

    /// Takes the reason why there is no connection.
    pub(super) fn take_last_fault(&mut self) -> Fault {
        self.last
            .take()
            .unwrap_or_else(|| connect_fault("no attempt was answered".to_owned()))
    }
}

/// Returns the addresses to connect from, and how many of them to use at first.
fn sources(plan: &Plan, target: &Target) -> (Vec<Option<IpAddr>>, usize) {
    if !plan.sources.is_empty() {
        let sources: Vec<_> = plan.sources.iter().copied().map(Some).collect();
        let all = sources.len();
        return (sources, all);
    }
    let mut sources = vec![None];
    if let Target::Tcp(address) = target
        && address.ip().is_loopback()
        && address.is_ipv4()
        && cfg!(target_os = "linux")
    {
        // On Linux every address of 127/8 belongs to this host. The system chooses 127.0.0.1 by default.
        let others = (2..=LOOPBACK_SOURCES).map(|n| Some(Ipv4Addr::new(127, 0, 0, n).into()));
        sources.extend(others);
    }
    (sources, 1)
}

/// Classifies an error of connect(2), or of the system calls before and after it.
pub(super) fn fault_of(error: &io::Error) -> Fault {
    let kind = match connect::is_the_clients_limit(error) {
        true => FaultKind::ClientLimit,
        false => FaultKind::Connect,
    };
    let detail = match connect::is_out_of_ports(error) {
        true => format!(
            "{error}: the client's ports towards this server are used up; add source addresses with --source, or \
             widen net.ipv4.ip_local_port_range"
        ),
        false => error.to_string(),
    };
    Fault {
        kind,
        offset: None,
        detail,
    }
}

/// The error of a socket that the kernel connected to itself.
pub(super) fn self_connect_fault() -> Fault {
    Fault {
        kind: FaultKind::SelfConnect,
        offset: None,
        detail: "no server listens there, and the kernel connected the client's socket to itself"
            .to_owned(),
    }
}

/// The error of an attempt that took longer than the timeout.
pub(super) fn timeout_fault(timeout: Duration) -> Fault {
    connect_fault(format!("not connected within {timeout:?}"))
}

fn connect_fault(detail: String) -> Fault {
    Fault {
        kind: FaultKind::Connect,
        offset: None,
        detail,
    }
}

/// The most attempts under way at once. More would overflow a backlog of the usual length. The kernel drops a SYN
/// that finds the backlog full, and the client sends it again only a second later.
const MOST_PENDING: usize = 256;

/// The most addresses of 127/8 that are used when the ports of 127.0.0.1 are not enough. Each has about 28,000 ports by
/// default (ip(7), `ip_local_port_range`).
const LOOPBACK_SOURCES: u8 = 250;

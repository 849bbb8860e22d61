//! Which connection to make next, when, from which address, and what a failed attempt means.
//!
//! Answers, and connects when asked. The driver registers, closes and tries again.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::diagnosis::{Fault, FaultKind};
use crate::duration::ns;
use crate::plan::Plan;
use net::connect::{self, ConnectOptions, Connector, Target};

/// A driver's share of the connections, and what is known about making them.
#[derive(Debug)]
pub(super) struct Dialing {
    target: Target,
    options: ConnectOptions,
    /// Where to connect from; `None` is the system's choice.
    sources: Vec<Option<IpAddr>>,
    /// How many of the sources are used so far: all that were asked for, or as many as it takes.
    in_use: usize,
    /// The source of the last attempt.
    turn: usize,
    /// Connections a second at the start, over all threads; `None` is as fast as they are accepted.
    ramp: Option<f64>,
    /// From the first attempt to the time when the run starts with the connections that are open.
    patience_ns: u64,
    /// Which thread this is, of how many: each makes its share of the ramp.
    share: (usize, usize),
    /// The next slot that has never been dialled, and how many slots there are.
    next: usize,
    slots: usize,
    /// Attempts under way.
    pending: usize,
    /// When the first attempt was made; `None` before that.
    began_ns: Option<u64>,
    /// An error that no other attempt will mend.
    fatal: Option<Fault>,
    /// The last error, which is the reason if no connection can be made.
    last: Option<Fault>,
}

impl Dialing {
    /// The connections of thread `thread`, which has so many slots.
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
            turn: 0,
            ramp: plan.connect_rate,
            patience_ns: (ramp_s * 1e9) as u64 + ns(plan.timeout),
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

    /// When the next slot is to be dialled for the first time, if nothing happens in between; `u64::MAX` if none is.
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

    /// Takes the slot that is to be dialled for the first time now.
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

    /// Whether the time for connecting is over.
    pub(super) fn is_late(&self, now_ns: u64) -> bool {
        let deadline_ns = self.began_ns.map(|began_ns| began_ns + self.patience_ns);
        deadline_ns.is_some_and(|deadline_ns| now_ns >= deadline_ns)
    }

    /// Dials no further slot for the first time.
    pub(super) fn stop(&mut self) {
        self.next = self.slots;
    }

    /// An attempt is under way.
    pub(super) fn attempt_began(&mut self) {
        self.pending += 1;
    }

    /// An attempt has ended, whatever came of it.
    pub(super) fn attempt_ended(&mut self) {
        self.pending -= 1;
    }

    /// Begins to connect from the next source; from a further one if all ports of those in use are taken.
    pub(super) fn connect<K: Connector>(&mut self, kernel: &mut K) -> io::Result<K::Stream> {
        let mut tried = 0;
        loop {
            self.turn = (self.turn + 1) % self.in_use;
            let source = self.sources.get(self.turn).copied().flatten();
            match kernel.connect(&self.target, source, &self.options) {
                Err(error) if connect::is_out_of_ports(&error) => {
                    tried += 1;
                    if tried < self.in_use {
                        continue;
                    }
                    if self.in_use == self.sources.len() {
                        return Err(error);
                    }
                    self.turn = self.in_use - 1;
                    self.in_use += 1;
                }
                made => return made,
            }
        }
    }

    /// Remembers an error, in case that no connection can be made.
    pub(super) fn remember(&mut self, fault: &Fault) {
        self.last = Some(fault.clone());
    }

    /// Remembers an error as the answer that every attempt will get.
    pub(super) fn remember_as_fatal(&mut self, fault: &Fault) {
        self.fatal.get_or_insert_with(|| fault.clone());
    }

    /// Takes the error that no other attempt will mend.
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

/// Where to connect from, and how many of these to begin with.
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
        // All of 127/8 is this host, on Linux. The system's own choice is 127.0.0.1.
        let others = (2..=LOOPBACK_SOURCES).map(|n| Some(Ipv4Addr::new(127, 0, 0, n).into()));
        sources.extend(others);
    }
    (sources, 1)
}

/// What an error of connect(2) means, or of the calls around it.
pub(super) fn fault_of(error: &io::Error) -> Fault {
    let kind = match connect::is_the_clients_limit(error) {
        true => FaultKind::ClientLimit,
        false => FaultKind::Connect,
    };
    let detail = match connect::is_out_of_ports(error) {
        true => format!(
            "{error}: the client's ports towards this server are used up; name further addresses with --source, or \
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

/// The connection is one of the client with itself.
pub(super) fn self_connect_fault() -> Fault {
    Fault {
        kind: FaultKind::SelfConnect,
        offset: None,
        detail: "nobody listens there, and the kernel connected the client to itself".to_owned(),
    }
}

/// The attempt took too long.
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

/// The most attempts under way at once. More would overflow a backlog of the usual length, and TCP tries again only a
/// second later for a client that is turned away there.
const MOST_PENDING: usize = 256;

/// How many addresses of 127/8 are used when the ports of 127.0.0.1 are not enough: 28,000 each, by default.
const LOOPBACK_SOURCES: u8 = 250;

//! The driver's part that makes connections: how many at once, from which address, and what to do when it fails.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use super::slot::State;
use super::{Driver, Phase, ns};
use crate::connect::{self, Attempt, ConnectOptions, Target};
use crate::load::diagnosis::{Fault, FaultKind};
use crate::load::exchange::Exchange;
use crate::load::payload::MOST_CONNECTIONS;
use crate::load::plan::Plan;
use crate::poller::Poller;

/// What is known about making connections.
#[derive(Debug)]
pub(super) struct Dialing {
    options: ConnectOptions,
    sources: Vec<Option<IpAddr>>,
    /// How many of the sources are used so far: all that were asked for, or as many as it takes.
    in_use: usize,
    /// Whose turn it is.
    turn: usize,
    ramp: Option<f64>,
    /// Which thread this is, of how many: each makes its share of the ramp.
    share: (usize, usize),
    /// The next slot that has never been dialled.
    next: usize,
    /// How many attempts are under way.
    pending: usize,
    /// When the first was made.
    began_ns: u64,
    /// When to go on without those that are not made by then.
    deadline_ns: u64,
    fatal: Option<Fault>,
    last: Option<Fault>,
}

impl Dialing {
    pub(super) fn new(plan: &Plan, target: &Target, thread: usize) -> Dialing {
        let options = ConnectOptions {
            no_delay: plan.no_delay,
            send_buffer: plan.send_buffer,
            receive_buffer: plan.receive_buffer,
        };
        let (sources, in_use) = sources(plan, target);
        Dialing {
            options,
            sources,
            in_use,
            turn: 0,
            ramp: plan.connect_rate,
            share: (thread, plan.threads),
            next: 0,
            pending: 0,
            began_ns: u64::MAX,
            deadline_ns: u64::MAX,
            fatal: None,
            last: None,
        }
    }

    /// An error that no other attempt will mend.
    pub(super) fn take_fatal(&mut self) -> Option<Fault> {
        self.fatal.take()
    }

    pub(super) fn all_dialled(&self, slots: usize) -> bool {
        self.next == slots && self.pending == 0
    }

    /// Why there is no connection.
    pub(super) fn last_fault(&mut self) -> Fault {
        self.last.take().unwrap_or(Fault {
            kind: FaultKind::Connect,
            offset: None,
            detail: "no attempt was answered".to_owned(),
        })
    }

    /// What went wrong last, to say so if no connection comes about.
    pub(super) fn remember(&mut self, fault: &Fault) {
        self.last = Some(fault.clone());
    }

    /// When the ramp has the next one made.
    fn due_ns(&self) -> u64 {
        match self.ramp {
            None => self.began_ns,
            Some(rate) => {
                let (thread, threads) = self.share;
                let place = self.next * threads + thread;
                self.began_ns + (place as f64 * 1e9 / rate) as u64
            }
        }
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

impl Driver {
    /// Whether another connection is to be made in this turn.
    pub(super) fn may_dial_now(&self) -> bool {
        self.phase == Phase::Connecting && self.next_dial_ns() <= self.now_ns
    }

    /// When the next connection is to be made, if nothing happens in between.
    pub(super) fn next_dial_ns(&self) -> u64 {
        let all = self.dialing.next == self.slots.len();
        if self.phase != Phase::Connecting || all || self.dialing.pending >= PENDING {
            return u64::MAX;
        }
        if self.dialing.began_ns == u64::MAX {
            return 0;
        }
        self.dialing.due_ns()
    }

    /// Makes some of the connections that are due, so many a turn that others' events do not wait for long.
    pub(super) fn dial_some(&mut self) {
        if self.dialing.began_ns == u64::MAX {
            self.dialing.began_ns = self.now_ns;
            let all = self.common.plan.connections as f64;
            let ramp = self.dialing.ramp.map_or(0.0, |rate| all / rate);
            self.dialing.deadline_ns =
                self.now_ns + (ramp * 1e9) as u64 + ns(self.common.plan.timeout);
        }
        for _ in 0..DIALS_A_TURN {
            if !self.may_dial_now() || self.dialing.fatal.is_some() {
                break;
            }
            let key = self.dialing.next;
            self.dialing.next += 1;
            self.dial(key);
        }
        if self.phase == Phase::Connecting && self.now_ns >= self.dialing.deadline_ns {
            self.give_up();
        }
    }

    /// The time for connecting is over: goes on with the connections that are made.
    fn give_up(&mut self) {
        for key in 0..self.slots.len() {
            if let State::Dialing { .. } = self.slots[key].state {
                self.dial_timed_out(key);
            }
            if self.slots[key].state != State::Open {
                self.slots[key].state = State::Gone;
            }
        }
        self.dialing.next = self.slots.len();
    }

    /// Closes a connection that has had its messages, and makes another.
    #[inline(never)]
    pub(super) fn renew(&mut self, key: usize) {
        self.open -= 1;
        self.close(key);
        self.redial(key);
    }

    /// Makes a connection where there was one, or an attempt.
    pub(super) fn redial(&mut self, key: usize) {
        match self.phase {
            Phase::Draining(_) | Phase::Over => self.slots[key].state = State::Gone,
            _ if self.pace.is_used_up() => self.slots[key].state = State::Gone,
            _ => self.dial(key),
        }
    }

    fn dial(&mut self, key: usize) {
        let since_ns = self.read_clock();
        let number = self.common.numbers.fetch_add(1, Ordering::Relaxed) % MOST_CONNECTIONS;
        let plan = &self.common.plan;
        self.slots[key].exchange = Exchange::new(number, plan.seed, plan.pipeline);
        let made = self.connect().and_then(|mut stream| {
            self.poller.register_stream(&mut stream, key)?;
            Ok(stream)
        });
        match made {
            Ok(stream) => {
                let slot = &mut self.slots[key];
                slot.stream = Some(stream);
                slot.state = State::Dialing { since_ns };
                self.dialing.pending += 1;
                // On loopback the handshake is over when connect(2) returns.
                self.look_at_dial(key);
            }
            // Only a Unix-domain socket says so, and there it means that the server's backlog is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.rest(key),
            Err(error) => self.dial_failed(key, &error),
        }
    }

    /// Connects from the next source; from further ones if all ports of the first are taken.
    fn connect(&mut self) -> io::Result<crate::stream::Stream> {
        let dialing = &mut self.dialing;
        let mut tried = 0;
        loop {
            dialing.turn = (dialing.turn + 1) % dialing.in_use;
            let source = dialing.sources[dialing.turn];
            let made = connect::connect(&self.common.target, source, &dialing.options);
            match made {
                Err(error) if connect::is_out_of_ports(&error) => {
                    tried += 1;
                    if tried < dialing.in_use {
                        continue;
                    }
                    if dialing.in_use == dialing.sources.len() {
                        return Err(error);
                    }
                    dialing.turn = dialing.in_use - 1;
                    dialing.in_use += 1;
                }
                made => return made,
            }
        }
    }

    /// What has become of an attempt, after an event that may say so.
    pub(super) fn look_at_dial(&mut self, key: usize) {
        let now_ns = self.read_clock();
        let slot = &mut self.slots[key];
        let (Some(stream), State::Dialing { since_ns }) = (&slot.stream, slot.state) else {
            return;
        };
        match connect::attempt(stream) {
            Attempt::Pending => {}
            Attempt::Made => {
                slot.state = State::Open;
                slot.reset(now_ns);
                self.dialing.pending -= 1;
                if std::mem::take(&mut slot.down) {
                    self.recorder.down(now_ns, -1);
                }
                self.open += 1;
                self.recorder.connected(now_ns - since_ns);
                self.refill(key);
            }
            Attempt::Failed(error) => {
                self.dialing.pending -= 1;
                self.dial_failed(key, &error);
            }
            Attempt::ToItself => {
                self.dialing.pending -= 1;
                self.dial_fault(
                    key,
                    Fault {
                        kind: FaultKind::SelfConnect,
                        offset: None,
                        detail:
                            "nobody listens there, and the kernel connected the client to itself"
                                .to_owned(),
                    },
                );
            }
        }
    }

    pub(super) fn dial_timed_out(&mut self, key: usize) {
        self.dialing.pending -= 1;
        let timeout = self.common.plan.timeout;
        self.dial_fault(
            key,
            Fault {
                kind: FaultKind::Connect,
                offset: None,
                detail: format!("not connected within {timeout:?}"),
            },
        );
    }

    fn dial_failed(&mut self, key: usize, error: &io::Error) {
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
        self.dial_fault(
            key,
            Fault {
                kind,
                offset: None,
                detail,
            },
        );
    }

    /// Counts a connection that could not be made, and has it tried again later.
    fn dial_fault(&mut self, key: usize, fault: Fault) {
        if self.phase == Phase::Connecting && self.open == 0 && fault.kind != FaultKind::SelfConnect
        {
            // Not one is made, so this is how the server answers everybody.
            self.dialing.fatal.get_or_insert(fault.clone());
        }
        self.dialing.remember(&fault);
        self.failing_ns = self.failing_ns.min(self.now_ns);
        let number = self.slots[key].exchange.connection();
        self.recorder
            .fault(fault, number, std::iter::empty(), self.now_ns);
        self.rest(key);
    }

    fn rest(&mut self, key: usize) {
        self.close(key);
        self.slots[key].state = State::Resting {
            until_ns: self.now_ns + RETRY_NS,
        };
    }
}

/// Attempts under way at once. More would overflow a backlog of the usual length, and who is turned away there is tried
/// again by TCP a second later.
const PENDING: usize = 256;

const DIALS_A_TURN: usize = 32;

/// How long to wait before trying again.
const RETRY_NS: u64 = 50_000_000;

/// How many addresses of 127/8 are used when the ports of 127.0.0.1 are not enough: 28,000 each, by default.
const LOOPBACK_SOURCES: u8 = 250;

//! The driver's part that ends what goes wrong: what takes too long, what has failed.

use std::sync::atomic::Ordering;

use super::slot::State;
use super::{Driver, ns};
use crate::load::diagnosis::{Fault, FaultKind};
use crate::load::exchange::Exchange;
use crate::load::payload::MOST_CONNECTIONS;
use crate::poller::Poller;

impl Driver {
    /// Looks at a tenth of the slots: thousands at once would make a message late.
    pub(super) fn tick(&mut self) {
        let timeout_ns = ns(self.common.plan.timeout);
        self.tick_ns = self.now_ns + (timeout_ns / 100).clamp(SHORTEST_TICK_NS, LONGEST_TICK_NS);
        let end = (self.cursor + self.slots.len().div_ceil(10)).min(self.slots.len());
        for key in self.cursor..end {
            self.look_at_time(key, timeout_ns);
        }
        self.cursor = if end == self.slots.len() { 0 } else { end };
    }

    fn look_at_time(&mut self, key: usize, timeout_ns: u64) {
        let now_ns = self.now_ns;
        let slot = &self.slots[key];
        match slot.state {
            State::Resting { until_ns } if now_ns >= until_ns => self.redial(key),
            State::Dialing { since_ns } if now_ns >= since_ns + timeout_ns => {
                self.dial_timed_out(key)
            }
            State::Open if now_ns >= slot.doubt_ns => {
                let fault = self.diagnosed(key);
                self.fail(key, fault);
            }
            State::Open => {
                let oldest_ns = slot.exchange.oldest_ns().unwrap_or(u64::MAX);
                if now_ns.saturating_sub(timeout_ns) >= oldest_ns {
                    let fault = slot.exchange.ended(FaultKind::Timeout);
                    self.fail(key, fault);
                }
            }
            _ => {}
        }
    }

    /// Closes a connection for an error, and has it made anew after a rest.
    pub(super) fn fail(&mut self, key: usize, fault: Fault) {
        let slot = &mut self.slots[key];
        let lost = slot.exchange.outstanding();
        let connection = slot.exchange.connection();
        let now_ns = self.now_ns;
        self.dialing.remember(&fault);
        self.recorder
            .fault(fault, connection, slot.exchange.under_way_ns(), now_ns);
        self.in_flight -= lost;
        self.open -= 1;
        if !std::mem::replace(&mut slot.down, true) {
            self.recorder.down(now_ns, 1);
        }
        self.ended_ns = now_ns;
        self.failing_ns = self.failing_ns.min(now_ns);
        self.close(key);
        self.slots[key].state = State::Resting {
            until_ns: now_ns + REST_NS,
        };
    }

    /// Closes a stream; what it had under way is gone.
    pub(super) fn close(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if let Some(mut stream) = slot.stream.take() {
            self.poller.forget_stream(&mut stream);
        }
        slot.reset(self.now_ns);
        slot.exchange = Exchange::new(0, 0, 0);
    }

    pub(super) fn diagnosed(&self, key: usize) -> Fault {
        let connections = self.common.numbers.load(Ordering::Relaxed);
        self.slots[key]
            .exchange
            .diagnose(self.payload, connections.min(MOST_CONNECTIONS))
    }
}

/// How long a connection that failed rests before it is made anew: a server that fails at once is not to be stormed.
const REST_NS: u64 = 100_000_000;

/// Ten ticks look at every slot once, so timeouts are late by 100 ms at most, or by a tenth of a short one.
const SHORTEST_TICK_NS: u64 = 1_000_000;
const LONGEST_TICK_NS: u64 = 10_000_000;

//! The driver's part that reads and writes.
//!
//! What stands between the loop and the system calls is inlined, as in the server: see its verdicts for what it costs
//! otherwise.

use std::io::{Read, Write};

use super::Driver;
use super::slot::State;
use crate::load::diagnosis::{Fault, FaultKind};
use crate::load::exchange::Received;
use crate::load::pace::Next;
use crate::poller::Poller;
use crate::refusal::{Refusal, refusal_of};

impl Driver {
    /// Reads what is there, records what is complete, and sends what may follow.
    #[inline(always)]
    pub(super) fn receive(&mut self, key: usize, read_on: bool) {
        let mut budget = TURN;
        let check = (self.payload, self.verify());
        loop {
            let slot = &mut self.slots[key];
            let (Some(stream), State::Open) = (&mut slot.stream, slot.state) else {
                return;
            };
            let n = match stream.read(&mut self.scratch) {
                Ok(0) => return self.ended(key),
                Ok(n) => n,
                Err(error) => match refusal_of(&error) {
                    Refusal::WouldBlock => break,
                    Refusal::Interrupted => continue,
                    refusal => return self.broken(key, refusal),
                },
            };
            let drained =
                n < self.scratch.len() && self.poller.short_read_is_drained(stream) && !read_on;
            // After each read, not once for a batch of events: the last of a batch would seem as fast as the first.
            let now_ns = self.read_clock();
            let slot = &mut self.slots[key];
            let (recorder, came) = (&mut self.recorder, &self.scratch[..n]);
            let before = slot.exchange.outstanding();
            let received = slot
                .exchange
                .received(came, now_ns, check, |echo| recorder.echo(&echo));
            let echoes = before - slot.exchange.outstanding();
            if echoes > 0 {
                slot.ok += echoes as u64;
                if before >= self.common.plan.pipeline {
                    slot.free_ns = now_ns;
                }
                self.in_flight -= echoes;
                (self.ended_ns, self.failing_ns) = (now_ns, u64::MAX);
            }
            match received {
                Received::Right => {}
                Received::Doubtful => slot.doubt_ns = slot.doubt_ns.min(now_ns + DOUBT_NS),
                Received::Wrong => return self.wrong(key),
            }
            if drained {
                break;
            }
            budget = budget.saturating_sub(n);
            if budget == 0 {
                // Under edge triggering nothing else will call it again.
                self.ready.push(key);
                break;
            }
        }
        self.refill(key);
    }

    /// Begins what is due on a connection, and writes what the kernel takes.
    #[inline(always)]
    pub(super) fn refill(&mut self, key: usize) {
        self.read_clock();
        loop {
            let begun = self.begin(key);
            let slot = &self.slots[key];
            if slot.state != State::Open || slot.no_room {
                return;
            }
            if slot.exchange.messages() >= self.most_messages() && slot.exchange.outstanding() == 0
            {
                return self.renew(key);
            }
            self.write_out(key);
            // A message begins when it can be written, not when it is in a row of others: more than is offered at once waits.
            if !begun || self.slots[key].exchange.outstanding() >= self.common.plan.pipeline {
                return;
            }
        }
    }

    /// Begins messages that are due, as many as there is room for and are offered at once. Returns whether it stopped for
    /// that.
    #[inline(always)]
    fn begin(&mut self, key: usize) -> bool {
        let now_ns = self.now_ns;
        let most = self.most_messages();
        let plan = &self.common.plan;
        let slot = &mut self.slots[key];
        if slot.state != State::Open || slot.no_room || slot.exchange.is_in_doubt() {
            return false;
        }
        while slot.exchange.outstanding() < plan.pipeline && slot.exchange.messages() < most {
            match self.pace.take(slot.schedule.as_mut(), now_ns) {
                Next::Due(intended_ns) => {
                    let size = plan.sizes.draw(slot.exchange.lots());
                    slot.exchange.begin(size, intended_ns, now_ns);
                    self.recorder.sent(intended_ns, slot.free_ns, now_ns);
                    self.in_flight += 1;
                    if slot.exchange.waiting_bytes() >= self.scratch.len() as u64 {
                        return true;
                    }
                }
                Next::At(due_ns) => {
                    if !std::mem::replace(&mut slot.queued, true) {
                        self.pace.wait(due_ns, key);
                    }
                    return false;
                }
                Next::Never => return false,
            }
        }
        false
    }

    /// How many messages a connection has before another takes its place.
    #[inline(always)]
    fn most_messages(&self) -> u64 {
        self.common.plan.reconnect.unwrap_or(u64::MAX)
    }

    #[inline(always)]
    fn write_out(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        let Some(stream) = &mut slot.stream else {
            return;
        };
        loop {
            let n = slot.exchange.unsent(self.payload, &mut self.scratch);
            if n == 0 {
                return;
            }
            match stream.write(&self.scratch[..n]) {
                Ok(taken) => slot.exchange.accepted(taken, n),
                Err(error) => match refusal_of(&error) {
                    Refusal::WouldBlock => {
                        slot.no_room = true;
                        return;
                    }
                    Refusal::Interrupted => {}
                    Refusal::Reset | Refusal::Failed(_) => {
                        // What the server said last may still be in the receive queue, and it tells more.
                        slot.no_room = true;
                        slot.write_failed = true;
                        self.ready.push(key);
                        return;
                    }
                },
            }
        }
    }

    /// The server has ended the stream.
    #[cold]
    fn ended(&mut self, key: usize) {
        let kind = match self.slots[key].write_failed {
            true => FaultKind::Reset,
            false => FaultKind::Closed,
        };
        self.over(key, kind, None);
    }

    #[cold]
    fn broken(&mut self, key: usize, refusal: Refusal) {
        match refusal {
            Refusal::Failed(kind) => self.over(key, FaultKind::Socket, Some(kind.to_string())),
            _ => self.over(key, FaultKind::Reset, None),
        }
    }

    #[cold]
    fn wrong(&mut self, key: usize) {
        let fault = self.diagnosed(key);
        self.read_clock();
        self.fail(key, fault);
    }

    fn over(&mut self, key: usize, kind: FaultKind, detail: Option<String>) {
        self.read_clock();
        let exchange = &self.slots[key].exchange;
        let fault = match exchange.is_in_doubt() {
            true => self.diagnosed(key),
            false => exchange.ended(kind),
        };
        let detail = detail.unwrap_or(fault.detail);
        self.fail(key, Fault { detail, ..fault });
    }
}

/// One connection's share of a turn, in bytes: see the server's.
const TURN: usize = 256 * 1024;

/// How long to wait for the rest of what is not as it should be, to see what it is.
const DOUBT_NS: u64 = 100_000_000;

//! Judges connections on which an echo is late: timeouts, silence, and what is left at the end of the run.
//!
//! The driver reads once more before it asks. The echo may be in the receive queue, and its event may still wait in the
//! kernel: for example, after the driver itself did not run for a while.

use super::slot::Slot;
use crate::diagnosis::{Fault, FaultKind};
use crate::duration::ns;
use crate::exchange::Exchange;
use crate::{Plan, Until};

/// What is wrong with a connection on which an echo is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The oldest message is older than the timeout.
    TimedOut,
    /// No byte has come since this time, which is too long ago.
    Silent(u64),
}

/// The limits for late echoes.
#[derive(Debug)]
pub(super) struct Silence {
    /// The greatest age of a message.
    timeout_ns: u64,
    /// The longest silence that is allowed while a message is under way. A longer silence is an error.
    longest_ns: u64,
    /// When the wait for the messages under way began, if the run ended as planned.
    grace_began_ns: Option<u64>,
}

impl Silence {
    pub(super) fn new(plan: &Plan) -> Silence {
        Silence {
            timeout_ns: ns(plan.timeout),
            longest_ns: match plan.until {
                Until::Elapsed(duration) => SHORTEST_SILENCE_NS.max(ns(duration) / 10),
                Until::Count(_) => SHORTEST_SILENCE_NS,
            },
            grace_began_ns: None,
        }
    }

    /// Records that the run ended as planned, and that the wait for the messages under way begins.
    pub(super) fn grace_begins(&mut self, now_ns: u64) {
        self.grace_began_ns = Some(now_ns);
    }

    /// Returns when the wait for the messages under way began; `None` if the run did not end as planned.
    pub(super) fn grace_began_ns(&self) -> Option<u64> {
        self.grace_began_ns
    }

    /// Returns whether an echo is late on this connection. A silence counts once.
    pub(super) fn late<S>(&self, slot: &Slot<S>, now_ns: u64) -> Option<Late> {
        let age_ns = now_ns.saturating_sub(slot.exchange.oldest_ns()?);
        let since_ns = slot.exchange.silent_since_ns()?;
        let silent_ns = now_ns.saturating_sub(since_ns);
        if age_ns >= self.timeout_ns {
            Some(Late::TimedOut)
        } else if silent_ns >= self.longest_ns && slot.reported_silence_ns != since_ns {
            Some(Late::Silent(since_ns))
        } else {
            None
        }
    }

    /// Returns the fault of a connection whose oldest message is older than the timeout, and whose bytes are right. A
    /// part of an echo and then nothing for a second is a wrong echo. Otherwise the server is only slow.
    pub(super) fn timeout(&self, exchange: &Exchange, now_ns: u64) -> Fault {
        match silent_ns(exchange, now_ns) {
            Some(silent_ns) if exchange.is_within_an_echo() && silent_ns >= SHORTEST_SILENCE_NS => {
                exchange.broken_off(silent_ns)
            }
            _ => exchange.ended(FaultKind::Timeout),
        }
    }

    /// Returns the fault of a connection at the end of the run; `None` if there is none. The caller has checked that
    /// the received bytes are right. It is a fault if only a part of an echo came, and the last byte of that part came
    /// before the grace period and at least a second ago.
    pub(super) fn fault_at_the_end(&self, exchange: &Exchange, now_ns: u64) -> Option<Fault> {
        let silent_ns = silent_ns(exchange, now_ns)?;
        let is_broken_off = exchange.is_within_an_echo()
            && self.is_before_the_grace(now_ns - silent_ns)
            && silent_ns >= SHORTEST_SILENCE_NS;
        is_broken_off.then(|| exchange.broken_off(silent_ns))
    }

    /// Returns since when this connection is silent, at the end of the run; `None` if it is not. It is silent if no
    /// byte came for the time that makes a silence an error. A shorter silence counts too if it began before the grace
    /// period of a planned end, and is longer than `slowest_ns`, the time of the slowest echo. Otherwise a server that
    /// hangs shortly before the end would go unnoticed.
    pub(super) fn silent_at_the_end<S>(
        &self,
        slot: &Slot<S>,
        slowest_ns: u64,
        now_ns: u64,
    ) -> Option<u64> {
        let since_ns = slot.silent_since_ns()?;
        let silent_ns = now_ns.saturating_sub(since_ns);
        let hangs = self.is_before_the_grace(since_ns) && silent_ns > slowest_ns;
        (hangs || silent_ns >= self.longest_ns).then_some(since_ns)
    }

    /// Whether the run ended as planned, and this time was before the end.
    fn is_before_the_grace(&self, at_ns: u64) -> bool {
        self.grace_began_ns
            .is_some_and(|began_ns| at_ns <= began_ns)
    }
}

/// Returns how long no byte has come while a message is under way; `None` if no message is.
fn silent_ns(exchange: &Exchange, now_ns: u64) -> Option<u64> {
    let since_ns = exchange.silent_since_ns()?;
    Some(now_ns.saturating_sub(since_ns))
}

/// A connection is silent if no byte comes for this time, or for a tenth of the window if that is longer, while a
/// message is under way.
const SHORTEST_SILENCE_NS: u64 = 1_000_000_000;

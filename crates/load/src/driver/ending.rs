//! Connections whose stream the client has ended as planned, and whose server has not ended its own stream yet.
//!
//! After a planned end the client sends nothing more (`SHUT_WR`) and reads to the end of the server's stream. So
//! surplus bytes that come late are noticed, and so is a server that loses bytes after a half-close. This happens
//! outside of all measured times. Meanwhile the slot of the connection is free for the next one.

use std::collections::{BTreeMap, VecDeque};

use crate::diagnosis::{Fault, FaultKind};
use crate::exchange::Exchange;

/// A connection whose stream the client has ended.
#[derive(Debug)]
pub(super) struct Ending<S> {
    /// The stream, whose sending side is closed.
    pub(super) stream: S,
    /// The sent bytes that are not back yet, if there are any.
    pub(super) exchange: Exchange,
}

/// The result of a planned end.
#[derive(Debug)]
pub(super) enum End {
    /// The server ended its stream, and every byte was right.
    Verified,
    /// The server did not end its stream in time, or reset the connection. No byte is known to be wrong.
    NotEnded,
    /// Bytes are missing or wrong.
    Wrong(Fault),
}

impl<S> Ending<S> {
    /// Judges the connection at the end of the server's stream. Every sent byte must be back.
    pub(super) fn at_end_of_stream(&self) -> End {
        match self.exchange.missing_bytes() {
            0 => End::Verified,
            missing => End::Wrong(Fault {
                kind: FaultKind::Short,
                offset: Some(self.exchange.received_bytes()),
                detail: format!(
                    "the server ended its stream after the client had ended its own, and {missing} bytes are missing"
                ),
            }),
        }
    }

    /// Judges the connection when it was reset.
    pub(super) fn at_reset(&self) -> End {
        match self.exchange.missing_bytes() {
            0 => End::NotEnded,
            _ => End::Wrong(self.exchange.ended(FaultKind::Reset)),
        }
    }
}

/// The connections that end, by their tokens. Each has the same time limit, so the oldest one reaches its limit
/// first.
#[derive(Debug)]
pub(super) struct Endings<S> {
    /// The connections that still end, by their tokens.
    by_token: BTreeMap<usize, Ending<S>>,
    /// When the time of each connection is over, and its token: oldest first. Tokens of connections that have ended are
    /// still in it.
    until_ns: VecDeque<(u64, usize)>,
    /// The most connections that may end at the same time.
    most: usize,
}

impl<S> Endings<S> {
    pub(super) fn new(most: usize) -> Endings<S> {
        Endings {
            by_token: BTreeMap::new(),
            until_ns: VecDeque::new(),
            most,
        }
    }

    /// Whether no further connection may be added.
    pub(super) fn is_full(&self) -> bool {
        self.by_token.len() >= self.most
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    /// Adds a connection. Its time is over at `until_ns`, or later: never before the time of the connection that was
    /// added before it.
    pub(super) fn add(&mut self, token: usize, ending: Ending<S>, until_ns: u64) {
        let last_ns = self.until_ns.back().map_or(0, |(last_ns, _)| *last_ns);
        self.by_token.insert(token, ending);
        self.until_ns.push_back((until_ns.max(last_ns), token));
    }

    pub(super) fn get_mut(&mut self, token: usize) -> Option<&mut Ending<S>> {
        self.by_token.get_mut(&token)
    }

    pub(super) fn remove(&mut self, token: usize) -> Option<Ending<S>> {
        self.by_token.remove(&token)
    }

    /// Returns when the time of the oldest connection is over; `u64::MAX` if there is none.
    pub(super) fn next_ns(&mut self) -> u64 {
        while let Some((until_ns, token)) = self.until_ns.front() {
            if self.by_token.contains_key(token) {
                return *until_ns;
            }
            self.until_ns.pop_front();
        }
        u64::MAX
    }

    /// Returns the token of a connection whose time is over.
    pub(super) fn overdue(&mut self, now_ns: u64) -> Option<usize> {
        if self.next_ns() > now_ns {
            return None;
        }
        self.until_ns.front().map(|(_, token)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending() -> Ending<()> {
        Ending {
            stream: (),
            exchange: Exchange::new(0, 0, 0),
        }
    }

    #[test]
    fn the_oldest_connection_that_still_ends_is_overdue_first() {
        let mut endings = Endings::new(2);
        assert_eq!(endings.next_ns(), u64::MAX);
        endings.add(7, ending(), 100);
        assert!(!endings.is_full());
        endings.add(3, ending(), 200);
        assert!(endings.is_full());
        assert!(endings.remove(7).is_some());
        assert_eq!(endings.next_ns(), 200);
        assert_eq!(endings.overdue(199), None);
        assert_eq!(endings.overdue(200), Some(3));
        assert!(endings.remove(3).is_some() && endings.is_empty());
        assert_eq!(endings.overdue(u64::MAX), None);
    }

    #[test]
    fn an_end_of_stream_with_missing_bytes_is_a_wrong_echo() {
        let mut ending = ending();
        assert!(matches!(ending.at_end_of_stream(), End::Verified));
        assert!(matches!(ending.at_reset(), End::NotEnded));
        ending.exchange.begin(10, 0, 0);
        ending.exchange.accepted(10, 10);
        let End::Wrong(fault) = ending.at_end_of_stream() else {
            panic!("10 bytes are missing");
        };
        assert_eq!(fault.kind, FaultKind::Short);
        assert!(fault.detail.contains("10 bytes are missing"), "{fault:?}");
        let End::Wrong(fault) = ending.at_reset() else {
            panic!("10 bytes are missing");
        };
        assert_eq!(fault.kind, FaultKind::Reset);
    }
}

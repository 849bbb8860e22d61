//! The loop's part that ends it: no new clients, what was received is written out, and then each stream ends.

use super::EventLoop;
use crate::poller::Poller;
use crate::server::acceptor::AfterFailure;
use crate::server::step::Reason;
use crate::server::table::Entry;
use crate::stream::Socket;

impl<P: Poller> EventLoop<P> {
    /// Accepts what waits in the backlogs, closes the listeners and has each peer say its last words, until the deadline.
    pub(super) fn begin_draining(&mut self) {
        self.deadline = Some(self.now + self.limits.drain_timeout);
        planted!(GiveUpTooEarly => self.deadline = Some(self.now + self.limits.drain_timeout / 2));
        // Nothing was sent and nothing is owed, so there is no echo that a reset could overtake. They go first: their places
        // and descriptors are there for the backlogs.
        for key in self.table.peer_keys() {
            let Some(peer) = self.table.peer_mut(key) else {
                continue;
            };
            if peer.connection.is_untouched() && peer.stream.received() == 0 {
                self.close(key, Reason::Drained);
            }
        }
        for key in self.table.listener_keys() {
            planted!(ForgetTheBacklog => { drop(self.table.remove(&mut self.poller, key)); continue });
            self.accept_the_backlog(key);
            drop(self.table.remove(&mut self.poller, key));
        }
        self.acceptor.resume();
        let connections = self.table.connections();
        log::info!(
            "shutting down: no new clients; writing out what is owed, for at most {:?}; open connections: {connections}",
            self.limits.drain_timeout
        );
        for key in self.table.peer_keys() {
            let Some(peer) = self.table.peer_mut(key) else {
                continue;
            };
            let received = peer.stream.received();
            if received == 0 && peer.connection.is_untouched() {
                self.close(key, Reason::Drained);
            } else {
                peer.connection.drain(received);
                self.ready.push(key);
            }
        }
    }

    /// Accepts the connections that were complete when the drain began: closing the listener would reset them, with all
    /// that they have sent. Those that come meanwhile are not waited for, or there would be no end.
    fn accept_the_backlog(&mut self, key: usize) {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return;
        };
        let waiting = self.poller.waiting(listener);
        let most = waiting.unwrap_or(self.limits.backlog);
        let deadline = self.now + self.limits.drain_timeout;
        let mut accepted = 0;
        while accepted < most && self.poller.now() < deadline {
            let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
                return;
            };
            match self.poller.accept(listener) {
                Ok((stream, peer)) => {
                    self.acceptor.succeeded();
                    self.admit(stream, &peer);
                    accepted += 1;
                }
                Err(error) => {
                    let counters = &self.control.counters().accept_errors;
                    match self.acceptor.failed(key, &error, self.now, counters) {
                        AfterFailure::Next => {}
                        AfterFailure::Drained => return,
                        AfterFailure::Pause => break,
                    }
                }
            }
        }
        self.count_what_is_left(key);
    }

    /// Counts the connections in a backlog that cannot be accepted, for want of descriptors, memory or time.
    fn count_what_is_left(&mut self, key: usize) {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return;
        };
        match self.poller.waiting(listener) {
            Some(0) => {}
            Some(left) => {
                self.control.counters().left_in_backlog.add(left as u64);
                log::warn!(
                    "connections that waited to be accepted and are closed now, unanswered: {left}"
                );
            }
            None => log::warn!(
                "connections that waited to be accepted may be closed now, unanswered: this kind of socket does not \
                 tell how many"
            ),
        }
    }

    /// Whether the drain is over: everybody has gone, or the deadline has come.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| self.table.connections() == 0 || self.now >= deadline)
    }

    /// Closes whoever is left at the deadline, and says what that costs them.
    pub(crate) fn abandon_the_rest(&mut self) {
        let left = self.table.peer_keys();
        let (lost, _) = self.buffers.spills.pending();
        if !left.is_empty() {
            let connections = left.len();
            let unacknowledged: u64 = left
                .iter()
                .filter_map(|key| {
                    let peer = self.table.peer_mut(*key)?;
                    let delivery = peer.stream.delivery()?;
                    Some(
                        peer.connection
                            .echoed()
                            .saturating_sub(delivery.acknowledged),
                    )
                })
                .sum();
            log::warn!(
                "the drain timeout has come; connections abandoned: {connections}, bytes not written: {lost}, bytes in the \
                 kernel's queues: {unacknowledged}"
            );
        }
        for key in left {
            self.close(key, Reason::Abandoned);
        }
        self.publish_pending();
    }
}

//! The loop's part that ends it: no new clients, what was received is written out, and then each stream ends.

use super::EventLoop;
use crate::poller::Poller;
use crate::server::step::Reason;
use crate::stream::Socket;

impl<P: Poller> EventLoop<P> {
    /// Closes the listeners and has each peer say its last words, until the deadline.
    pub(super) fn begin_draining(&mut self) {
        let connections = self.table.connections();
        log::info!(
            "shutting down: no new clients; writing out what is owed, for at most {:?}; open connections: {connections}",
            self.limits.drain_timeout
        );
        self.deadline = Some(self.now + self.limits.drain_timeout);
        planted!(GiveUpTooEarly => self.deadline = Some(self.now + self.limits.drain_timeout / 2));
        for key in self.table.listener_keys() {
            drop(self.table.remove(&mut self.poller, key));
        }
        self.acceptor.resume();
        for key in self.table.peer_keys() {
            if let Some(peer) = self.table.peer_mut(key) {
                peer.connection.drain(peer.stream.received());
                self.ready.push(key);
            }
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
            log::warn!(
                "the drain timeout has come; connections abandoned: {connections}, bytes not written: {lost}"
            );
        }
        for key in left {
            self.close(key, Reason::Abandoned);
        }
        self.publish_pending();
    }
}

//! The loop's part that turns waiting connections into peers.

use super::EventLoop;
use crate::poller::Poller;
use crate::server::acceptor::AfterFailure;
use crate::server::step::{Reason, Step};
use crate::server::table::Entry;
use crate::server::timeouts::Timeout;

impl<P: Poller> EventLoop<P> {
    /// Takes connections out of a backlog until it is empty or the quota is used up.
    pub(super) fn accept(&mut self, key: usize) {
        if self.acceptor.is_paused() {
            planted!(LoseAListenerDuringAPause => return);
            self.acceptor.wait(key);
            return;
        }
        for _ in 0..self.limits.accepts_a_turn {
            planted!(LoseTheListenerAtTheCap => if self.is_full() { return });
            let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
                return;
            };
            match self.poller.accept(listener) {
                Ok((stream, peer)) => {
                    self.acceptor.succeeded();
                    self.admit(stream, &peer);
                    planted!(AcceptOncePerEvent => return);
                }
                Err(error) => {
                    let counters = &self.control.counters().accept_errors;
                    match self.acceptor.failed(key, &error, self.now, counters) {
                        AfterFailure::Next => {}
                        AfterFailure::Drained | AfterFailure::Pause => return,
                    }
                }
            }
        }
        self.ready.push(key);
    }

    /// Gives a new peer its place in the table, or turns it away.
    pub(super) fn admit(&mut self, stream: P::Stream, peer: &P::Peer) {
        if self.is_full() {
            self.tell(
                None,
                Step::TurnedAway {
                    peer: format_args!("{peer}"),
                },
            );
            if let Some(left_out) = self.rejections.may_say(self.now) {
                let open = self.table.connections();
                log::warn!(
                    "turned {peer} away: {open} connections are open, which is the limit{left_out}"
                );
            }
            return;
        }
        match self.table.add_peer(&mut self.poller, stream) {
            Ok(key) => {
                self.tell(
                    Some(key),
                    Step::Accepted {
                        peer: format_args!("{peer}"),
                    },
                );
                let counters = self.control.counters();
                let open = self.table.connections() as u64;
                counters.open.set(open);
                counters.peak.set(counters.peak.get().max(open));
                self.timeouts.restart(key, Timeout::Idle, self.tick);
            }
            Err(error) => {
                self.tell(
                    None,
                    Step::Accepted {
                        peer: format_args!("{peer}"),
                    },
                );
                let reason = Reason::Unregistered(error.kind());
                self.tell(None, Step::Closed { reason, echoed: 0 });
                if let Some(left_out) = self.refusals.may_say(self.now) {
                    log::warn!("closed {peer}: the selector would not take it: {error}{left_out}");
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        planted!(TurnAwayTooEarly => return self.table.connections() + 1 >= self.limits.max_connections);
        self.table.connections() >= self.limits.max_connections
    }

    /// Ends a pause: listeners whose backlog may hold connections get their turn.
    pub(super) fn resume_accepting(&mut self) {
        for key in self.acceptor.resume() {
            self.ready.push(key);
        }
    }
}

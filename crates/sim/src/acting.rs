//! The actions of the peers, in small steps.

use std::io::ErrorKind;

use crate::kernel::Kernel;
use crate::peer::{Ended, Peer};
use crate::script::{Action, Selector};
use crate::wire::AcceptState;

/// The next step of a peer.
enum Move {
    /// Connects, or repeats the attempt later if the backlog is full.
    Connect,
    /// Sends bytes.
    Send,
    /// Sends an urgent byte.
    SendUrgent,
    /// Reads bytes of its echo.
    Read,
    /// Does nothing for this time, in milliseconds.
    Pause(u32),
    /// Goes on to the next action: the bytes that this action waits for have been received already.
    Skip,
    /// Ends its stream.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Closes its socket.
    Close,
    /// Stops answering, as a machine that loses its power.
    Vanish,
    /// Reads the end of the server's stream.
    SeeEnd,
    /// Learns that the server's side has reset the connection.
    SeeReset,
}

impl Kernel {
    /// The numbers of the peers that can act now.
    pub(crate) fn able_peers(&self) -> Vec<usize> {
        (0..self.peers.len())
            .filter(|n| self.next_move(*n).is_some())
            .collect()
    }

    /// Returns the next step of a peer; `None` if the peer has ended or has to wait.
    fn next_move(&self, n: usize) -> Option<Move> {
        let peer = &self.peers[n];
        if peer.ended.is_some() || peer.wakes > self.now {
            return None;
        }
        let action = peer.action();
        if peer.wire.accept_state == AcceptState::None {
            return Some(match action {
                Some(Action::Pause(ms)) => Move::Pause(*ms),
                _ => Move::Connect,
            });
        }
        if peer.wire.reset_by_server {
            return Some(Move::SeeReset);
        }
        let echo = peer.wire.unacknowledged() > 0;
        let server_ended = peer.wire.accept_state == AcceptState::Closed || peer.wire.shut_down;
        let read = if echo {
            Some(Move::Read)
        } else {
            server_ended.then_some(Move::SeeEnd)
        };
        match action {
            Some(Action::Send(_) | Action::SendUrgent) if !peer.wire.can_send(&self.world) => {
                // While a peer sends, it does not read its echo, so both sides wait when all queues are full. The last
                // phase of the run ends this: then the peer reads.
                read.filter(|_| self.liveness && echo)
            }
            Some(Action::Send(_)) => Some(Move::Send),
            Some(Action::SendUrgent) => Some(Move::SendUrgent),
            Some(Action::Read(_)) if peer.has_its_echo() => Some(Move::Skip),
            Some(Action::Read(_)) => read,
            Some(Action::Pause(ms)) => Some(Move::Pause(*ms)),
            Some(Action::HalfClose) => Some(Move::HalfClose),
            Some(Action::Reset) => Some(Move::Reset),
            Some(Action::Close) => Some(Move::Close),
            Some(Action::Vanish) => Some(Move::Vanish),
            None if read.is_some() => read,
            None => (peer.has_its_echo() && !peer.wire.fin).then_some(Move::HalfClose),
        }
    }

    /// Lets a peer do its next step, if there is one.
    pub(crate) fn act(&mut self, n: usize) {
        let Some(next) = self.next_move(n) else {
            return;
        };
        match next {
            // An attempt to connect may fail, which changes nothing.
            Move::Connect => self.progress = true,
            _ => self.mark_change(),
        }
        let id = n as u64;
        let selector = self.world.selector;
        let now = self.now;
        match next {
            Move::Connect => self.connect(n),
            Move::Send | Move::SendUrgent => self.send(n, matches!(next, Move::SendUrgent)),
            Move::Read => self.take_echo(n),
            Move::Pause(ms) => {
                let peer = &mut self.peers[n];
                peer.wakes = now + u64::from(ms);
                peer.next_action();
                self.record("pause", &[id], || format!("peer {n} pauses for {ms} ms"));
            }
            Move::Skip => self.peers[n].next_action(),
            Move::HalfClose => {
                let peer = &mut self.peers[n];
                if peer.wire.written < peer.wire.consumed {
                    self.seen.ends_with_output_pending += 1;
                }
                peer.wire.fin = true;
                peer.wire.new_edge(selector, true, false);
                peer.next_action();
                self.record("fin", &[id], || format!("peer {n} ends its stream"));
            }
            Move::Reset => self.break_off(n, ErrorKind::ConnectionReset, Ended::Reset),
            // close(2) with unread input sends a reset too (RFC 1122 4.2.2.13).
            Move::Close if self.peers[n].wire.unacknowledged() > 0 => {
                self.break_off(n, ErrorKind::ConnectionReset, Ended::Closed);
            }
            Move::Close => {
                let peer = &mut self.peers[n];
                peer.wire.fin = true;
                peer.wire.peer_closed = true;
                peer.ended = Some(Ended::Closed);
                peer.wire.new_edge(selector, true, false);
                self.record("close", &[id], || format!("peer {n} closes its socket"));
            }
            Move::Vanish => {
                let peer = &mut self.peers[n];
                peer.ended = Some(Ended::Vanished);
                peer.times_out_at = Some(now + KEEP_ALIVE);
                self.record("vanish", &[id], || format!("peer {n} vanishes"));
            }
            Move::SeeEnd => {
                let peer = &mut self.peers[n];
                peer.ended = Some(Ended::EndOfStream);
                peer.wire.fin = true;
                peer.wire.peer_closed = true;
                peer.wire.new_edge(selector, true, false);
                self.record("end", &[id], || {
                    format!("peer {n} reads the end of the stream, and closes")
                });
            }
            Move::SeeReset => {
                self.peers[n].ended = Some(Ended::ResetByServer);
                self.record("reset seen", &[id], || {
                    format!("peer {n} finds that the server has reset the connection")
                });
            }
        }
    }

    /// Puts a peer into the backlog of its listener, if there is room.
    fn connect(&mut self, n: usize) {
        let listener = n % self.listeners.len();
        let backlog = self.world.backlog;
        if self.listeners[listener].closed {
            self.peers[n].ended = Some(Ended::Refused);
            self.record("refused", &[n as u64], || format!("peer {n} is refused"));
        } else if self.listeners[listener].backlog.len() >= backlog {
            self.peers[n].wakes = self.now + CONNECT_AGAIN;
            self.record("full", &[n as u64], || {
                format!("peer {n} tries to connect: the backlog is full")
            });
        } else {
            self.mark_change();
            self.listeners[listener].backlog.push(n);
            // A re-arm selector is armed by calls only, not by arrivals.
            if self.world.selector == Selector::Edge {
                self.listeners[listener].armed = true;
            }
            self.peers[n].wire.accept_state = AcceptState::Waiting;
            self.record("connect", &[n as u64], || format!("peer {n} connects"));
        }
    }

    /// Lets a peer send some bytes of its action.
    fn send(&mut self, n: usize, urgent: bool) {
        if self.peers[n].wire.accept_state == AcceptState::Closed {
            // The server's kernel answers with a reset. The peer loses the echo that it has not read.
            self.peers[n].ended = Some(Ended::ResetByServer);
            self.record("late", &[n as u64], || {
                format!("peer {n} sends to a closed socket, and is reset")
            });
            return;
        }
        let room = self.peers[n].wire.inbound_room(&self.world);
        let left = self.peers[n].left_of_action();
        let sends = self.choices.share(room.min(left as usize)) as u64;
        let peer = &mut self.peers[n];
        if urgent {
            peer.wire.urgent = Some(peer.wire.sent);
            self.seen.urgent_bytes += 1;
        }
        peer.wire.sent += sends;
        peer.did(sends);
        peer.wire.new_edge(self.world.selector, true, false);
        self.record("send", &[n as u64, sends], || {
            let what = if urgent { "urgent byte" } else { "byte" };
            format!("peer {n} sends {}", plural(sends, what))
        });
    }

    /// Lets a peer read some bytes of its echo.
    pub(crate) fn take_echo(&mut self, n: usize) {
        let unacknowledged = self.peers[n].wire.unacknowledged();
        let reads = matches!(self.peers[n].action(), Some(Action::Read(_)));
        let most = if reads {
            unacknowledged.min(self.peers[n].left_of_action())
        } else {
            unacknowledged
        };
        let taken = self.choices.share(most as usize) as u64;
        let now = self.now;
        let peer = &mut self.peers[n];
        peer.wire.got += taken;
        peer.wire.acknowledged_at = now;
        if reads {
            peer.did(taken);
        }
        if peer.wire.fin && peer.wire.shut_down && peer.wire.got == peer.wire.written {
            // Both streams have ended. The last acknowledgement closes the connection, which is an event.
            peer.wire.new_edge(self.world.selector, true, true);
        }
        if peer.wire.wants_room && peer.wire.room(&self.world) >= self.world.writable_at {
            peer.wire.wants_room = false;
            peer.wire.new_edge(self.world.selector, false, true);
        }
        self.record("take", &[n as u64, taken], || {
            format!("peer {n} reads {} of its echo", plural(taken, "byte"))
        });
    }

    /// Ends a connection with the error that the server's calls will return.
    fn break_off(&mut self, n: usize, kind: ErrorKind, ended: Ended) {
        let peer = &mut self.peers[n];
        // After the peer's end of stream, a reset is reported as EPIPE, not as ECONNRESET (Linux, `tcp_reset`).
        peer.wire.broken = Some(match kind {
            ErrorKind::ConnectionReset if peer.wire.fin => ErrorKind::BrokenPipe,
            kind => kind,
        });
        peer.ended.get_or_insert(ended);
        peer.wire.new_edge(self.world.selector, true, true);
        self.record("reset", &[n as u64], || match kind {
            ErrorKind::TimedOut => format!("peer {n} answers no keep-alive"),
            _ => format!("peer {n} resets the connection"),
        });
    }

    /// The time at which the kernel itself gives up on a peer (`TCP_USER_TIMEOUT`).
    ///
    /// The timeout starts when the send queue becomes non-empty. Acknowledgements do not restart it: Linux may count in
    /// this way too.
    pub(crate) fn gives_up_at(&self, peer: &Peer) -> Option<u64> {
        let watches = self.world.tells_delivery && self.world.kernel_times_stalls;
        let after = peer.wire.user_timeout.filter(|_| watches)?;
        let holds = peer.wire.accept_state == AcceptState::Open
            && peer.wire.broken.is_none()
            && peer.wire.unacknowledged() > 0;
        holds.then_some(peer.wire.outstanding_since + after)
    }

    /// Ends the connections whose kernel timeout or keep-alive has expired.
    pub(crate) fn time_out_connections(&mut self) {
        for n in 0..self.peers.len() {
            let gives_up_at = self.gives_up_at(&self.peers[n]);
            if gives_up_at.is_some_and(|at| at <= self.now) {
                self.seen.kernel_time_outs += 1;
                let peer = &mut self.peers[n];
                peer.wire.broken = Some(ErrorKind::TimedOut);
                // The kernel sends nothing to the peer now. The peer learns of the reset when it acts next.
                peer.wire.reset_by_server = true;
                peer.wire.new_edge(self.world.selector, true, true);
                self.tell(|observer, kernel| observer.gave_up(kernel, n));
                self.record("give up", &[n as u64], || {
                    format!("the kernel gives up on peer {n}, which acknowledges nothing")
                });
            }
        }
        for n in 0..self.peers.len() {
            if self.peers[n].times_out_at.is_some_and(|at| at <= self.now) {
                self.peers[n].times_out_at = None;
                if self.peers[n].wire.accept_state != AcceptState::Closed {
                    self.break_off(n, ErrorKind::TimedOut, Ended::Vanished);
                }
            }
        }
    }
}

/// The time from the vanishing of a peer until keep-alive probes end its connection, in milliseconds.
const KEEP_ALIVE: u64 = 3_000;

/// The time after which a SYN is sent again because the backlog was full, in milliseconds.
const CONNECT_AGAIN: u64 = 50;

/// Formats a number of things, such as "1 byte" or "2 bytes".
fn plural(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        _ => format!("{n} {what}s"),
    }
}

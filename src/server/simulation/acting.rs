//! What the peers do, one small step at a time.

use std::io::ErrorKind;

use super::kernel::Kernel;
use super::peer::{Ended, Link, Peer};
use super::script::{Action, Selector};
use crate::server::step::plural;

/// What a peer can do next.
enum Step {
    Connect,
    Send,
    SendUrgent,
    Read,
    Pause(u32),
    /// Has what it would wait for already.
    Skip,
    HalfClose,
    Reset,
    Close,
    Vanish,
    /// Finds the server's end of the stream.
    SeeEnd,
    /// Finds that the server's side has reset the connection.
    SeeReset,
}

impl Kernel {
    /// Who can do something now, without waiting for anything.
    pub(super) fn able_peers(&self) -> Vec<usize> {
        (0..self.peers.len())
            .filter(|n| self.next_step(*n).is_some())
            .collect()
    }

    fn next_step(&self, n: usize) -> Option<Step> {
        let peer = &self.peers[n];
        if peer.ended.is_some() || peer.wakes > self.now {
            return None;
        }
        let action = peer.script.get(peer.at);
        if peer.link == Link::None {
            return Some(match action {
                Some(Action::Pause(ms)) => Step::Pause(*ms),
                _ => Step::Connect,
            });
        }
        if peer.reset_by_server {
            return Some(Step::SeeReset);
        }
        let echo = peer.untaken() > 0;
        let server_ended = peer.link == Link::Closed || peer.discards_from.is_some();
        let read = if echo {
            Some(Step::Read)
        } else {
            server_ended.then_some(Step::SeeEnd)
        };
        match action {
            Some(Action::Send(_) | Action::SendUrgent) if !peer.can_send(&self.world) => {
                // Who only sends until it is done, and whose echo fills everything, is stuck by its own choice.
                read.filter(|_| self.liveness && echo)
            }
            Some(Action::Send(_)) => Some(Step::Send),
            Some(Action::SendUrgent) => Some(Step::SendUrgent),
            Some(Action::Read(_)) if peer.got == peer.sent => Some(Step::Skip),
            Some(Action::Read(_)) => read,
            Some(Action::Pause(ms)) => Some(Step::Pause(*ms)),
            Some(Action::HalfClose) => Some(Step::HalfClose),
            Some(Action::Reset) => Some(Step::Reset),
            Some(Action::Close) => Some(Step::Close),
            Some(Action::Vanish) => Some(Step::Vanish),
            None if read.is_some() => read,
            None => (peer.got == peer.sent && !peer.fin).then_some(Step::HalfClose),
        }
    }

    /// Lets a peer do the next thing that it can do.
    pub(super) fn step(&mut self, n: usize) {
        let Some(step) = self.next_step(n) else {
            return;
        };
        match step {
            // To try in vain moves nothing.
            Step::Connect => self.progress = true,
            _ => self.changes(),
        }
        let id = n as u64;
        let selector = self.world.selector;
        let now = self.now;
        match step {
            Step::Connect => self.connect(n),
            Step::Send | Step::SendUrgent => self.send(n, matches!(step, Step::SendUrgent)),
            Step::Read => self.take_echo(n),
            Step::Pause(ms) => {
                let peer = &mut self.peers[n];
                peer.wakes = now + u64::from(ms);
                peer.next_action();
                self.note("pause", &[id], || format!("peer {n} pauses for {ms} ms"));
            }
            Step::Skip => self.peers[n].next_action(),
            Step::HalfClose => {
                let peer = &mut self.peers[n];
                if peer.written < peer.consumed {
                    self.seen.ends_with_output_pending += 1;
                }
                peer.fin = true;
                peer.news(selector, true, false);
                peer.next_action();
                self.note("fin", &[id], || format!("peer {n} ends its stream"));
            }
            Step::Reset => self.break_off(n, ErrorKind::ConnectionReset, Ended::Reset),
            // close(2) over unread input is a reset too.
            Step::Close if self.peers[n].untaken() > 0 => {
                self.break_off(n, ErrorKind::ConnectionReset, Ended::Closed);
            }
            Step::Close => {
                let peer = &mut self.peers[n];
                peer.fin = true;
                peer.deaf = true;
                peer.ended = Some(Ended::Closed);
                peer.news(selector, true, false);
                self.note("close", &[id], || format!("peer {n} closes its socket"));
            }
            Step::Vanish => {
                let peer = &mut self.peers[n];
                peer.ended = Some(Ended::Vanished);
                peer.reaped_at = Some(now + KEEP_ALIVE);
                self.note("vanish", &[id], || format!("peer {n} vanishes"));
            }
            Step::SeeEnd => {
                let peer = &mut self.peers[n];
                peer.ended = Some(Ended::EndOfStream);
                peer.fin = true;
                peer.deaf = true;
                peer.news(selector, true, false);
                self.note("end", &[id], || {
                    format!("peer {n} reads the end of the stream, and closes")
                });
            }
            Step::SeeReset => {
                self.peers[n].ended = Some(Ended::ResetByServer);
                self.note("lost", &[id], || {
                    format!("peer {n} finds that the server has reset the connection")
                });
            }
        }
    }

    fn connect(&mut self, n: usize) {
        let listener = n % self.listeners.len();
        let backlog = self.world.backlog;
        if self.listeners[listener].closed {
            self.peers[n].ended = Some(Ended::Refused);
            self.note("refused", &[n as u64], || format!("peer {n} is refused"));
        } else if self.listeners[listener].backlog.len() >= backlog {
            self.peers[n].wakes = self.now + CONNECT_AGAIN;
            self.note("full", &[n as u64], || {
                format!("peer {n} tries to connect: the backlog is full")
            });
        } else {
            self.changes();
            self.listeners[listener].backlog.push(n);
            // Where a call re-arms, only a call does.
            if self.world.selector == Selector::Edge {
                self.listeners[listener].armed = true;
            }
            self.peers[n].link = Link::Waiting;
            self.note("connect", &[n as u64], || format!("peer {n} connects"));
        }
    }

    fn send(&mut self, n: usize, urgent: bool) {
        if self.peers[n].link == Link::Closed {
            // Nobody is there any more: the answer is a reset, which takes the unread echo with it.
            self.peers[n].ended = Some(Ended::ResetByServer);
            self.note("late", &[n as u64], || {
                format!("peer {n} sends to a closed socket, and is reset")
            });
            return;
        }
        let room = self.peers[n].inbound_room(&self.world);
        let left = self.peers[n].left_of_action();
        let sends = self.choices.share(room.min(left as usize)) as u64;
        let peer = &mut self.peers[n];
        if urgent {
            peer.urgent = Some(peer.sent);
            self.seen.urgent_bytes += 1;
        }
        peer.sent += sends;
        peer.did(sends);
        peer.news(self.world.selector, true, false);
        self.note("send", &[n as u64, sends], || {
            let what = if urgent { "urgent byte" } else { "byte" };
            format!("peer {n} sends {}", plural(sends, what))
        });
    }

    pub(super) fn take_echo(&mut self, n: usize) {
        let untaken = self.peers[n].untaken();
        let reads = matches!(
            self.peers[n].script.get(self.peers[n].at),
            Some(Action::Read(_))
        );
        let most = if reads {
            untaken.min(self.peers[n].left_of_action())
        } else {
            untaken
        };
        let taken = self.choices.share(most as usize) as u64;
        let now = self.now;
        let peer = &mut self.peers[n];
        peer.got += taken;
        peer.acknowledged_at = now;
        if reads {
            peer.did(taken);
        }
        if peer.fin && peer.discards_from.is_some() && peer.got == peer.written {
            // The last acknowledgement closes a socket whose streams have both ended.
            peer.news(self.world.selector, true, true);
        }
        if peer.wants_room && peer.room(&self.world) >= self.world.writable_at {
            peer.wants_room = false;
            peer.news(self.world.selector, false, true);
        }
        self.note("take", &[n as u64, taken], || {
            format!("peer {n} reads {} of its echo", plural(taken, "byte"))
        });
    }

    fn break_off(&mut self, n: usize, kind: ErrorKind, ended: Ended) {
        let peer = &mut self.peers[n];
        // After the peer's end of stream a reset is EPIPE from the first (Linux, tcp_reset).
        peer.broken = Some(match kind {
            ErrorKind::ConnectionReset if peer.fin => ErrorKind::BrokenPipe,
            kind => kind,
        });
        peer.ended.get_or_insert(ended);
        peer.news(self.world.selector, true, true);
        self.note("reset", &[n as u64], || match kind {
            ErrorKind::TimedOut => format!("peer {n} answers no keep-alive"),
            _ => format!("peer {n} resets the connection"),
        });
    }

    /// When the kernel gives up on a peer of its own (`TCP_USER_TIMEOUT`). As Linux may, it counts from when it came to hold
    /// something, whatever was acknowledged since.
    pub(super) fn gives_up_at(&self, peer: &Peer) -> Option<u64> {
        let watches = self.world.tells_delivery && self.world.kernel_times_stalls;
        let after = peer.patience.filter(|_| watches)?;
        let holds = peer.link == Link::Open && peer.broken.is_none() && peer.untaken() > 0;
        holds.then_some(peer.outstanding_since + after)
    }

    /// The kernel gives up on peers that have not answered for long.
    pub(super) fn reap_the_vanished(&mut self) {
        for n in 0..self.peers.len() {
            let gives_up_at = self.gives_up_at(&self.peers[n]);
            if gives_up_at.is_some_and(|at| at <= self.now) {
                self.seen.kernel_time_outs += 1;
                let peer = &mut self.peers[n];
                peer.broken = Some(ErrorKind::TimedOut);
                // It is not told: it finds out when it next does something.
                peer.reset_by_server = true;
                peer.news(self.world.selector, true, true);
                let still = self.now - self.peers[n].acknowledged_at;
                if self
                    .world
                    .stall
                    .is_some_and(|stall| still + self.most_late < stall)
                {
                    self.violate(format!(
                        "peer {n} was cut off by the kernel {still} ms after it acknowledged bytes"
                    ));
                }
                self.note("give up", &[n as u64], || {
                    format!("the kernel gives up on peer {n}, which acknowledges nothing")
                });
            }
        }
        for n in 0..self.peers.len() {
            if self.peers[n].reaped_at.is_some_and(|at| at <= self.now) {
                self.peers[n].reaped_at = None;
                if self.peers[n].link != Link::Closed {
                    self.break_off(n, ErrorKind::TimedOut, Ended::Vanished);
                }
            }
        }
    }
}

/// The kernel's patience with a silent peer, in milliseconds.
const KEEP_ALIVE: u64 = 3_000;

/// When a SYN that found the backlog full is sent again.
const CONNECT_AGAIN: u64 = 50;

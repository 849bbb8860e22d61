//! The simulated kernel: connections as bounded counters, readiness by the rules of two kinds of selector, and a clock
//! that jumps to the next thing that happens.
//!
//! It is one machine with the peers on it. They get their turns inside the server's system calls, as on a real machine
//! with another core. The bytes of a stream are a function of peer and offset, so none are stored, and each byte that
//! the server writes is compared as it is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::{Calls, Causes, Seen};
use super::peer::{Link, Peer};
use super::script::{Faults, Script, World};
use super::tape::Choices;
use super::trace::{self, Trace};
use crate::poller::{Event, Signal};
use crate::server::control::Control;
use crate::server::stats::Closed;

/// The kernel, and all that there is outside of the server.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(super) world: World,
    pub(super) choices: Choices,
    pub(super) trace: Trace,
    pub(super) peers: Vec<Peer>,
    pub(super) listeners: Vec<Listener>,
    /// The server's way to be told to stop.
    pub(super) control: Arc<Control>,
    /// What the server had said of its closes before the one that is under way.
    pub(super) claimed: Closed,
    epoch: Instant,
    /// Milliseconds since the beginning.
    pub(super) now: u64,
    pub(super) signal: Option<Signal>,
    /// When the server was told to stop.
    pub(super) stopped_at: Option<u64>,
    /// When it began to drain.
    pub(super) drain_began_at: Option<u64>,
    /// The last phase: no faults any more, and everybody reads.
    pub(super) liveness: bool,
    /// The drain is over, and the server closes whoever is left.
    pub(super) abandoning: bool,
    /// What went wrong first.
    pub(super) violation: Option<String>,
    /// Whether anything has changed since the turn began.
    pub(super) progress: bool,
    /// When a byte, a connection or a peer last moved.
    changed_at: u64,
    /// Turns in a row in which nothing has.
    pub(super) idle_turns: u64,
    /// Keys whose registration ended since the turn began.
    /// After the last turn.
    pub(super) spills_free: usize,
    pub(super) keys_freed_in_turn: Vec<usize>,
    /// Keys that events were about since the turn began.
    pub(super) keys_reported_in_turn: Vec<usize>,
    /// When the server has to try to accept again, after it found no descriptor or no memory.
    pub(super) accept_due: Option<u64>,
    /// When it last found no descriptor.
    pub(super) short_at: Option<u64>,
    /// By how much a poll has been late at the most, for whatever reason.
    pub(super) most_late: u64,
    /// Until when a poll that does not wait is one of a server that busy-polls.
    busy_until: u64,
    /// When the server reports its statistics next.
    reports_at: u64,
    /// Turns that went by since the end of the drain was due, and since accepting again was.
    pub(super) drains_late: u32,
    pub(super) accepts_late: u32,
    /// Whose registration ended last: it is closed next.
    pub(super) forgotten: Option<usize>,
    pub(super) closed: Causes,
    pub(super) calls: Calls,
    pub(super) seen: Seen,
}

/// A listening socket.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) key: Option<usize>,
    /// Who waits to be accepted, in the order of arrival.
    pub(super) backlog: Vec<usize>,
    /// Edge: something has arrived since the last report. Re-arm: may be reported.
    pub(super) armed: bool,
    pub(super) closed: bool,
}

impl Kernel {
    pub(super) fn new(script: &Script, choices: Choices, control: Arc<Control>) -> Kernel {
        Kernel {
            world: script.world.clone(),
            choices,
            trace: Trace::default(),
            peers: script
                .peers
                .iter()
                .map(|actions| Peer::new(actions))
                .collect(),
            listeners: Vec::new(),
            control,
            claimed: Closed::default(),
            epoch: Instant::now(),
            now: 0,
            signal: None,
            stopped_at: None,
            drain_began_at: None,
            liveness: false,
            abandoning: false,
            violation: None,
            progress: false,
            changed_at: 0,
            idle_turns: 0,
            spills_free: 0,
            keys_freed_in_turn: Vec::new(),
            keys_reported_in_turn: Vec::new(),
            accept_due: None,
            short_at: None,
            most_late: 0,
            busy_until: 0,
            reports_at: 0,
            drains_late: 0,
            accepts_late: 0,
            calls: Calls::default(),
            forgotten: None,
            closed: Causes::default(),
            seen: Seen::default(),
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }

    /// Notes what happened, in numbers for the hash and in words for the trace.
    pub(super) fn note(&mut self, what: &str, numbers: &[u64], line: impl FnOnce() -> String) {
        self.trace.mix(what, numbers);
        if trace::is_recording() {
            trace::say(format_args!("{:>6} ms {}", self.now, line()));
        }
    }

    /// Something has moved.
    pub(super) fn changes(&mut self) {
        self.progress = true;
        self.changed_at = self.now;
    }

    /// The first thing that went wrong is what the run has found.
    pub(super) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Waits for events, and lets the world go on meanwhile.
    pub(super) fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        events.clear();
        if timeout.is_none() && self.spills_free > 0 {
            let free = self.spills_free;
            self.violate(format!(
                "the loop sleeps without a timer and keeps {free} free spills"
            ));
        }
        let deadline = timeout.map(|timeout| self.now + timeout.as_millis() as u64);
        self.burst();
        // It may as well come while the server is busy: see `meanwhile`.
        let stops_here = !self.choices.rarely(3);
        while self.violation.is_none() {
            if stops_here && self.is_due_to_stop() {
                self.stop();
                return;
            }
            let faults = self.has_faults();
            if faults && self.choices.rarely(24) {
                // Stopped by a debugger, or suspended with its machine: then the poll was interrupted, and sees nothing.
                self.lose_time();
                return;
            }
            if faults && self.choices.rarely(16) {
                // A signal handler, a waker: nothing to see.
                self.note("early", &[], || "the poll returns early".to_owned());
                self.progress = true;
                return;
            }
            self.forget_old_news();
            if self.has_ready() {
                self.meanwhile(|_, peer| peer.link != Link::Closed);
                self.deliver(events);
            }
            if faults && self.choices.rarely(8) {
                self.deliver_nonsense(events);
            }
            if !events.is_empty() {
                self.busy_until = self.now + self.world.busy_poll.unwrap_or(0);
                return;
            }
            if deadline == Some(self.now) {
                self.pass_a_short_time();
                return;
            }
            let able = self.able_peers();
            if self.choices.are_exhaustive()
                && let Some(gone) = able.iter().find(|n| self.peers[**n].link == Link::Closed)
            {
                // Nobody sees when.
                self.step(*gone);
                continue;
            }
            // A peer that dawdles may be closed by a timer, which is no harmless fault.
            let dawdles = self.world.faults != Faults::Harmless && self.choices.rarely(8);
            let time_may_pass = able.is_empty() || dawdles;
            if !time_may_pass {
                let chosen = self.choices.one_of(able.len());
                self.step(able[chosen]);
            } else if let Some(next) = self.next_time(deadline) {
                self.seen.time_jumps += 1;
                // To wait until the server's own deadline is not yet progress: something has to come of it.
                self.progress |= deadline != Some(next);
                self.now = next;
                let is_late = deadline == Some(next) && faults && self.choices.rarely(4);
                if is_late {
                    // The machine is busy: timers come late.
                    let late = 1 + self.choices.one_of(20) as u64;
                    self.now += late;
                    self.most_late = self.most_late.max(late);
                }
                self.note_a_report();
                self.reap_the_vanished();
                if is_late {
                    return;
                }
                let waits = able.is_empty() && self.now - self.changed_at > PATIENCE;
                if waits && self.all_is_quiet() {
                    return;
                }
            } else if !able.is_empty() {
                self.step(able[0]);
            } else if self.all_is_quiet() {
                return;
            }
        }
    }

    /// The process is stopped for a while. The world goes on without it.
    fn lose_time(&mut self) {
        let lost = [30, 150, 1200][self.choices.one_of(3)];
        let until = self.now + lost;
        loop {
            // So long that each peer comes to where it waits for the server.
            loop {
                let able = self.able_peers();
                if able.is_empty() {
                    break;
                }
                let chosen = self.choices.one_of(able.len());
                self.step(able[chosen]);
            }
            match self.next_time(None).filter(|time| *time <= until) {
                Some(next) => self.now = next,
                None => break,
            }
            self.reap_the_vanished();
        }
        self.now = until;
        self.most_late = self.most_late.max(lost);
        self.seen.lost_times += 1;
        self.progress = true;
        self.note_a_report();
        self.reap_the_vanished();
        self.note("lost", &[lost], || {
            format!("the server was stopped for {lost} ms; its poll is interrupted")
        });
    }

    /// A poll that does not wait takes time too. It counts where the server does nothing else, as it polls busily.
    fn pass_a_short_time(&mut self) {
        if self.world.busy_poll.is_some() && self.now < self.busy_until {
            self.now += 1;
            self.seen.busy_polls += 1;
            self.progress = true;
            let able = self.able_peers();
            if !able.is_empty() {
                let chosen = self.choices.one_of(able.len());
                self.step(able[chosen]);
            }
            self.note_a_report();
            self.reap_the_vanished();
        }
    }

    /// To report the statistics is a reason to wake up.
    fn note_a_report(&mut self) {
        if let Some(every) = self.world.stats_every
            && self.reports_at <= self.now
        {
            self.reports_at = self.now + every;
            self.seen.reports += 1;
            self.progress = true;
        }
    }

    /// Nothing is ready, nobody can do anything, and no time is waited for, unless it is to try in vain again. Says
    /// whether that ends the poll.
    fn all_is_quiet(&mut self) -> bool {
        self.changes();
        if !self.liveness {
            self.liveness = true;
            self.note("liveness", &[], || {
                "all is quiet: no faults from here on, and everybody reads".to_owned()
            });
        } else if let Some(stuck) = self.peers.iter().position(|peer| peer.ended.is_none()) {
            let peer = &self.peers[stuck];
            self.violate(format!(
                "a stall: nothing will ever happen again, and peer {stuck} waits: it sent {}, the server read {} and \
                 wrote {}, it got {}",
                peer.sent, peer.consumed, peer.written, peer.got
            ));
        } else if let Some(lost) = self.peers.iter().position(Peer::is_forgotten) {
            self.violate(format!(
                "peer {lost} has ended or reset its stream, and the server never noticed"
            ));
        } else if self.stopped_at.is_none() {
            self.stop();
            return true;
        } else {
            self.violate("a stall: the drain has no deadline".to_owned());
        }
        false
    }

    fn is_due_to_stop(&self) -> bool {
        self.stopped_at.is_none() && self.world.stop.is_some_and(|turn| turn <= self.seen.turns)
    }

    /// SIGTERM, or a handle: either ends the poll.
    fn stop(&mut self) {
        if self.choices.rarely(2) {
            self.stop_by_handle();
            return;
        }
        self.stopped_at = Some(self.now);
        self.changes();
        self.mark_what_is_complete();
        self.note("term", &[], || "SIGTERM".to_owned());
        self.signal = Some(Signal::Stop);
    }

    fn stop_by_handle(&mut self) {
        self.stopped_at = Some(self.now);
        self.changes();
        self.mark_what_is_complete();
        self.note("handle", &[], || "a handle asks it to stop".to_owned());
        self.control.stop();
    }

    /// Connections that are made by now are owed an answer.
    fn mark_what_is_complete(&mut self) {
        for peer in &mut self.peers {
            if peer.link == Link::Waiting {
                peer.was_complete_at_stop = true;
                self.seen.complete_at_stop += 1;
            }
        }
    }

    /// The server has gone: whoever is left reads what there is, and finds its end.
    pub(super) fn settle(&mut self) {
        self.liveness = true;
        loop {
            // Nobody has to hurry any more.
            self.now += PATIENCE;
            let [first, ..] = self.able_peers()[..] else {
                return;
            };
            self.step(first);
        }
    }

    /// When something happens without anybody's doing.
    fn next_time(&self, deadline: Option<u64>) -> Option<u64> {
        let peers = self.peers.iter().filter_map(|peer| match peer.ended {
            None => Some(peer.wakes),
            Some(_) => peer.reaped_at,
        });
        let gives_up = self.peers.iter().filter_map(|peer| self.gives_up_at(peer));
        let times = peers.chain(gives_up).chain(deadline);
        times.filter(|time| *time > self.now).min()
    }

    fn has_faults(&self) -> bool {
        self.world.faults != Faults::None && !self.liveness
    }

    /// Whether a fault happens now that happens once in `n` times.
    pub(super) fn fault(&mut self, n: u32) -> bool {
        self.has_faults() && self.choices.rarely(n)
    }

    /// What has piled up while the server was busy.
    fn burst(&mut self) {
        for _ in 0..self.choices.burst() {
            let able = self.able_peers();
            if able.is_empty() {
                break;
            }
            let chosen = self.choices.one_of(able.len());
            self.step(able[chosen]);
        }
    }

    /// What other cores do while the server is in a system call about these peers.
    pub(super) fn meanwhile(&mut self, concerns: impl Fn(usize, &Peer) -> bool) {
        if self.is_due_to_stop() && self.choices.rarely(2) {
            // Its wake-up may be lost: mio's `poll(2)` selector can lose one.
            self.seen.lost_wake_ups += 1;
            self.stop_by_handle();
        }
        let mut first = 0;
        loop {
            let mut able = self.able_peers();
            if self.choices.are_exhaustive() {
                // What a peer does beside a call about another one could as well be done later: the same outcome. So
                // could what two of them do in one call, unless they race for a place in the backlog.
                able.retain(|n| {
                    let peer = &self.peers[*n];
                    concerns(*n, peer) && (*n >= first || peer.link == Link::None)
                });
            }
            let Some(chosen) = self.choices.perhaps(able.len()) else {
                return;
            };
            first = able[chosen];
            self.step(first);
        }
    }

    /// Streams that are accepted and not closed.
    pub(super) fn open_streams(&self) -> usize {
        let open = |peer: &&Peer| peer.link == Link::Open;
        self.peers.iter().filter(open).count()
    }
}

/// Longer than every pause and every timeout, in milliseconds: who has not moved for so long waits.
const PATIENCE: u64 = 6_000;

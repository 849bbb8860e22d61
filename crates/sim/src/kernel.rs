//! The simulated kernel: connections as bounded counters, readiness by the rules of two kinds of selector, and a
//! clock that jumps to the next thing that happens.
//!
//! It is one machine with the peers on it. They act inside the server's system calls, as on a real machine with
//! another core. The bytes of a stream are a function of peer and offset ([`byte_at`](crate::wire::byte_at)), so none
//! are stored.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use net::poller::{Event, Signal};

use crate::observer::{Checked, Observer, Stop};
use crate::peer::{Ended, Peer};
use crate::script::{Faults, Script, World};
use crate::tape::Choices;
use crate::trace::{self, Trace};
use crate::wire::{Link, Wire};

/// The kernel, and all that there is outside of the server.
///
/// All times are milliseconds since the beginning of the run.
#[derive(Debug)]
pub struct Kernel {
    /// The limits, and which faults happen.
    pub(crate) world: World,
    /// Answers every question that has more than one answer.
    pub(crate) choices: Choices,
    /// The hash of all that has happened.
    pub(crate) trace: Trace,
    /// The peers, by number.
    pub(crate) peers: Vec<Peer>,
    /// The listening sockets, by number.
    pub(crate) listeners: Vec<Listener>,
    /// Learns of the server's calls.
    observer: Rc<RefCell<dyn Observer<Kernel>>>,
    /// The beginning of the run, as an `Instant`.
    epoch: Instant,
    /// The time.
    pub(crate) now: u64,
    /// The signal that the server has not taken yet.
    pub(crate) signal: Option<Signal>,
    /// When the server was told to stop.
    stopped_at: Option<u64>,
    /// The last phase: no faults any more, and every peer reads.
    pub(crate) liveness: bool,
    /// The first violation.
    pub(crate) violation: Option<String>,
    /// Whether anything has changed since the turn began, or the server had another reason for this turn.
    pub(crate) progress: bool,
    /// When a byte, a connection or a peer last moved.
    changed_at: u64,
    /// Turns in a row in which nothing has.
    idle_turns: u64,
    /// When the first of these turns began.
    idle_since: u64,
    /// Keys whose registration ended since the turn began.
    pub(crate) keys_freed_in_turn: Vec<usize>,
    /// When an accept last found no descriptor.
    pub(crate) short_at: Option<u64>,
    /// By how much a poll has been late at the most, for whatever reason.
    most_late: u64,
    /// How often the run has met with what.
    pub(crate) seen: Seen,
}

/// A listening socket.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// The key of its registration.
    pub(crate) key: Option<usize>,
    /// The peers that wait to be accepted, in the order of arrival.
    pub(crate) backlog: Vec<usize>,
    /// Edge: a connection has arrived since the last report. Re-arm: it may be reported.
    pub(crate) armed: bool,
    /// Whether the server has closed it.
    pub(crate) closed: bool,
    /// What its connections inherit as their [`Wire::patience`].
    pub(crate) patience: Option<u64>,
}

/// How often a run has met with what: a simulator that meets with nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Turns of the server: polls, with what follows each.
    pub turns: u64,
    /// Events for nothing.
    pub spurious: u64,
    /// Writes that found no room.
    pub would_block_writes: u64,
    /// Keys that were freed and registered again within one turn.
    pub keys_reused_in_a_batch: u64,
    /// Peers that ended their stream while the server held bytes that it had read and not written.
    pub ends_with_output_pending: u64,
    /// Sockets that were ready, and that a poll did not report.
    pub left_for_later: u64,
    /// Jumps of the clock.
    pub time_jumps: u64,
    /// Urgent bytes.
    pub urgent_bytes: u64,
    /// Calls that failed with `EINTR`.
    pub interrupted: u64,
    /// Requests to stop whose wake-up was lost.
    pub lost_wake_ups: u64,
    /// Splices from a socket into a pipe.
    pub splices: u64,
    /// Splices that an urgent byte held up.
    pub splices_held_up: u64,
    /// Pipes that failed with bytes inside.
    pub failed_pipes: u64,
    /// Times that the server was stopped for a while, as by a debugger.
    pub lost_times: u64,
    /// Polls of a server that busy-polls.
    pub busy_polls: u64,
    /// Connections that waited in a backlog when the server was told to stop.
    pub complete_at_stop: u64,
    /// Connections that the kernel ended because the peer acknowledged nothing (`TCP_USER_TIMEOUT`).
    pub kernel_time_outs: u64,
    /// Send queues that grew.
    pub grown_queues: u64,
}

impl Kernel {
    /// Makes a kernel that runs this script, with these decisions, and that tells an observer of the server's calls.
    pub fn new(
        script: &Script,
        choices: Choices,
        observer: Rc<RefCell<dyn Observer<Kernel>>>,
    ) -> Kernel {
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
            observer,
            epoch: Instant::now(),
            now: 0,
            signal: None,
            stopped_at: None,
            liveness: false,
            violation: None,
            progress: true,
            changed_at: 0,
            idle_turns: 0,
            idle_since: 0,
            keys_freed_in_turn: Vec::new(),
            short_at: None,
            most_late: 0,
            seen: Seen::default(),
        }
    }

    /// The time, in milliseconds since the beginning of the run.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The limits, and which faults happen.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The peers, by number.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The connection of a peer.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn wire(&self, peer: usize) -> &Wire {
        &self.peers[peer].wire
    }

    /// The peers that wait in the backlog of a listener, in the order of arrival.
    ///
    /// # Panics
    /// If there is no such listener.
    pub fn backlog(&self, listener: usize) -> &[usize] {
        &self.listeners[listener].backlog
    }

    /// How many streams the server has accepted and not closed.
    pub fn open_streams(&self) -> usize {
        let open = |peer: &&Peer| peer.wire.link == Link::Open;
        self.peers.iter().filter(open).count()
    }

    /// When the server was told to stop.
    pub fn stopped_at(&self) -> Option<u64> {
        self.stopped_at
    }

    /// By how much a poll has been late at the most, in milliseconds: the machine was busy, or the server was
    /// stopped.
    pub fn most_late(&self) -> u64 {
        self.most_late
    }

    /// How often the run has met with what.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The decisions, as far as they went.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// A number that equal runs have in common.
    pub fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// For each peer how it ended, and how many bytes it got.
    pub fn endings(&self) -> Vec<(Option<Ended>, u64)> {
        let ending = |peer: &Peer| (peer.ended, peer.wire.got);
        self.peers.iter().map(ending).collect()
    }

    /// Says that the server had a reason of its own for this turn, such as a timer. Several turns without a reason,
    /// and in which nothing happens, are a violation.
    pub fn excuse_turn(&mut self) {
        self.progress = true;
    }

    /// Reports what an observer has found.
    pub fn check(&mut self, checked: Checked) {
        if let Err(what) = checked {
            self.violate(what);
        }
    }

    /// Whether anything has gone wrong.
    pub fn is_violated(&self) -> bool {
        self.violation.is_some()
    }

    /// Takes what went wrong first, and adds it to the trace.
    pub fn take_violation(&mut self) -> Option<String> {
        if let Some(violation) = &self.violation {
            trace::say(format_args!("{:>6} ms WRONG: {violation}", self.now));
        }
        self.violation.take()
    }

    /// Reports a violation. The first one is what the run has found.
    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Tells the observer of a call, and reports what it has found.
    pub(crate) fn tell(
        &mut self,
        call: impl FnOnce(&mut dyn Observer<Kernel>, &Kernel) -> Checked,
    ) {
        let observer = self.observer.clone();
        let checked = call(&mut *observer.borrow_mut(), self);
        self.check(checked);
    }

    /// The time as the server reads it.
    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }

    /// Adds what happened to the trace, in numbers for the hash and in words for the trace.
    pub(crate) fn record(&mut self, what: &str, numbers: &[u64], line: impl FnOnce() -> String) {
        self.trace.mix(what, numbers);
        if trace::is_recording() {
            trace::say(format_args!("{:>6} ms {}", self.now, line()));
        }
    }

    /// Something has moved.
    pub(crate) fn changes(&mut self) {
        self.progress = true;
        self.changed_at = self.now;
    }

    /// A poll of the server.
    pub(crate) fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        events.clear();
        self.begin_turn();
        self.tell(|observer, kernel| observer.polls(kernel, timeout));
        self.wait(events, timeout);
        self.tell(|observer, kernel| observer.polled(kernel, events));
    }

    /// A turn is a poll and what follows it. A second has no turns without progress, but for a few.
    fn begin_turn(&mut self) {
        if self.progress || self.now - self.idle_since >= SPIN {
            self.idle_turns = 0;
            self.idle_since = self.now;
        } else {
            self.idle_turns += 1;
        }
        let allowed = IDLE_TURNS + 2 * self.registrations().count() as u64;
        if self.idle_turns > allowed {
            let turns = self.idle_turns;
            self.violate(format!(
                "a spin: {turns} turns in a row in which nothing happened"
            ));
        }
        if self.seen.turns > MOST_TURNS {
            self.violate(format!("it never ends: {MOST_TURNS} turns"));
        }
        self.seen.turns += 1;
        self.progress = false;
        self.keys_freed_in_turn.clear();
    }

    /// Lets the world go on until there are events, or the poll is over for another reason.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        let deadline = timeout.map(|timeout| self.now + timeout.as_millis() as u64);
        self.burst();
        // The request to stop may as well come while the server is busy: see `meanwhile`.
        let stops_here = !self.choices.rarely(3);
        while self.violation.is_none() {
            if stops_here && self.is_due_to_stop() {
                self.stop();
                return;
            }
            let faults = self.has_faults();
            if faults && self.choices.rarely(24) {
                // A debugger stops the process, or its machine is suspended. That interrupts the poll.
                self.lose_time();
                return;
            }
            if faults && self.choices.rarely(16) {
                // A signal handler has run, or a waker was used.
                self.record("early", &[], || "the poll returns early".to_owned());
                self.progress = true;
                return;
            }
            self.drop_stale_edges();
            if self.has_ready() {
                self.meanwhile(|_, wire| wire.link != Link::Closed);
                self.deliver(events);
            }
            if faults && self.choices.rarely(8) {
                self.deliver_nonsense(events);
            }
            if !events.is_empty() {
                return;
            }
            if deadline == Some(self.now) {
                self.pass_a_short_time();
                return;
            }
            let able = self.able_peers();
            if self.choices.are_exhaustive()
                && let Some(gone) = able
                    .iter()
                    .find(|n| self.peers[**n].wire.link == Link::Closed)
            {
                // The server does not see when.
                self.act(*gone);
                continue;
            }
            // A peer that dawdles may be closed by a timer, which is no harmless fault.
            let dawdles = self.world.faults != Faults::Harmless && self.choices.rarely(8);
            let time_may_pass = able.is_empty() || dawdles;
            if !time_may_pass {
                let chosen = self.choices.one_of(able.len());
                self.act(able[chosen]);
            } else if let Some(next) = self.next_time(deadline) {
                self.seen.time_jumps += 1;
                // To wait until the server's own deadline is no progress yet.
                self.progress |= deadline != Some(next);
                self.now = next;
                let is_late = deadline == Some(next) && faults && self.choices.rarely(4);
                if is_late {
                    // The machine is busy: timers come late.
                    let late = 1 + self.choices.one_of(20) as u64;
                    self.now += late;
                    self.most_late = self.most_late.max(late);
                }
                self.reap_the_vanished();
                if is_late {
                    return;
                }
                let waits = able.is_empty() && self.now - self.changed_at > PATIENCE;
                if waits && self.all_is_quiet() {
                    return;
                }
            } else if !able.is_empty() {
                self.act(able[0]);
            } else if self.all_is_quiet() {
                return;
            }
        }
    }

    /// The process is stopped for a while. The world goes on without it.
    fn lose_time(&mut self) {
        let lost = [30, 150, 1200][self.choices.one_of(3)];
        let until = self.now + lost;
        self.most_late = self.most_late.max(lost);
        loop {
            // Each peer comes to where it waits for the server.
            loop {
                let able = self.able_peers();
                if able.is_empty() {
                    break;
                }
                let chosen = self.choices.one_of(able.len());
                self.act(able[chosen]);
            }
            match self.next_time(None).filter(|time| *time <= until) {
                Some(next) => self.now = next,
                None => break,
            }
            self.reap_the_vanished();
        }
        self.now = until;
        self.seen.lost_times += 1;
        self.progress = true;
        self.reap_the_vanished();
        self.record("lost", &[lost], || {
            format!("the server was stopped for {lost} ms; its poll is interrupted")
        });
    }

    /// A poll that does not wait takes time too. It counts where the server does nothing else.
    fn pass_a_short_time(&mut self) {
        if !self.observer.borrow().is_busy_polling(self) {
            return;
        }
        self.now += 1;
        self.seen.busy_polls += 1;
        self.progress = true;
        let able = self.able_peers();
        if !able.is_empty() {
            let chosen = self.choices.one_of(able.len());
            self.act(able[chosen]);
        }
        self.reap_the_vanished();
    }

    /// Begins the next phase of the run. Nothing is ready, no peer can do anything, and only peers that try to
    /// connect wait for a time. Returns true if the poll ends.
    fn all_is_quiet(&mut self) -> bool {
        self.changes();
        if !self.liveness {
            self.liveness = true;
            self.record("liveness", &[], || {
                "all is quiet: no faults from here on, and every peer reads".to_owned()
            });
        } else if let Some(stuck) = self.peers.iter().position(|peer| peer.ended.is_none()) {
            let wire = &self.peers[stuck].wire;
            self.violate(format!(
                "a stall: nothing will ever happen again, and peer {stuck} waits: it sent {}, the server read {} and \
                 wrote {}, it got {}",
                wire.sent, wire.consumed, wire.written, wire.got
            ));
        } else if let Some(lost) = self.peers.iter().position(|peer| peer.wire.is_forgotten()) {
            self.violate(format!(
                "peer {lost} has ended or reset its stream, and the server never noticed"
            ));
        } else if self.stopped_at.is_none() {
            self.stop();
            return true;
        } else {
            self.violate("a stall: it was told to stop, and waits without a deadline".to_owned());
        }
        false
    }

    /// Whether this is the turn in which the server is told to stop.
    fn is_due_to_stop(&self) -> bool {
        self.stopped_at.is_none() && self.world.stop.is_some_and(|turn| turn <= self.seen.turns)
    }

    /// Tells the server to stop, by a signal or through a handle. Either ends the poll.
    fn stop(&mut self) {
        let how = match self.choices.rarely(2) {
            true => Stop::Handle,
            false => Stop::Signal,
        };
        self.stop_by(how);
    }

    fn stop_by(&mut self, how: Stop) {
        self.stopped_at = Some(self.now);
        self.changes();
        let waits = |peer: &&Peer| peer.wire.link == Link::Waiting;
        self.seen.complete_at_stop += self.peers.iter().filter(waits).count() as u64;
        match how {
            Stop::Signal => {
                self.record("term", &[], || "SIGTERM".to_owned());
                self.signal = Some(Signal::Stop);
            }
            Stop::Handle => self.record("handle", &[], || "a handle asks it to stop".to_owned()),
        }
        self.tell(|observer, kernel| {
            observer.stops(kernel, how);
            Ok(())
        });
    }

    /// The server has gone: each peer that is left reads what there is, and finds the end of its connection.
    pub fn settle(&mut self) {
        self.liveness = true;
        loop {
            // Longer than every pause.
            self.now += PATIENCE;
            let [first, ..] = self.able_peers()[..] else {
                return;
            };
            self.act(first);
        }
    }

    /// When something happens next that only takes time.
    fn next_time(&self, deadline: Option<u64>) -> Option<u64> {
        let peers = self.peers.iter().filter_map(|peer| match peer.ended {
            None => Some(peer.wakes),
            Some(_) => peer.reaped_at,
        });
        let gives_up = self.peers.iter().filter_map(|peer| self.gives_up_at(peer));
        let times = peers.chain(gives_up).chain(deadline);
        times.filter(|time| *time > self.now).min()
    }

    /// Whether faults happen now.
    fn has_faults(&self) -> bool {
        self.world.faults != Faults::None && !self.liveness
    }

    /// Whether a fault happens now that happens once in `n` times.
    pub(crate) fn fault(&mut self, n: u32) -> bool {
        self.has_faults() && self.choices.rarely(n)
    }

    /// Lets the peers get ahead, as while the server was busy.
    fn burst(&mut self) {
        for _ in 0..self.choices.burst() {
            let able = self.able_peers();
            if able.is_empty() {
                break;
            }
            let chosen = self.choices.one_of(able.len());
            self.act(able[chosen]);
        }
    }

    /// What other cores do while the server is in a system call about these peers.
    pub(crate) fn meanwhile(&mut self, concerns: impl Fn(usize, &Wire) -> bool) {
        if self.is_due_to_stop() && self.choices.rarely(2) {
            // Its wake-up may be lost: mio's `poll(2)` selector can lose one.
            self.seen.lost_wake_ups += 1;
            self.stop_by(Stop::Handle);
        }
        let mut first = 0;
        loop {
            let mut able = self.able_peers();
            if self.choices.are_exhaustive() {
                // What a peer does beside a call about another one could as well be done later: the same outcome. So
                // could what two of them do in one call, unless they race for a place in the backlog.
                able.retain(|n| {
                    let wire = &self.peers[*n].wire;
                    concerns(*n, wire) && (*n >= first || wire.link == Link::None)
                });
            }
            let Some(chosen) = self.choices.perhaps(able.len()) else {
                return;
            };
            first = able[chosen];
            self.act(first);
        }
    }
}

/// Longer than every pause and every timeout, in milliseconds: what has not moved for so long waits.
const PATIENCE: u64 = 6_000;

/// Turns without any change are counted for so long, in milliseconds: a timer that expires once a second is no spin.
const SPIN: u64 = 1_000;

/// Turns that may go by without any change, and two more for each registration: one for each event that is not
/// awaited.
const IDLE_TURNS: u64 = 4;

/// More turns than any script needs.
const MOST_TURNS: u64 = 20_000;

//! The simulated kernel: connections as bounded counters, two kinds of selector, and a virtual clock.
//!
//! The server and the peers run on one simulated machine. The peers act during the system calls of the server, as they
//! do on another core of a real machine. The clock jumps to the time of the next occurrence. No bytes are stored: each
//! byte of a stream is a function of peer and offset ([`byte_at`](crate::wire::byte_at)).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use net::poller::{Event, Signal};

use crate::observer::{Checked, Observer, Stop};
use crate::peer::{Ended, Peer};
use crate::script::{Faults, Script, World};
use crate::tape::Choices;
use crate::trace::{self, Trace};
use crate::wire::{AcceptState, Wire};

/// The kernel and the peers: everything outside of the server.
///
/// All times are milliseconds since the start of the run.
#[derive(Debug)]
pub struct Kernel {
    /// The limits of the kernel, and the faults that may happen.
    pub(crate) world: World,
    /// The decisions of the run, such as the order of events or the length of a write.
    pub(crate) choices: Choices,
    /// The hash of everything that has happened.
    pub(crate) trace: Trace,
    /// The peers, by number.
    pub(crate) peers: Vec<Peer>,
    /// The listening sockets, by number.
    pub(crate) listeners: Vec<Listener>,
    /// The observer, to which the kernel reports the calls of the server.
    observer: Rc<RefCell<dyn Observer<Kernel>>>,
    /// The start of the run, as an `Instant`.
    epoch: Instant,
    /// The current time.
    pub(crate) now: u64,
    /// The signal that the server has not taken yet.
    pub(crate) signal: Option<Signal>,
    /// The time at which the server was told to stop.
    stopped_at: Option<u64>,
    /// Whether the run is in its last phase, in which no fault happens and every peer reads.
    pub(crate) liveness: bool,
    /// The first violation.
    pub(crate) violation: Option<String>,
    /// Whether this turn has made progress: something has changed, or the server had another reason to run.
    pub(crate) progress: bool,
    /// The last time at which a byte moved, or the state of a connection or a peer changed.
    changed_at: u64,
    /// The number of turns in a row without progress.
    idle_turns: u64,
    /// The time since which these turns are counted.
    idle_since: u64,
    /// Keys whose registration ended since the turn began.
    pub(crate) keys_freed_in_turn: Vec<usize>,
    /// The last time at which an accept failed with `EMFILE`.
    pub(crate) no_descriptor_at: Option<u64>,
    /// The longest delay of a poll after its deadline, for any reason.
    most_late: u64,
    /// How often each situation has occurred in the run.
    pub(crate) seen: Seen,
}

/// A listening socket.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// The key of its registration.
    pub(crate) key: Option<usize>,
    /// The peers that wait for the server to accept them, in the order of arrival.
    pub(crate) backlog: Vec<usize>,
    /// With an edge-triggered selector: a connection has arrived since the last report. With a re-armed selector: it
    /// may report the listener.
    pub(crate) armed: bool,
    /// Whether the server has closed it.
    pub(crate) closed: bool,
    /// The [`Wire::user_timeout`] that its connections inherit.
    pub(crate) user_timeout: Option<u64>,
}

/// How often each situation has occurred in a run.
///
/// The tests require that every situation occurs: a check proves nothing about a situation that never occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Turns of the server: each is a poll and the work after it.
    pub turns: u64,
    /// Spurious events: random reports of readiness, which are usually not true.
    pub spurious: u64,
    /// Writes that returned `WouldBlock`.
    pub would_block_writes: u64,
    /// Keys that were freed and registered again within one turn.
    pub keys_reused_in_a_batch: u64,
    /// Peers that ended their stream while the server still had bytes of their echo to write.
    pub ends_with_output_pending: u64,
    /// Sockets that were ready and that a poll left out of its events.
    pub left_for_later: u64,
    /// Jumps of the clock.
    pub time_jumps: u64,
    /// Urgent bytes that peers sent.
    pub urgent_bytes: u64,
    /// Reads and writes that failed with `EINTR`.
    pub interrupted: u64,
    /// Requests to stop that did not wake the poll up.
    pub lost_wake_ups: u64,
    /// Splices from a socket into a pipe.
    pub splices: u64,
    /// Splices that returned `WouldBlock` because an urgent byte was next.
    pub splices_held_up: u64,
    /// Pipes that failed while they held bytes.
    pub failed_pipes: u64,
    /// Suspensions of the server's process, as by a debugger.
    pub suspensions: u64,
    /// Polls that found nothing while the server was busy polling.
    pub busy_polls: u64,
    /// Connections that were in a backlog when the server was told to stop.
    pub waiting_at_stop: u64,
    /// Connections that the kernel ended because the peer acknowledged nothing (`TCP_USER_TIMEOUT`).
    pub kernel_time_outs: u64,
    /// Times that a full send queue grew.
    pub grown_queues: u64,
}

impl Kernel {
    /// Creates a kernel that runs a script with the given decisions, and reports the calls of the server to `observer`.
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
            no_descriptor_at: None,
            most_late: 0,
            seen: Seen::default(),
        }
    }

    /// The current time, in milliseconds since the start of the run.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The limits of the kernel, and the faults that may happen.
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

    /// The peers in the backlog of a listener, in the order of arrival.
    ///
    /// # Panics
    /// If there is no such listener.
    pub fn backlog(&self, listener: usize) -> &[usize] {
        &self.listeners[listener].backlog
    }

    /// The number of streams that the server has accepted and not closed.
    pub fn open_streams(&self) -> usize {
        let open = |peer: &&Peer| peer.wire.accept_state == AcceptState::Open;
        self.peers.iter().filter(open).count()
    }

    /// The time at which the server was told to stop; `None` before that.
    pub fn stopped_at(&self) -> Option<u64> {
        self.stopped_at
    }

    /// The longest delay of a poll after its deadline, in milliseconds: the machine was busy, or the server was
    /// suspended.
    pub fn most_late(&self) -> u64 {
        self.most_late
    }

    /// How often each situation has occurred in the run.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The decisions of the run up to now.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The hash of everything that has happened: equal runs have equal hashes.
    pub fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// The outcome of each peer: the way in which it ended, and the number of bytes that it received.
    pub fn endings(&self) -> Vec<(Option<Ended>, u64)> {
        let ending = |peer: &Peer| (peer.ended, peer.wire.got);
        self.peers.iter().map(ending).collect()
    }

    /// Counts this turn as progress: the server had a reason for it, such as a timer. Several turns in a row without
    /// progress are a violation.
    pub fn mark_progress(&mut self) {
        self.progress = true;
    }

    /// Reports the violation that an observer has found, if any.
    pub fn check(&mut self, checked: Checked) {
        if let Err(what) = checked {
            self.violate(what);
        }
    }

    /// Whether a violation has been reported.
    pub fn is_violated(&self) -> bool {
        self.violation.is_some()
    }

    /// Takes the first violation, and adds it to the trace.
    pub fn take_violation(&mut self) -> Option<String> {
        if let Some(violation) = &self.violation {
            trace::say(format_args!("{:>6} ms WRONG: {violation}", self.now));
        }
        self.violation.take()
    }

    /// Reports a violation. The run keeps only the first one.
    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Reports a call to the observer, and keeps the violation that the observer returns.
    pub(crate) fn tell(
        &mut self,
        call: impl FnOnce(&mut dyn Observer<Kernel>, &Kernel) -> Checked,
    ) {
        let observer = self.observer.clone();
        let checked = call(&mut *observer.borrow_mut(), self);
        self.check(checked);
    }

    /// The current time, as the server reads it from its clock.
    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }

    /// Adds one occurrence to the trace: `what` and `numbers` to the hash, `line` to the text.
    pub(crate) fn record(&mut self, what: &str, numbers: &[u64], line: impl FnOnce() -> String) {
        self.trace.mix(what, numbers);
        if trace::is_recording() {
            trace::say(format_args!("{:>6} ms {}", self.now, line()));
        }
    }

    /// Records that something has changed, which is progress.
    pub(crate) fn mark_change(&mut self) {
        self.progress = true;
        self.changed_at = self.now;
    }

    /// Runs a poll of the server, and reports it to the observer.
    pub(crate) fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        events.clear();
        self.begin_turn();
        self.tell(|observer, kernel| observer.polls(kernel, timeout));
        self.wait(events, timeout);
        self.tell(|observer, kernel| observer.polled(kernel, events));
    }

    /// Begins a turn: a poll and the work after it. Within [`SPIN`], only a few turns may pass without progress.
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
                "a spin: nothing happened in {turns} turns in a row"
            ));
        }
        if self.seen.turns > MOST_TURNS {
            self.violate(format!(
                "the run does not end: more than {MOST_TURNS} turns"
            ));
        }
        self.seen.turns += 1;
        self.progress = false;
        self.keys_freed_in_turn.clear();
    }

    /// Lets the peers act and the clock run until there are events, or until the poll ends for another reason.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        let deadline = timeout.map(|timeout| self.now + timeout.as_millis() as u64);
        self.burst();
        // If this is false, the request to stop comes during another system call: see `meanwhile`.
        let stops_here = !self.choices.rarely(3);
        while self.violation.is_none() {
            if stops_here && self.is_due_to_stop() {
                self.stop();
                return;
            }
            let faults = self.has_faults();
            if faults && self.choices.rarely(24) {
                // A debugger stops the process, or the machine is suspended. Both interrupt the poll.
                self.suspend_server();
                return;
            }
            if faults && self.choices.rarely(16) {
                // A signal handler has run, or a waker has woken the poll up.
                self.record("early", &[], || "the poll returns early".to_owned());
                self.progress = true;
                return;
            }
            self.drop_stale_edges();
            if self.has_ready() {
                self.meanwhile(|_, wire| wire.accept_state != AcceptState::Closed);
                self.deliver(events);
            }
            if faults && self.choices.rarely(8) {
                self.deliver_spurious(events);
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
                    .find(|n| self.peers[**n].wire.accept_state == AcceptState::Closed)
            {
                // The server does not see when this peer acts, so one order is enough.
                self.act(*gone);
                continue;
            }
            // Time may pass although a peer can act. A timer may then close its connection, so this fault is not
            // harmless.
            let peers_are_slow = self.world.faults != Faults::Harmless && self.choices.rarely(8);
            let time_may_pass = able.is_empty() || peers_are_slow;
            if !time_may_pass {
                let chosen = self.choices.one_of(able.len());
                self.act(able[chosen]);
            } else if let Some(next) = self.next_time(deadline) {
                self.seen.time_jumps += 1;
                // Waiting until the poll's own deadline is not progress.
                self.progress |= deadline != Some(next);
                self.now = next;
                let is_late = deadline == Some(next) && faults && self.choices.rarely(4);
                if is_late {
                    // The machine is busy, so the poll returns after its deadline.
                    let late = 1 + self.choices.one_of(20) as u64;
                    self.now += late;
                    self.most_late = self.most_late.max(late);
                }
                self.time_out_connections();
                if is_late {
                    return;
                }
                let is_quiet = able.is_empty() && self.now - self.changed_at > LONGEST_WAIT;
                if is_quiet && self.next_phase() {
                    return;
                }
            } else if !able.is_empty() {
                self.act(able[0]);
            } else if self.next_phase() {
                return;
            }
        }
    }

    /// Suspends the server's process for a while. The peers go on.
    fn suspend_server(&mut self) {
        let lost = [30, 150, 1200][self.choices.one_of(3)];
        let until = self.now + lost;
        self.most_late = self.most_late.max(lost);
        loop {
            // Each peer acts until it has to wait for the server.
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
            self.time_out_connections();
        }
        self.now = until;
        self.seen.suspensions += 1;
        self.progress = true;
        self.time_out_connections();
        self.record("suspended", &[lost], || {
            format!("the server was suspended for {lost} ms; its poll is interrupted")
        });
    }

    /// Lets 1 ms pass in a poll that does not wait. This happens only while the server is busy polling: otherwise the
    /// time of such a poll does not matter.
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
        self.time_out_connections();
    }

    /// Begins the next phase of the run, or reports a violation if there is none.
    ///
    /// At this point nothing is ready and no peer can act. Some peers may still repeat their attempt to connect.
    /// Returns true if the poll ends.
    fn next_phase(&mut self) -> bool {
        self.mark_change();
        if !self.liveness {
            self.liveness = true;
            self.record("liveness", &[], || {
                "nothing can happen now: from here on no fault happens and every peer reads"
                    .to_owned()
            });
        } else if let Some(stuck) = self.peers.iter().position(|peer| peer.ended.is_none()) {
            let wire = &self.peers[stuck].wire;
            self.violate(format!(
                "a hang: nothing can happen any more, and peer {stuck} waits: it sent {}, the server read {} and \
                 wrote {}, the peer received {}",
                wire.sent, wire.consumed, wire.written, wire.got
            ));
        } else if let Some(open) = self.peers.iter().position(|peer| peer.wire.is_forgotten()) {
            self.violate(format!(
                "peer {open} has ended its stream or reset the connection, and the server has not closed the connection"
            ));
        } else if self.stopped_at.is_none() {
            self.stop();
            return true;
        } else {
            self.violate(
                "a hang: the server waits without a deadline after the request to stop".to_owned(),
            );
        }
        false
    }

    /// Whether the script's turn for the request to stop has come.
    fn is_due_to_stop(&self) -> bool {
        self.stopped_at.is_none() && self.world.stop.is_some_and(|turn| turn <= self.seen.turns)
    }

    /// Tells the server to stop, by a signal or through a handle. Both end the poll.
    fn stop(&mut self) {
        let how = match self.choices.rarely(2) {
            true => Stop::Handle,
            false => Stop::Signal,
        };
        self.stop_by(how);
    }

    /// Tells the server to stop in this way.
    fn stop_by(&mut self, how: Stop) {
        self.stopped_at = Some(self.now);
        self.mark_change();
        let waits = |peer: &&Peer| peer.wire.accept_state == AcceptState::Waiting;
        self.seen.waiting_at_stop += self.peers.iter().filter(waits).count() as u64;
        match how {
            Stop::Signal => {
                self.record("term", &[], || "SIGTERM".to_owned());
                self.signal = Some(Signal::Stop);
            }
            Stop::Handle => self.record("handle", &[], || {
                "a handle asks the server to stop".to_owned()
            }),
        }
        self.tell(|observer, kernel| {
            observer.stops(kernel, how);
            Ok(())
        });
    }

    /// Runs the remaining peers after the end of the server: each reads the bytes that are there, and then the end of
    /// its connection.
    pub fn run_remaining_peers(&mut self) {
        self.liveness = true;
        loop {
            // Longer than every pause.
            self.now += LONGEST_WAIT;
            let [first, ..] = self.able_peers()[..] else {
                return;
            };
            self.act(first);
        }
    }

    /// Returns the next time at which something happens by the clock alone: a pause ends, the kernel gives up on a
    /// peer, or the poll's deadline passes.
    fn next_time(&self, deadline: Option<u64>) -> Option<u64> {
        let peers = self.peers.iter().filter_map(|peer| match peer.ended {
            None => Some(peer.wakes),
            Some(_) => peer.times_out_at,
        });
        let gives_up = self.peers.iter().filter_map(|peer| self.gives_up_at(peer));
        let times = peers.chain(gives_up).chain(deadline);
        times.filter(|time| *time > self.now).min()
    }

    /// Whether faults may happen now.
    fn has_faults(&self) -> bool {
        self.world.faults != Faults::None && !self.liveness
    }

    /// Decides whether a fault happens now, with a probability of 1 in `n`.
    pub(crate) fn fault(&mut self, n: u32) -> bool {
        self.has_faults() && self.choices.rarely(n)
    }

    /// Lets the peers do several steps in a row, as if the server had been busy with other work.
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

    /// Lets peers act during a system call of the server, as on another core. `concerns` selects the peers that the
    /// call is about.
    pub(crate) fn meanwhile(&mut self, concerns: impl Fn(usize, &Wire) -> bool) {
        if self.is_due_to_stop() && self.choices.rarely(2) {
            // The wake-up may be lost: mio's `poll(2)` selector can lose one.
            self.seen.lost_wake_ups += 1;
            self.stop_by(Stop::Handle);
        }
        let mut first = 0;
        loop {
            let mut able = self.able_peers();
            if self.choices.are_exhaustive() {
                // An action of a peer that the call is not about has the same outcome during the call and after it. Two
                // actions during one call have the same outcome in either order, unless both peers race for a place in
                // the backlog. So the test tries only one order of these.
                able.retain(|n| {
                    let wire = &self.peers[*n].wire;
                    concerns(*n, wire) && (*n >= first || wire.accept_state == AcceptState::None)
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

/// Longer than every pause and every timeout, in milliseconds. If nothing has changed for so long, only the server
/// can cause the next change.
const LONGEST_WAIT: u64 = 6_000;

/// The time within which turns without progress are counted, in milliseconds. A timer that expires once a second is
/// not a spin.
const SPIN: u64 = 1_000;

/// The number of turns in a row that may pass without progress. Two more are allowed for each registration: one for
/// each direction, because the server may get an event that it does not wait for.
const IDLE_TURNS: u64 = 4;

/// The limit of turns in a run, which is more than any script needs.
const MOST_TURNS: u64 = 20_000;

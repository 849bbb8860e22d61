//! The simulated kernel: connections as bounded counters, readiness by the rules of two kinds of selector, and a clock
//! that jumps to the next thing that happens.
//!
//! It is one machine with the peers on it. They get their turns inside the server's system calls, as on a real machine
//! with another core. The bytes of a stream are a function of peer and offset, so none are stored, and each byte that
//! the server writes is compared as it is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::script::{Action, Events, Faults, Script, Selector, World};
use super::tape::Choices;
use super::trace::{self, Trace};
use crate::poller::{Event, Readiness, Signal};
use crate::server::control::Control;

/// The kernel, and all that there is outside of the server.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(super) world: World,
    pub(super) choices: Choices,
    pub(super) trace: Trace,
    pub(super) peers: Vec<Peer>,
    pub(super) listeners: Vec<Listener>,
    /// The server's way to be told to stop.
    control: Arc<Control>,
    epoch: Instant,
    /// Milliseconds since the beginning.
    pub(super) now: u64,
    pub(super) signal: Option<Signal>,
    /// When the server was told to stop.
    pub(super) stopped_at: Option<u64>,
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
    pub(super) keys_freed_in_turn: Vec<usize>,
    /// Whose registration ended last: it is closed next.
    pub(super) forgotten: Option<usize>,
    pub(super) closed: Causes,
    pub(super) accepted: u64,
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

/// A peer, its script, and the one connection that it makes.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) script: Vec<Action>,
    /// The action that it is at, and how much of it is done.
    pub(super) at: usize,
    pub(super) done: u64,
    pub(super) wakes: u64,
    pub(super) ended: Option<Ended>,
    pub(super) link: Link,
    /// Offsets, all from the beginning: what the peer has sent, the server has read, the server has written, the
    /// peer has read.
    pub(super) sent: u64,
    pub(super) consumed: u64,
    pub(super) written: u64,
    pub(super) got: u64,
    /// Where the server's own end of stream found its reading: what it reads later is thrown away.
    pub(super) discards_from: Option<u64>,
    /// How much there was to echo when the server began to drain.
    pub(super) owed: Option<u64>,
    /// Where the last urgent byte lies.
    pub(super) urgent: Option<u64>,
    pub(super) fin: bool,
    pub(super) broken: Option<std::io::ErrorKind>,
    /// Its socket is closed: a write is taken, and answered by a reset.
    pub(super) deaf: bool,
    pub(super) reset_by_server: bool,
    pub(super) reset_on_close: bool,
    pub(super) registration: Option<Registration>,
    /// Whether it ever was registered.
    pub(super) key_was_known: bool,
    pub(super) was_refused_by_the_selector: bool,
    pub(super) reaped_at: Option<u64>,
    /// A write has found no room, so that room is news.
    pub(super) wants_room: bool,
    pub(super) last: Last,
    pub(super) waits: Waits,
    pub(super) since: u64,
    pub(super) reads_in_turn: u32,
    pub(super) events_in_turn: u32,
}

/// Where a connection is, on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not made yet.
    None,
    /// In a backlog.
    Waiting,
    /// Accepted.
    Open,
    /// Closed by the server.
    Closed,
}

/// How it ended for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has read the end of the server's stream.
    EndOfStream,
    /// The server's side reset the connection.
    ResetByServer,
    /// Nobody listened.
    Refused,
    /// It has reset the connection.
    Reset,
    /// It has closed its socket.
    Closed,
    /// It has vanished.
    Vanished,
}

/// A stream's registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) key: usize,
    /// Edge: there is news. Re-arm: may be reported.
    pub(super) read: bool,
    pub(super) write: bool,
}

/// What the last call on a stream returned, as far as it decides how the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Fine,
    EndOfStream,
    Broken(std::io::ErrorKind),
}

/// What a stream's last call waits for: the timeouts follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Read,
    Write,
}

/// How many connections were closed for which cause, as the kernel saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    pub(super) end_of_stream: u64,
    pub(super) reset: u64,
    pub(super) failed: u64,
    pub(super) idle: u64,
    pub(super) stalled: u64,
    pub(super) drained: u64,
    pub(super) abandoned: u64,
    pub(super) unregistered: u64,
    pub(super) turned_away: u64,
}

/// What a run has met with: a simulator that meets nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) turns: u64,
    pub(crate) spurious: u64,
    pub(crate) would_block_writes: u64,
    pub(crate) shortages: u64,
    pub(crate) keys_reused_in_a_batch: u64,
    pub(crate) ends_with_output_pending: u64,
    pub(crate) left_for_later: u64,
    pub(crate) time_jumps: u64,
}

impl Kernel {
    pub(super) fn new(script: &Script, choices: Choices, control: Arc<Control>) -> Kernel {
        Kernel {
            world: script.world.clone(),
            choices,
            trace: Trace::default(),
            peers: script.peers.iter().map(Peer::new).collect(),
            listeners: Vec::new(),
            control,
            epoch: Instant::now(),
            now: 0,
            signal: None,
            stopped_at: None,
            liveness: false,
            abandoning: false,
            violation: None,
            progress: false,
            changed_at: 0,
            idle_turns: 0,
            keys_freed_in_turn: Vec::new(),
            forgotten: None,
            closed: Causes::default(),
            accepted: 0,
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
            if faults && self.choices.rarely(16) {
                // A signal handler, a waker: nothing to see.
                self.note("early", &[], || "the poll returns early".to_owned());
                self.progress = true;
                return;
            }
            self.forget_old_news();
            if self.ready().next().is_some() {
                self.meanwhile(|_, peer| peer.link != Link::Closed);
                self.deliver(events);
            }
            if faults && self.choices.rarely(8) {
                self.deliver_nonsense(events);
            }
            if !events.is_empty() || deadline == Some(self.now) {
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
            let time_may_pass = able.is_empty() || self.choices.rarely(8);
            if !time_may_pass {
                let chosen = self.choices.order(able.len());
                self.step(able[chosen]);
            } else if let Some(next) = self.next_time(deadline) {
                self.seen.time_jumps += 1;
                self.progress = true;
                self.now = next;
                self.reap_the_vanished();
                if self.now - self.changed_at > PATIENCE && self.all_is_quiet() {
                    return;
                }
            } else if !able.is_empty() {
                self.step(able[0]);
            } else if self.all_is_quiet() {
                return;
            }
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
        } else if self.stopped_at.is_none() {
            self.stop();
            return true;
        } else {
            self.violate("a stall: the drain has no deadline".to_owned());
        }
        false
    }

    fn is_due_to_stop(&self) -> bool {
        self.stopped_at.is_none() && self.world.stop.is_some_and(|at| at <= self.now)
    }

    /// SIGTERM, or a handle: either ends the poll.
    fn stop(&mut self) {
        if self.choices.rarely(2) {
            self.stop_by_handle();
            return;
        }
        self.stopped_at = Some(self.now);
        self.changes();
        self.note("term", &[], || "SIGTERM".to_owned());
        self.signal = Some(Signal::Stop);
    }

    fn stop_by_handle(&mut self) {
        self.stopped_at = Some(self.now);
        self.changes();
        self.note("handle", &[], || "a handle asks it to stop".to_owned());
        self.control.stop();
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
        let stop = self.world.stop.filter(|_| self.stopped_at.is_none());
        let peers = self.peers.iter().filter_map(|peer| match peer.ended {
            None => Some(peer.wakes),
            Some(_) => peer.reaped_at,
        });
        let times = peers.chain(stop).chain(deadline);
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
            let chosen = self.choices.order(able.len());
            self.step(able[chosen]);
        }
    }

    /// What other cores do while the server is in a system call about these peers.
    pub(super) fn meanwhile(&mut self, concerns: impl Fn(usize, &Peer) -> bool) {
        if self.is_due_to_stop() && self.choices.rarely(2) {
            // Its wake-up may be lost: mio's `poll(2)` selector can lose one.
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

    /// Puts what is ready into events, in any order, and not necessarily all of it.
    fn deliver(&mut self, events: &mut Vec<Event>) {
        let mut ready: Vec<_> = self.ready().collect();
        let taken = self.choices.share(ready.len());
        self.seen.left_for_later += (ready.len() - taken) as u64;
        // Who comes first matters where a key may be freed and taken again in between.
        let keys_may_move = matches!(ready[0], Ready::Listener(..));
        if !self.choices.are_exhaustive() {
            self.choices.shuffle(&mut ready);
        }
        for ready in &ready[..taken] {
            self.deliver_one(*ready, events);
        }
        // Split events of one socket need not be neighbours.
        if keys_may_move || !self.choices.are_exhaustive() {
            self.choices.shuffle(events);
        }
    }

    fn deliver_one(&mut self, ready: Ready, events: &mut Vec<Event>) {
        let first = events.len();
        match ready {
            Ready::Listener(n, key) => {
                self.listeners[n].armed = false;
                events.push(Event {
                    key,
                    readiness: Readiness {
                        readable: true,
                        ..Readiness::default()
                    },
                });
            }
            Ready::Peer(n) => {
                let peer = &mut self.peers[n];
                let Some(key) = peer.registration.map(|registration| registration.key) else {
                    return;
                };
                let (read_on, broken) = (peer.reads_on(), peer.broken.is_some());
                let edge = self.world.selector == Selector::Edge;
                let (mut readable, mut writable) = peer.ready(&self.world);
                if edge && self.world.events == Events::Merged {
                    // epoll looks anew at all of it once there is any news.
                    (readable, writable) = (peer.is_readable(), peer.is_writable(&self.world));
                }
                if let Some(registration) = &mut peer.registration {
                    registration.read &= !readable;
                    registration.write &= !writable;
                }
                let mut report = |readable, writable| {
                    events.push(Event {
                        key,
                        readiness: Readiness {
                            readable: readable || broken,
                            writable: writable || broken,
                            read_on: (readable && read_on) || broken,
                        },
                    });
                };
                if self.world.events == Events::Split && readable && writable {
                    report(true, false);
                    report(false, true);
                } else {
                    report(readable, writable);
                }
            }
        }
        for event in &events[first..] {
            let Event { key, readiness } = *event;
            let bits = u64::from(readiness.readable)
                | u64::from(readiness.writable) << 1
                | u64::from(readiness.read_on) << 2;
            self.note("event", &[key as u64, bits], || describe(event));
            if let Some(peer) = self.peer_of(key) {
                self.peers[peer].events_in_turn += 1;
            }
        }
    }

    /// Spurious events: selectors may report what is not so.
    fn deliver_nonsense(&mut self, events: &mut Vec<Event>) {
        let keys: Vec<_> = self.registrations().map(|(key, _)| key).collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.choices.order(keys.len())];
        let bits = self.choices.order(8);
        let event = Event {
            key,
            readiness: Readiness {
                readable: bits & 1 > 0,
                writable: bits & 2 > 0,
                read_on: bits & 4 > 0,
            },
        };
        self.note("nonsense", &[key as u64, bits as u64], || {
            format!("{}, for nothing", describe(&event))
        });
        self.seen.spurious += 1;
        self.progress = true;
        if let Some(peer) = self.peer_of(key) {
            self.peers[peer].events_in_turn += 1;
        }
        let place = self.choices.order(events.len() + 1);
        events.insert(place, event);
    }

    /// An edge is gone when what it was about has been dealt with by the next poll.
    fn forget_old_news(&mut self) {
        if self.world.selector == Selector::Rearm {
            return;
        }
        for n in 0..self.peers.len() {
            let peer = &mut self.peers[n];
            let (readable, writable) = (peer.is_readable(), peer.is_writable(&self.world));
            if let Some(registration) = &mut peer.registration {
                registration.read &= readable;
                registration.write &= writable;
            }
        }
    }

    fn ready(&self) -> impl Iterator<Item = Ready> {
        let listeners = self.listeners.iter().enumerate();
        let listeners = listeners.filter_map(|(n, listener)| {
            let ready = listener.armed && !listener.backlog.is_empty();
            listener
                .key
                .filter(|_| ready)
                .map(|key| Ready::Listener(n, key))
        });
        let peers = self.peers.iter().enumerate().filter_map(|(n, peer)| {
            let (readable, writable) = peer.ready(&self.world);
            (readable || writable).then_some(Ready::Peer(n))
        });
        listeners.chain(peers)
    }

    /// Every key with what is registered under it: a listener, or a peer's stream.
    pub(super) fn registrations(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.key);
        let peers = self.peers.iter().enumerate();
        let peers = peers.filter_map(|(n, peer)| Some((peer.registration?.key, Some(n))));
        listeners.map(|key| (key, None)).chain(peers)
    }

    fn peer_of(&self, key: usize) -> Option<usize> {
        let mut registrations = self.registrations();
        registrations.find_map(|(k, peer)| peer.filter(|_| k == key))
    }

    /// Streams that are accepted and not closed.
    pub(super) fn open_streams(&self) -> usize {
        let open = |peer: &&Peer| peer.link == Link::Open;
        self.peers.iter().filter(open).count()
    }
}

/// Something that may be reported.
#[derive(Clone, Copy)]
enum Ready {
    Listener(usize, usize),
    Peer(usize),
}

/// Longer than every pause and every timeout but the drain's, in milliseconds: who has not moved for so long waits.
const PATIENCE: u64 = 4_000;

fn describe(event: &Event) -> String {
    let readiness = event.readiness;
    let words = [
        (readiness.readable, "readable"),
        (readiness.writable, "writable"),
        (readiness.read_on, "read on"),
    ];
    let words: Vec<_> = words
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, w)| *w)
        .collect();
    format!("the selector reports #{}: {}", event.key, words.join(", "))
}

impl Peer {
    fn new(script: &Vec<Action>) -> Peer {
        Peer {
            script: script.clone(),
            at: 0,
            done: 0,
            wakes: 0,
            ended: None,
            link: Link::None,
            sent: 0,
            consumed: 0,
            written: 0,
            got: 0,
            discards_from: None,
            owed: None,
            urgent: None,
            fin: false,
            broken: None,
            deaf: false,
            reset_by_server: false,
            reset_on_close: false,
            registration: None,
            key_was_known: false,
            was_refused_by_the_selector: false,
            reaped_at: None,
            wants_room: false,
            last: Last::Fine,
            waits: Waits::Read,
            since: 0,
            reads_in_turn: 0,
            events_in_turn: 0,
        }
    }

    /// What the server's kernel holds of what the peer sent.
    pub(super) fn unread(&self) -> u64 {
        self.sent - self.consumed
    }

    /// What it holds of what the server wrote.
    pub(super) fn untaken(&self) -> u64 {
        self.written - self.got
    }

    pub(super) fn room(&self, world: &World) -> usize {
        world.send_queue.saturating_sub(self.untaken() as usize)
    }

    fn is_readable(&self) -> bool {
        self.unread() > 0 || self.fin || self.broken.is_some()
    }

    fn is_writable(&self, world: &World) -> bool {
        self.room(world) >= world.writable_at || self.broken.is_some()
    }

    /// The directions that may be reported now.
    fn ready(&self, world: &World) -> (bool, bool) {
        self.registration.map_or((false, false), |registration| {
            (
                registration.read && self.is_readable(),
                registration.write && self.is_writable(world),
            )
        })
    }

    /// Whether a short read proves nothing.
    fn reads_on(&self) -> bool {
        self.fin || self.broken.is_some() || self.urgent.is_some_and(|at| at >= self.consumed)
    }

    /// What this call found moves the clock of its timeout.
    pub(super) fn moved(&mut self, now: u64) {
        self.waits = Waits::Read;
        self.since = now;
    }

    /// A wait for the same goes on, another one starts.
    pub(super) fn waits_for(&mut self, what: Waits, now: u64) {
        if self.waits != what {
            self.waits = what;
            self.since = now;
        }
    }

    /// Something has arrived, or there is room again.
    pub(super) fn news(&mut self, selector: Selector, read: bool, write: bool) {
        if let (Selector::Edge, Some(registration)) = (selector, &mut self.registration) {
            registration.read |= read;
            registration.write |= write;
        }
    }
}

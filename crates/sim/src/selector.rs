//! The simulated selector: what is ready, by the rules of its kind, and how that becomes events.

use net::poller::{Event, Readiness};

use crate::kernel::Kernel;
use crate::script::{Events, Selector};

impl Kernel {
    /// Puts what is ready into events, in any order, and not necessarily all of it.
    pub(crate) fn deliver(&mut self, events: &mut Vec<Event>) {
        let mut ready: Vec<_> = self.ready_ones().collect();
        let taken = self.choices.share(ready.len());
        self.seen.left_for_later += (ready.len() - taken) as u64;
        // The order of events matters where a key may be freed and taken again in between.
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

    /// Makes the events of one socket.
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
                let wire = &mut self.peers[n].wire;
                let Some(key) = wire.registration.map(|registration| registration.key) else {
                    return;
                };
                let (read_on, broken) = (wire.reads_on(), wire.broken.is_some());
                let edge = self.world.selector == Selector::Edge;
                let (mut readable, mut writable) = wire.ready(&self.world);
                if edge && self.world.events == Events::Merged {
                    // epoll looks anew at all of it once there is any news.
                    (readable, writable) = (wire.is_readable(), wire.is_writable(&self.world));
                }
                if let Some(registration) = &mut wire.registration {
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
            self.record("event", &[key as u64, bits], || describe(event));
        }
    }

    /// Adds a spurious event: selectors may report what is not so.
    pub(crate) fn deliver_nonsense(&mut self, events: &mut Vec<Event>) {
        let keys: Vec<_> = self.registrations().map(|(key, _)| key).collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.choices.one_of(keys.len())];
        let bits = self.choices.one_of(8);
        let event = Event {
            key,
            readiness: Readiness {
                readable: bits & 1 > 0,
                writable: bits & 2 > 0,
                read_on: bits & 4 > 0,
            },
        };
        self.record("nonsense", &[key as u64, bits as u64], || {
            format!("{}, for nothing", describe(&event))
        });
        self.seen.spurious += 1;
        self.progress = true;
        let place = self.choices.one_of(events.len() + 1);
        events.insert(place, event);
    }

    /// Drops the edges whose cause has been dealt with since the last poll.
    pub(crate) fn drop_stale_edges(&mut self) {
        if self.world.selector == Selector::Rearm {
            return;
        }
        for n in 0..self.peers.len() {
            let wire = &mut self.peers[n].wire;
            let (readable, writable) = (wire.is_readable(), wire.is_writable(&self.world));
            if let Some(registration) = &mut wire.registration {
                registration.read &= readable;
                registration.write &= writable;
            }
        }
    }

    /// All that may be reported now.
    fn ready_ones(&self) -> impl Iterator<Item = Ready> {
        let listeners = self.listeners.iter().enumerate();
        let listeners = listeners.filter_map(|(n, listener)| {
            let ready = listener.armed && !listener.backlog.is_empty();
            listener
                .key
                .filter(|_| ready)
                .map(|key| Ready::Listener(n, key))
        });
        let peers = self.peers.iter().enumerate().filter_map(|(n, peer)| {
            let (readable, writable) = peer.wire.ready(&self.world);
            (readable || writable).then_some(Ready::Peer(n))
        });
        listeners.chain(peers)
    }

    /// Whether there is anything to report.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready_ones().next().is_some()
    }

    /// Every key with what is registered under it: a listener, or a peer's stream.
    pub fn registrations(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.key);
        let peers = self.peers.iter().enumerate();
        let peers = peers.filter_map(|(n, peer)| Some((peer.wire.registration?.key, Some(n))));
        listeners.map(|key| (key, None)).chain(peers)
    }
}

/// Something that may be reported.
#[derive(Clone, Copy)]
enum Ready {
    /// A listener, by its number, and its key.
    Listener(usize, usize),
    /// A peer's stream.
    Peer(usize),
}

/// An event in words.
fn describe(event: &Event) -> String {
    let readiness = event.readiness;
    let words = [
        (readiness.readable, "readable"),
        (readiness.writable, "writable"),
        (readiness.read_on, "read on"),
    ];
    if readiness == Readiness::default() {
        return format!("the selector reports #{}", event.key);
    }
    let words: Vec<_> = words
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, w)| *w)
        .collect();
    format!("the selector reports #{}: {}", event.key, words.join(", "))
}

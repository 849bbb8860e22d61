//! The simulated selector: it finds the ready sockets, by the rules of its kind, and makes events of them.

use net::poller::{Event, Readiness};

use crate::kernel::Kernel;
use crate::script::{Events, Selector};

impl Kernel {
    /// Adds the events of ready sockets, in any order. Some ready sockets may be left for a later poll.
    pub(crate) fn deliver(&mut self, events: &mut Vec<Event>) {
        let mut ready: Vec<_> = self.ready_ones().collect();
        let taken = self.choices.share(ready.len());
        self.seen.left_for_later += (ready.len() - taken) as u64;
        // The order of events matters if a key may be freed and used again between two of them. Only a listener's event
        // leads to that. `ready_ones` returns the listeners first.
        let keys_may_be_reused = matches!(ready[0], Ready::Listener(..));
        if !self.choices.are_exhaustive() {
            self.choices.shuffle(&mut ready);
        }
        for ready in &ready[..taken] {
            self.deliver_one(*ready, events);
        }
        // The two events of one socket need not be neighbours.
        if keys_may_be_reused || !self.choices.are_exhaustive() {
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
                    // A new edge makes epoll report every direction of the socket that is ready.
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

    /// Adds a spurious event with random readiness: a selector may report a socket that is not ready.
    pub(crate) fn deliver_spurious(&mut self, events: &mut Vec<Event>) {
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
        self.record("spurious", &[key as u64, bits as u64], || {
            format!("{} (spurious)", describe(&event))
        });
        self.seen.spurious += 1;
        self.progress = true;
        let place = self.choices.one_of(events.len() + 1);
        events.insert(place, event);
    }

    /// Removes edges that are no longer true, because a read or a write has used them up since the last poll.
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

    /// The sockets that the selector may report now.
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

    /// Whether a socket may be reported now.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready_ones().next().is_some()
    }

    /// Every registered key, with the number of the peer whose stream has it; `None` for a listener.
    pub fn registrations(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.key);
        let peers = self.peers.iter().enumerate();
        let peers = peers.filter_map(|(n, peer)| Some((peer.wire.registration?.key, Some(n))));
        listeners.map(|key| (key, None)).chain(peers)
    }
}

/// A socket that the selector may report.
#[derive(Clone, Copy)]
enum Ready {
    /// A listener: its number and its key.
    Listener(usize, usize),
    /// The stream of the peer with this number.
    Peer(usize),
}

/// Describes an event in words, for the trace.
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

//! The slab: listening sockets and accepted streams side by side, each under the key that is its token.
//!
//! The only way in and the only way out, so that the table, the open sockets and the registrations cannot disagree.
//! Decides nothing.

use std::io;

use slab::Slab;

use super::connection::Connection;
use net::poller::Poller;

/// Everything that the loop has registered with its poller.
pub(crate) struct Table<P: Poller> {
    /// The entries, by key.
    slab: Slab<Entry<P::Listener, P::Stream>>,
    /// How many of them are peers.
    connections: usize,
    /// The most connections at once since memory was last given back.
    most: usize,
    /// Room that is kept when memory is given back.
    expected: usize,
}

/// What lies under a key.
#[derive(Debug)]
pub(crate) enum Entry<L, S> {
    /// Boxed: there are a few of these, and many thousands of the others.
    Listener(Box<L>),
    Peer(Peer<S>),
}

/// An accepted stream and its state.
#[derive(Debug)]
pub(crate) struct Peer<S> {
    /// Its socket.
    pub(crate) stream: S,
    /// Its state.
    pub(crate) connection: Connection,
}

impl<P: Poller> Table<P> {
    /// With room for `expected` entries: address space, of which only what is used becomes memory. A table that grew
    /// with its crowd would leave its former places behind in the heap, some bytes a peer.
    pub(crate) fn new(expected: usize) -> Table<P> {
        Table {
            slab: Slab::with_capacity(expected),
            connections: 0,
            most: 0,
            expected,
        }
    }

    /// How many peers there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// What lies under a key. `None` is no mistake: an event may be older than the removal of what it is about.
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Entry<P::Listener, P::Stream>> {
        self.slab.get_mut(key)
    }

    /// The peer under a key, if it is one.
    pub(crate) fn peer_mut(&mut self, key: usize) -> Option<&mut Peer<P::Stream>> {
        match self.slab.get_mut(key) {
            Some(Entry::Peer(peer)) => Some(peer),
            _ => None,
        }
    }

    /// All keys are below this. Looks from the end of the table for the last key.
    pub(crate) fn end(&self) -> usize {
        self.slab.iter().next_back().map_or(0, |(key, _)| key + 1)
    }

    /// Registers a listener and keeps it.
    ///
    /// # Errors
    /// The registration's; then nothing has changed.
    pub(crate) fn add_listener(
        &mut self,
        poller: &mut P,
        mut listener: P::Listener,
    ) -> io::Result<usize> {
        let place = self.slab.vacant_entry();
        let key = place.key();
        poller.register_listener(&mut listener, key)?;
        place.insert(Entry::Listener(Box::new(listener)));
        Ok(key)
    }

    /// Registers a stream and keeps it.
    ///
    /// # Errors
    /// The registration's; then the stream is closed and nothing else has changed.
    pub(crate) fn add_peer(&mut self, poller: &mut P, mut stream: P::Stream) -> io::Result<usize> {
        let connection = Connection::new(poller.short_read_means_empty(&stream));
        let place = self.slab.vacant_entry();
        let key = place.key();
        poller.register_stream(&mut stream, key)?;
        place.insert(Entry::Peer(Peer { stream, connection }));
        self.connections += 1;
        self.most = self.most.max(self.connections);
        Ok(key)
    }

    /// Ends the registration and hands out what lay under the key; dropping it closes the socket.
    pub(crate) fn remove(
        &mut self,
        poller: &mut P,
        key: usize,
    ) -> Option<Entry<P::Listener, P::Stream>> {
        let mut entry = self.slab.try_remove(key)?;
        match &mut entry {
            Entry::Listener(listener) => poller.deregister_listener(listener),
            Entry::Peer(peer) => {
                poller.deregister_stream(&mut peer.stream);
                self.connections -= 1;
            }
        }
        Some(entry)
    }

    /// The most connections at once since memory was last given back.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Gives back the memory of a crowd that has left: slab alone keeps the room of its busiest moment.
    pub(crate) fn shrink(&mut self) {
        self.most = self.connections;
        self.slab.shrink_to_fit();
        self.slab.reserve(self.expected);
    }

    /// The keys of all listeners.
    pub(crate) fn listener_keys(&self) -> Vec<usize> {
        self.keys_of(|entry| matches!(entry, Entry::Listener(_)))
    }

    /// The keys of all peers.
    pub(crate) fn peer_keys(&self) -> Vec<usize> {
        self.keys_of(|entry| matches!(entry, Entry::Peer(_)))
    }

    /// Everything with its key.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Entry<P::Listener, P::Stream>)> {
        self.slab.iter()
    }

    fn keys_of(&self, wanted: impl Fn(&Entry<P::Listener, P::Stream>) -> bool) -> Vec<usize> {
        self.slab
            .iter()
            .filter(|(_, entry)| wanted(entry))
            .map(|(key, _)| key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::poller::MioPoller;

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_peer_costs_its_entry_and_no_more() {
        assert!(size_of::<Entry<net::socket::Listener, net::stream::Stream>>() <= 40);
    }

    #[test]
    fn an_empty_table_has_no_peers() {
        assert_eq!(Table::<MioPoller>::new(0).connections(), 0);
    }
}

//! The table of listeners and accepted streams, in one slab. The key of an entry is also its token in the selector.
//!
//! Only this module adds and removes sockets. It registers a socket when it adds it, and deregisters it when it removes
//! it. So the table, the open sockets and the registrations always agree. It decides nothing.

use std::io;

use slab::Slab;

use super::connection::Connection;
use net::poller::Poller;

/// Everything that the loop has registered with its poller.
pub(crate) struct Table<P: Poller> {
    /// The entries, by key.
    slab: Slab<Entry<P::Listener, P::Stream>>,
    /// The number of peers among the entries.
    connections: usize,
    /// The most connections that were open at the same time since the last [`Table::shrink`].
    most: usize,
    /// The number of entries for which [`Table::new`] and [`Table::shrink`] reserve space.
    expected: usize,
}

/// An entry of the table.
#[derive(Debug)]
pub(crate) enum Entry<L, S> {
    /// A listening socket. It is boxed, so that it does not make the entries of many thousands of peers larger.
    Listener(Box<L>),
    /// An accepted stream.
    Accepted(Accepted<S>),
}

/// An accepted stream and its state.
#[derive(Debug)]
pub(crate) struct Accepted<S> {
    /// The socket.
    pub(crate) stream: S,
    /// The state of the echo.
    pub(crate) connection: Connection,
}

impl<P: Poller> Table<P> {
    /// Creates an empty table and reserves space for `expected` entries. This is address space only: the system
    /// provides memory when an entry is used.
    ///
    /// A table without reserved space moves to larger blocks as it grows. Its former blocks stay in the heap: some
    /// bytes for each peer.
    pub(crate) fn new(expected: usize) -> Table<P> {
        Table {
            slab: Slab::with_capacity(expected),
            connections: 0,
            most: 0,
            expected,
        }
    }

    /// Returns the number of peers.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// Returns the entry of a key. `None` is not an error: the loop may remove a connection after the poll has returned
    /// an event for it.
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Entry<P::Listener, P::Stream>> {
        self.slab.get_mut(key)
    }

    /// Returns the peer of a key; `None` if the key is free or belongs to a listener.
    pub(crate) fn peer_mut(&mut self, key: usize) -> Option<&mut Accepted<P::Stream>> {
        match self.slab.get_mut(key) {
            Some(Entry::Accepted(peer)) => Some(peer),
            _ => None,
        }
    }

    /// Returns the largest key plus 1; 0 for an empty table. Searches from the end of the slab.
    pub(crate) fn end(&self) -> usize {
        self.slab.iter().next_back().map_or(0, |(key, _)| key + 1)
    }

    /// Registers a listener and adds it. Returns its key.
    ///
    /// # Errors
    /// Those of the registration. Then the listener is closed, and the table has not changed.
    pub(crate) fn add_listener(
        &mut self,
        poller: &mut P,
        mut listener: P::Listener,
    ) -> io::Result<usize> {
        let vacant = self.slab.vacant_entry();
        let key = vacant.key();
        poller.register_listener(&mut listener, key)?;
        vacant.insert(Entry::Listener(Box::new(listener)));
        Ok(key)
    }

    /// Registers a stream and adds it as a peer. Returns its key.
    ///
    /// # Errors
    /// Those of the registration. Then the stream is closed, and the table has not changed.
    pub(crate) fn add_peer(&mut self, poller: &mut P, mut stream: P::Stream) -> io::Result<usize> {
        let connection = Connection::new(poller.short_read_means_empty(&stream));
        let vacant = self.slab.vacant_entry();
        let key = vacant.key();
        poller.register_stream(&mut stream, key)?;
        vacant.insert(Entry::Accepted(Accepted { stream, connection }));
        self.connections += 1;
        self.most = self.most.max(self.connections);
        Ok(key)
    }

    /// Deregisters a socket, and removes and returns its entry. The caller closes the socket by dropping the entry.
    pub(crate) fn remove(
        &mut self,
        poller: &mut P,
        key: usize,
    ) -> Option<Entry<P::Listener, P::Stream>> {
        let mut entry = self.slab.try_remove(key)?;
        match &mut entry {
            Entry::Listener(listener) => poller.deregister_listener(listener),
            Entry::Accepted(peer) => {
                poller.deregister_stream(&mut peer.stream);
                self.connections -= 1;
            }
        }
        Some(entry)
    }

    /// Returns the most connections that were open at the same time since the last [`Table::shrink`].
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Frees the memory of entries that are not in use. Without this call, a slab keeps the memory of its largest size.
    pub(crate) fn shrink(&mut self) {
        self.most = self.connections;
        self.slab.shrink_to_fit();
        self.slab.reserve(self.expected);
    }

    /// Returns the keys of all listeners.
    pub(crate) fn listener_keys(&self) -> Vec<usize> {
        self.keys_of(|entry| matches!(entry, Entry::Listener(_)))
    }

    /// Returns the keys of all peers.
    pub(crate) fn peer_keys(&self) -> Vec<usize> {
        self.keys_of(|entry| matches!(entry, Entry::Accepted(_)))
    }

    /// Returns all entries with their keys.
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

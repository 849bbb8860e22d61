//! The server's system calls on the simulated kernel: their results, and their effects on the socket and the selector.
//!
//! The kernel reports a call to the observer if [`Observer`](crate::observer::Observer) has a method for it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use net::delivery::Delivery;

use crate::kernel::Kernel;
use crate::observer::How;
use crate::script::{Faults, Selector};
use crate::wire::{AcceptState, Registration, byte_at};

impl Kernel {
    /// Takes the first connection out of a backlog, and returns the number of its peer.
    pub(crate) fn accept(&mut self, listener: usize) -> io::Result<usize> {
        let result = self.take_from_backlog(listener);
        self.tell(|observer, kernel| observer.accepted(kernel, &result));
        result
    }

    fn take_from_backlog(&mut self, listener: usize) -> io::Result<usize> {
        self.meanwhile(|_, wire| wire.accept_state == AcceptState::None);
        if self.fault(8) {
            return Err(self.accept_fault());
        }
        // accept(2) reserves a descriptor first, so it fails with EMFILE even if the backlog is empty.
        if self.open_streams() >= self.world.descriptors {
            self.note_missing_descriptor();
            self.record("emfile", &[], || "accept → EMFILE".to_owned());
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let listener = &mut self.listeners[listener];
        if listener.backlog.is_empty() {
            if self.world.selector == Selector::Rearm {
                listener.armed = true;
            }
            self.record("backlog empty", &[], || "accept → would block".to_owned());
            return Err(ErrorKind::WouldBlock.into());
        }
        let peer = listener.backlog.remove(0);
        let user_timeout = listener.user_timeout;
        let wire = &mut self.peers[peer].wire;
        wire.accept_state = AcceptState::Open;
        wire.acknowledged_at = self.now;
        wire.user_timeout = user_timeout;
        self.mark_change();
        self.record("accept", &[peer as u64], || format!("accept → peer {peer}"));
        Ok(peer)
    }

    /// Returns one of the errors of accept(2) that the server cannot prevent.
    fn accept_fault(&mut self) -> io::Error {
        let kinds = [ECONNABORTED, EINTR, EPROTO, ENFILE, ENOMEM];
        let chosen = self.choices.one_of(kinds.len());
        self.progress = true;
        self.record("accept fault", &[chosen as u64], || {
            let names = ["ECONNABORTED", "EINTR", "EPROTO", "ENFILE", "ENOMEM"];
            format!("accept → {}", names[chosen])
        });
        io::Error::from_raw_os_error(kinds[chosen])
    }

    /// Records that an accept failed for lack of a descriptor. A second failure in the same millisecond is not
    /// progress.
    fn note_missing_descriptor(&mut self) {
        self.progress |= self.no_descriptor_at != Some(self.now);
        self.no_descriptor_at = Some(self.now);
    }

    /// Registers a stream with the selector under a key.
    pub(crate) fn register(&mut self, peer: usize, key: usize) -> io::Result<()> {
        let result = self.add_registration(peer, key);
        self.tell(|observer, kernel| observer.registered(kernel, peer, key, &result));
        result
    }

    fn add_registration(&mut self, peer: usize, key: usize) -> io::Result<()> {
        if self.world.faults == Faults::All && self.fault(32) {
            self.progress = true;
            self.record("register fault", &[], || "the selector is full".to_owned());
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if self.registrations().any(|(taken, _)| taken == key) {
            self.violate(format!("key {key} is registered twice"));
        }
        self.record("register", &[peer as u64, key as u64], || {
            format!("peer {peer} is registered as #{key}")
        });
        // A selector checks the readiness of a new registration at once.
        self.peers[peer].wire.registration = Some(Registration {
            key,
            read: true,
            write: true,
        });
        if self.keys_freed_in_turn.contains(&key) {
            self.seen.keys_reused_in_a_batch += 1;
        }
        Ok(())
    }

    /// Ends the registration of a stream.
    pub(crate) fn deregister(&mut self, peer: usize) {
        if let Some(registration) = self.peers[peer].wire.registration.take() {
            self.keys_freed_in_turn.push(registration.key);
        }
    }

    /// Reads from a stream, as `how` says.
    pub(crate) fn read(&mut self, peer: usize, buffer: &mut [u8], how: How) -> io::Result<usize> {
        let result = self.read_from(peer, buffer, how);
        self.tell(|observer, kernel| observer.read(kernel, peer, how, &result));
        result
    }

    fn read_from(&mut self, peer: usize, buffer: &mut [u8], how: How) -> io::Result<usize> {
        self.meanwhile(|n, _| n == peer);
        if self.fault(16) {
            self.seen.interrupted += 1;
            self.record("eintr", &[peer as u64], || "read → EINTR".to_owned());
            return Err(ErrorKind::Interrupted.into());
        }
        if buffer.is_empty() {
            self.violate(format!(
                "peer {peer}: a read of no bytes, whose result looks like the end of the stream"
            ));
        }
        // On some systems a reset discards the bytes that are still in the receive queue. Linux keeps them.
        let overtakes = self.peers[peer].wire.broken.is_some() && self.choices.one_of(2) == 1;
        let wire = &mut self.peers[peer].wire;
        if wire.unread() > 0 && !overtakes {
            if how == How::Splice && wire.urgent == Some(wire.consumed) {
                self.seen.splices_held_up += 1;
                return self.would_block(peer);
            }
            let mut n = wire.unread().min(buffer.len() as u64);
            if let Some(urgent) = wire.urgent.filter(|at| *at > wire.consumed) {
                n = n.min(urgent - wire.consumed);
            }
            if !self.world.short_read_means_empty() {
                n = self.choices.share(n as usize) as u64;
            }
            let wire = &mut self.peers[peer].wire;
            for (at, byte) in (wire.consumed..).zip(&mut buffer[..n as usize]) {
                *byte = byte_at(peer, at);
            }
            if how != How::Peek {
                wire.consumed += n;
                self.mark_change();
            }
            self.trace
                .mix("read", &[peer as u64, n, u64::from(how != How::Peek)]);
            return Ok(n as usize);
        }
        if let Some(kind) = wire.broken.filter(|_| !wire.error_is_reported) {
            wire.error_is_reported = true;
            self.mark_change();
            self.trace.mix("broken read", &[peer as u64]);
            return Err(kind.into());
        }
        if how == How::Splice && wire.fin {
            // This changes nothing: a later read returns the end of the stream again.
            return Ok(0);
        }
        if wire.fin || wire.broken.is_some() {
            self.mark_change();
            self.trace.mix("end", &[peer as u64]);
            return Ok(0);
        }
        self.would_block(peer)
    }

    /// Returns `WouldBlock`, which re-arms both directions of a [`Selector::Rearm`].
    fn would_block(&mut self, peer: usize) -> io::Result<usize> {
        if let (Selector::Rearm, Some(registration)) =
            (self.world.selector, &mut self.peers[peer].wire.registration)
        {
            registration.read = true;
            registration.write = true;
        }
        self.trace.mix("would block", &[peer as u64]);
        Err(ErrorKind::WouldBlock.into())
    }

    /// Writes bytes to a stream, as many as its send queue has room for.
    pub(crate) fn write(&mut self, peer: usize, bytes: &[u8]) -> io::Result<usize> {
        let result = self.write_to(peer, bytes);
        self.tell(|observer, kernel| observer.wrote(kernel, peer, bytes, &result));
        result
    }

    fn write_to(&mut self, peer: usize, bytes: &[u8]) -> io::Result<usize> {
        self.meanwhile(|n, _| n == peer);
        if self.fault(16) {
            self.seen.interrupted += 1;
            self.record("eintr of a write", &[peer as u64], || {
                "write → EINTR".to_owned()
            });
            return Err(ErrorKind::Interrupted.into());
        }
        if bytes.is_empty() {
            self.violate(format!("peer {peer}: a write of no bytes"));
            return Ok(0);
        }
        let now = self.now;
        let wire = &mut self.peers[peer].wire;
        if let Some(kind) = wire.broken {
            let told = std::mem::replace(&mut wire.error_is_reported, true);
            let kind = if told { ErrorKind::BrokenPipe } else { kind };
            self.mark_change();
            self.trace.mix("broken write", &[peer as u64]);
            return Err(kind.into());
        }
        if wire.room(&self.world) == 0 {
            self.grow(peer);
        }
        let wire = &mut self.peers[peer].wire;
        let room = wire.room(&self.world);
        if room == 0 {
            wire.wants_room = true;
            self.seen.would_block_writes += 1;
            return self.would_block(peer);
        }
        let n = self.choices.share(room.min(bytes.len()));
        let wire = &mut self.peers[peer].wire;
        if wire.unacknowledged() == 0 {
            wire.acknowledged_at = now;
            wire.outstanding_since = now;
        }
        wire.written += n as u64;
        self.trace.mix("write", &[peer as u64, n as u64]);
        if wire.peer_closed {
            // The peer's kernel discards bytes for a closed socket, and answers with a reset.
            wire.got = wire.written;
            wire.broken = Some(ErrorKind::ConnectionReset);
            wire.new_edge(self.world.selector, true, true);
            self.record("reset", &[peer as u64], || {
                format!("peer {peer} has closed: its kernel answers with a reset")
            });
        }
        self.mark_change();
        Ok(n)
    }

    /// Lets a full send queue grow: Linux gives the queue of a slow peer more memory, up to a bound.
    fn grow(&mut self, peer: usize) {
        let grows = self.world.send_queue_grows && self.peers[peer].wire.grown < MOST_GROWN;
        if grows && self.choices.rarely(2) {
            self.peers[peer].wire.grown += 1 + self.choices.one_of(64);
            self.seen.grown_queues += 1;
        }
    }

    /// How much of the server's stream the peer has acknowledged; `None` if the kernel does not report it.
    pub(crate) fn delivery(&self, peer: usize) -> Option<Delivery> {
        let wire = &self.peers[peer].wire;
        let is_outstanding = wire.unacknowledged() > 0;
        let end = wire.shut_down && !is_outstanding;
        self.world.tells_delivery.then_some(Delivery {
            acknowledged: wire.got + u64::from(end),
            is_outstanding,
            since_last_ack: Duration::from_millis(self.now - wire.acknowledged_at),
        })
    }

    /// Takes the error that no call has returned yet (`SO_ERROR`).
    pub(crate) fn take_error(&mut self, peer: usize) -> Option<io::Error> {
        let wire = &mut self.peers[peer].wire;
        let kind = wire.broken.filter(|_| !wire.error_is_reported)?;
        wire.error_is_reported = true;
        self.mark_change();
        self.tell(|observer, kernel| {
            observer.took_error(kernel, peer, kind);
            Ok(())
        });
        Some(kind.into())
    }

    /// The number of connections in a backlog; `None` if the kernel does not report it.
    pub(crate) fn backlog_length(&mut self, listener: usize) -> Option<usize> {
        let waiting = self.listeners[listener].backlog.len();
        self.world.tells_delivery.then_some(waiting)
    }

    /// Ends the server's stream to a peer (shutdown(2) with `SHUT_WR`).
    pub(crate) fn shut_down_writing(&mut self, peer: usize) -> io::Result<()> {
        let result = match self.peers[peer].wire.broken {
            Some(_) => Err(ErrorKind::NotConnected.into()),
            None => {
                self.peers[peer].wire.shut_down = true;
                self.mark_change();
                self.trace.mix("shut down", &[peer as u64]);
                Ok(())
            }
        };
        self.tell(|observer, kernel| observer.shut_down(kernel, peer, &result));
        result
    }

    /// The number of bytes that have arrived and that the server has not read (`FIONREAD`).
    pub(crate) fn received(&mut self, peer: usize) -> u32 {
        self.tell(|observer, kernel| {
            observer.asked_received(kernel, peer);
            Ok(())
        });
        self.peers[peer].wire.unread() as u32
    }

    /// Closes the server's socket to a peer.
    pub(crate) fn close(&mut self, peer: usize) {
        if self.peers[peer].wire.registration.is_some() {
            self.violate(format!("peer {peer} is closed and still registered"));
        }
        if self.violation.is_some() {
            return;
        }
        self.tell(|observer, kernel| observer.closing(kernel, peer));
        self.mark_change();
        let wire = &mut self.peers[peer].wire;
        wire.accept_state = AcceptState::Closed;
        // A close with unread input resets the connection (tcp(7), RFC 1122 4.2.2.13). The peer then loses the bytes
        // that it has not read yet.
        if wire.reset_on_close || wire.unread() > 0 {
            wire.reset_by_server = true;
        }
        let reset = wire.reset_by_server;
        self.record("close", &[peer as u64, u64::from(reset)], || {
            let how = if reset { ", with a reset" } else { "" };
            format!("the server has closed peer {peer}{how}")
        });
    }

    /// Closes a listener, and resets the connections in its backlog.
    pub(crate) fn close_listener(&mut self, n: usize) {
        self.tell(|observer, kernel| observer.closing_listener(kernel, n));
        let listener = &mut self.listeners[n];
        listener.key = None;
        listener.closed = true;
        let waiting = std::mem::take(&mut listener.backlog);
        self.record("unlisten", &[n as u64], || {
            "a listener is closed".to_owned()
        });
        for peer in waiting {
            let wire = &mut self.peers[peer].wire;
            wire.accept_state = AcceptState::Closed;
            wire.reset_by_server = true;
        }
    }
}

/// A send queue stops growing when it has grown by this many bytes or more.
const MOST_GROWN: usize = 1_000;

/// The error numbers of this system.
const EINTR: i32 = rustix::io::Errno::INTR.raw_os_error();
const ENOMEM: i32 = rustix::io::Errno::NOMEM.raw_os_error();
const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const ENOSPC: i32 = rustix::io::Errno::NOSPC.raw_os_error();
const EPROTO: i32 = rustix::io::Errno::PROTO.raw_os_error();
const ECONNABORTED: i32 = rustix::io::Errno::CONNABORTED.raw_os_error();

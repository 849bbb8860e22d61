//! The server's system calls on the simulated kernel, each with what it does to the socket and to the selector.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::kernel::Kernel;
use super::peer::{Last, Link, Registration, Waits};
use super::script::{Faults, Selector};
use super::splicing::How;
use crate::delivery::Delivery;

impl Kernel {
    pub(super) fn accept(&mut self, listener: usize) -> io::Result<usize> {
        self.meanwhile(|_, peer| peer.link == Link::None);
        self.accept_due = None;
        self.accepts_late = 0;
        if self.fault(8) {
            return Err(self.accept_fault());
        }
        // accept(2) looks for a descriptor first, whether anybody waits or not.
        if self.open_streams() >= self.world.descriptors {
            self.runs_short();
            self.note("emfile", &[], || "accept → EMFILE".to_owned());
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let listener = &mut self.listeners[listener];
        if listener.backlog.is_empty() {
            if self.world.selector == Selector::Rearm {
                listener.armed = true;
            }
            self.note("drained", &[], || "accept → would block".to_owned());
            return Err(ErrorKind::WouldBlock.into());
        }
        let peer = listener.backlog.remove(0);
        self.peers[peer].link = Link::Open;
        self.peers[peer].since = self.now;
        self.peers[peer].acknowledged_at = self.now;
        self.peers[peer].patience = self.world.stall.map(|after| 2 * after);
        self.calls.accepted += 1;
        self.changes();
        self.note("accept", &[peer as u64], || format!("accept → peer {peer}"));
        Ok(peer)
    }

    /// One of the ways in which accept fails without anybody's fault.
    fn accept_fault(&mut self) -> io::Error {
        let kinds = [ECONNABORTED, EINTR, EPROTO, ENFILE, ENOMEM];
        let chosen = self.choices.one_of(kinds.len());
        self.progress = true;
        self.calls.failed_accepts += 1;
        if [ENFILE, ENOMEM].contains(&kinds[chosen]) {
            self.accept_due = Some(self.now + ACCEPT_PAUSE);
        }
        self.note("accept fault", &[chosen as u64], || {
            let names = ["ECONNABORTED", "EINTR", "EPROTO", "ENFILE", "ENOMEM"];
            format!("accept → {}", names[chosen])
        });
        io::Error::from_raw_os_error(kinds[chosen])
    }

    /// No descriptor: to find that out is progress, but not twice in one instant.
    fn runs_short(&mut self) {
        self.progress |= self.short_at != Some(self.now);
        self.short_at = Some(self.now);
        self.calls.failed_accepts += 1;
        self.accept_due = Some(self.now + ACCEPT_PAUSE);
    }

    pub(super) fn register(&mut self, peer: usize, key: usize) -> io::Result<()> {
        if self.world.faults == Faults::All && self.fault(32) {
            self.progress = true;
            self.peers[peer].was_refused_by_the_selector = true;
            self.note("register fault", &[], || "the selector is full".to_owned());
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if self.registrations().any(|(taken, _)| taken == key) {
            self.violate(format!("key {key} is registered twice"));
        }
        self.note("register", &[peer as u64, key as u64], || {
            format!("peer {peer} is registered as #{key}")
        });
        // A selector looks at once at what it is given.
        self.peers[peer].registration = Some(Registration {
            key,
            read: true,
            write: true,
        });
        self.peers[peer].key = Some(key);
        if self.keys_freed_in_turn.contains(&key) {
            self.seen.keys_reused_in_a_batch += 1;
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, peer: usize) {
        if let Some(registration) = self.peers[peer].registration.take() {
            self.keys_freed_in_turn.push(registration.key);
        }
        self.forgotten = Some(peer);
    }

    pub(super) fn read(&mut self, peer: usize, buffer: &mut [u8], how: How) -> io::Result<usize> {
        self.meanwhile(|n, _| n == peer);
        if self.fault(16) {
            self.seen.interrupted += 1;
            self.note("eintr", &[peer as u64], || "read → EINTR".to_owned());
            return Err(ErrorKind::Interrupted.into());
        }
        if buffer.is_empty() {
            self.violate(format!(
                "peer {peer}: a read of nothing, which looks like the end"
            ));
        }
        let now = self.now;
        // A reset may overtake what is still in the receive queue. On Linux it does not.
        let overtakes = self.peers[peer].broken.is_some() && self.choices.one_of(2) == 1;
        let it = &mut self.peers[peer];
        // What was looked at and written is only consumed now; a splice that finds nothing leaves it to a read.
        it.reads_in_turn += u32::from(it.written <= it.consumed && how != How::Splice);
        if it.unread() > 0 && !overtakes {
            if how == How::Splice && it.urgent == Some(it.consumed) {
                self.seen.splices_held_up += 1;
                return self.would_block(peer);
            }
            let mut n = it.unread().min(buffer.len() as u64);
            if let Some(urgent) = it.urgent.filter(|at| *at > it.consumed) {
                n = n.min(urgent - it.consumed);
            }
            if !self.world.short_read_is_drained() {
                n = self.choices.share(n as usize) as u64;
            }
            let it = &mut self.peers[peer];
            for (at, byte) in (it.consumed..).zip(&mut buffer[..n as usize]) {
                *byte = byte_at(peer, at);
            }
            if how != How::Look {
                it.consumed += n;
                it.moved(now);
                self.changes();
                self.calls.reads += 1;
            } else {
                self.calls.peeks += 1;
            }
            self.trace
                .mix("read", &[peer as u64, n, u64::from(how != How::Look)]);
            return Ok(n as usize);
        }
        if let Some(kind) = it.broken.filter(|_| !it.has_told) {
            it.has_told = true;
            it.last = Last::Broken(kind);
            self.changes();
            self.trace.mix("broken read", &[peer as u64]);
            return Err(kind.into());
        }
        if how == How::Splice && it.fin {
            // As if nothing had been asked.
            return Ok(0);
        }
        if it.fin || it.broken.is_some() {
            it.last = Last::EndOfStream;
            self.changes();
            self.calls.reads += 1;
            self.trace.mix("end", &[peer as u64]);
            return Ok(0);
        }
        it.waits_for(Waits::Read, now);
        self.would_block(peer)
    }

    pub(super) fn would_block(&mut self, peer: usize) -> io::Result<usize> {
        self.calls.would_blocks += 1;
        if let (Selector::Rearm, Some(registration)) =
            (self.world.selector, &mut self.peers[peer].registration)
        {
            registration.read = true;
            registration.write = true;
        }
        self.trace.mix("would block", &[peer as u64]);
        Err(ErrorKind::WouldBlock.into())
    }

    pub(super) fn write(&mut self, peer: usize, bytes: &[u8]) -> io::Result<usize> {
        self.meanwhile(|n, _| n == peer);
        if self.fault(16) {
            self.seen.interrupted += 1;
            self.note("eintr of a write", &[peer as u64], || {
                "write → EINTR".to_owned()
            });
            return Err(ErrorKind::Interrupted.into());
        }
        self.check_echo(peer, bytes);
        let now = self.now;
        let it = &mut self.peers[peer];
        if let Some(kind) = it.broken {
            let told = std::mem::replace(&mut it.has_told, true);
            let kind = if told { ErrorKind::BrokenPipe } else { kind };
            it.last = Last::Broken(kind);
            self.changes();
            self.trace.mix("broken write", &[peer as u64]);
            return Err(kind.into());
        }
        if it.room(&self.world) == 0 {
            self.grow(peer);
        }
        let it = &mut self.peers[peer];
        let room = it.room(&self.world);
        if room == 0 {
            it.wants_room = true;
            it.waits_for(Waits::Write, now);
            self.seen.would_block_writes += 1;
            return self.would_block(peer);
        }
        let n = self.choices.share(room.min(bytes.len()));
        let it = &mut self.peers[peer];
        self.calls.writes += 1;
        if it.untaken() == 0 {
            it.acknowledged_at = now;
            it.outstanding_since = now;
        }
        it.written_at = now;
        it.written += n as u64;
        it.moved(now);
        self.trace.mix("write", &[peer as u64, n as u64]);
        if it.deaf {
            // The peer's kernel answers with a reset, and holds nothing for a process that has gone.
            it.got = it.written;
            it.broken = Some(ErrorKind::ConnectionReset);
            it.news(self.world.selector, true, true);
            self.note("reset", &[peer as u64], || {
                format!("peer {peer} has closed: its kernel answers with a reset")
            });
        }
        self.changes();
        Ok(n)
    }

    /// The kernel makes room without the peer's doing: it takes more for a peer that reads nothing, up to a point.
    fn grow(&mut self, peer: usize) {
        let grows = self.world.send_queue_grows && self.peers[peer].grown < MOST_GROWN;
        if grows && self.choices.rarely(2) {
            self.peers[peer].grown += 1 + self.choices.one_of(64);
            self.seen.grown_queues += 1;
        }
    }

    /// How far a stream has got to its peer.
    pub(super) fn delivery(&self, peer: usize) -> Option<Delivery> {
        let it = &self.peers[peer];
        let is_outstanding = it.untaken() > 0;
        let end = it.discards_from.is_some() && !is_outstanding;
        self.world.tells_delivery.then_some(Delivery {
            acknowledged: it.got + u64::from(end),
            is_outstanding,
            since_last_ack: Duration::from_millis(self.now - it.acknowledged_at),
        })
    }

    /// The error that no call has returned yet.
    pub(super) fn take_error(&mut self, peer: usize) -> Option<io::Error> {
        let it = &mut self.peers[peer];
        let kind = it.broken.filter(|_| !it.has_told)?;
        it.has_told = true;
        it.last = Last::Broken(kind);
        self.changes();
        Some(kind.into())
    }

    /// How many connections wait in a backlog.
    pub(super) fn waiting(&mut self, listener: usize) -> Option<usize> {
        let waiting = self.listeners[listener].backlog.len();
        self.world.tells_delivery.then_some(waiting)
    }

    /// What comes back is a prefix of what was sent: looked at in each write, before the kernel takes any of it.
    fn check_echo(&mut self, peer: usize, bytes: &[u8]) {
        let it = &self.peers[peer];
        let end = it.discards_from.unwrap_or(it.sent);
        let wrong = (it.written..)
            .zip(bytes)
            .find(|(at, byte)| *at >= end || **byte != byte_at(peer, *at));
        if bytes.is_empty() {
            self.violate(format!("peer {peer}: a write of nothing"));
        }
        if let Some((at, byte)) = wrong {
            self.violate(format!(
                "peer {peer}: byte {at} of its echo is {:?}, and it sent {:?} ({} bytes in all)",
                *byte as char,
                byte_at(peer, at) as char,
                self.peers[peer].sent,
            ));
        }
        if self.peers[peer].discards_from.is_some() {
            self.violate(format!(
                "peer {peer}: a write after the end of the server's stream"
            ));
        }
    }

    pub(super) fn shut_down_writing(&mut self, peer: usize) -> io::Result<()> {
        let now = self.now;
        let it = &mut self.peers[peer];
        if it.broken.is_some() {
            it.last = Last::Broken(ErrorKind::ConnectionReset);
            return Err(ErrorKind::NotConnected.into());
        }
        it.discards_from = Some(it.consumed);
        it.since = now;
        it.waits = Waits::Read;
        if it.owed.is_some_and(|owed| it.consumed < owed) {
            let (consumed, owed) = (it.consumed, it.owed);
            self.violate(format!(
                "peer {peer}: the server ends its stream, having read {consumed} bytes and owing {owed:?}"
            ));
            return Ok(());
        }
        if it.written < it.consumed {
            let (consumed, written) = (it.consumed, it.written);
            self.violate(format!(
                "peer {peer}: the server ends its stream with {written} of {consumed} bytes written"
            ));
        }
        self.changes();
        self.trace.mix("shut down", &[peer as u64]);
        Ok(())
    }

    /// How much has arrived. The server asks when it begins to drain, and owes that much.
    pub(super) fn received(&mut self, peer: usize) -> u32 {
        let it = &mut self.peers[peer];
        it.owed = Some(it.sent);
        it.unread() as u32
    }

    pub(super) fn close(&mut self, peer: usize) {
        if self.forgotten != Some(peer) && self.peers[peer].key.is_some() {
            self.violate(format!("peer {peer} is closed and still registered"));
        }
        if self.violation.is_some() {
            return;
        }
        self.tally(peer);
        if self.accept_due.is_some() {
            // A descriptor is free.
            self.accept_due = Some(self.now);
        }
        self.changes();
        let it = &mut self.peers[peer];
        it.link = Link::Closed;
        it.registration = None;
        // tcp(7), RFC 1122 4.2.2.13: closing over unread input resets the connection, and the peer loses what it has
        // not read by then.
        if it.reset_on_close || it.unread() > 0 {
            it.reset_by_server = true;
        }
        let reset = it.reset_by_server;
        self.note("close", &[peer as u64, u64::from(reset)], || {
            let how = if reset { ", with a reset" } else { "" };
            format!("the server has closed peer {peer}{how}")
        });
    }

    pub(super) fn close_listener(&mut self, n: usize) {
        // Nobody can accept without a descriptor, without memory, or after the deadline.
        let deadline = self.stopped_at.map(|at| at + self.world.drain);
        let excused = self.accept_due.is_some() || deadline.is_some_and(|at| at <= self.now);
        let owed = |peer: &&usize| self.peers[**peer].was_complete_at_stop;
        if let Some(peer) = self.listeners[n].backlog.iter().find(owed)
            && !excused
        {
            self.violate(format!(
                "peer {peer} was complete in the backlog when the server was told to stop, and is closed unanswered"
            ));
        }
        if self.world.tells_delivery {
            self.calls.left_in_backlog += self.listeners[n].backlog.len() as u64;
        }
        self.drain_began_at.get_or_insert(self.now);
        self.accept_due = None;
        let listener = &mut self.listeners[n];
        listener.key = None;
        listener.closed = true;
        let waiting = std::mem::take(&mut listener.backlog);
        self.note("unlisten", &[n as u64], || {
            "a listener is closed".to_owned()
        });
        for peer in waiting {
            self.peers[peer].link = Link::Closed;
            self.peers[peer].reset_by_server = true;
        }
    }
}

/// So many bytes, and a few more, a send queue grows at the most.
const MOST_GROWN: usize = 1_000;

/// So long nobody may leave a backlog alone after a shortage, in milliseconds.
const ACCEPT_PAUSE: u64 = 100;

/// The byte that a peer sends at an offset: printable, for the trace, and unlike its neighbours and other peers'.
pub(super) fn byte_at(peer: usize, offset: u64) -> u8 {
    let mixed = (offset + 1 + peer as u64 * 1000).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    b'!' + (mixed % 94) as u8
}

/// The numbers that this system gives its errors.
const EINTR: i32 = rustix::io::Errno::INTR.raw_os_error();
const ENOMEM: i32 = rustix::io::Errno::NOMEM.raw_os_error();
const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const ENOSPC: i32 = rustix::io::Errno::NOSPC.raw_os_error();
const EPROTO: i32 = rustix::io::Errno::PROTO.raw_os_error();
const ECONNABORTED: i32 = rustix::io::Errno::CONNABORTED.raw_os_error();

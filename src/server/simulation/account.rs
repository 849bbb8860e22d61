//! The account of each connection: the echo that the server owes its peer, and the results of the server's calls.
//!
//! The kernel reports the server's calls. This file checks single calls only. `checks.rs` checks all accounts after
//! each turn.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use net::poller::Event;
use sim::kernel::Kernel;
use sim::observer::{Checked, How, Observer, Stop};
use sim::wire::{AcceptState, byte_at};

use super::settings::ServerSettings;
use crate::server::control::Control;
use crate::server::stats::Closed;

/// The account of one peer's connection. All times are milliseconds since the start of the run.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// The key under which the stream is or was registered; `None` before its registration.
    pub(super) key: Option<usize>,
    /// Whether the registration with the selector failed.
    pub(super) registration_failed: bool,
    /// The number of bytes that the server had read when it ended its stream. Later bytes are discarded.
    pub(super) discards_from: Option<u64>,
    /// The number of bytes that had arrived when the server began to drain, which it must echo.
    pub(super) owed: Option<u64>,
    /// The time of the last write that moved bytes.
    pub(super) written_at: u64,
    /// The direction that the connection waits for after its last call.
    pub(super) waits: Waits,
    /// The start of that wait, or the time at which bytes last moved.
    pub(super) since: u64,
    /// The time since which every turn has ended with a pending write; `None` if there is none.
    pub(super) blocked_from: Option<u64>,
    /// The latest call result that determines the reason of the close.
    pub(super) last: Last,
    /// Whether the server closed the connection at the stall or the drain timeout. `check_close` has accepted that.
    pub(super) was_timed_out: bool,
    /// Whether the connection was in the backlog when the server was told to stop. The server owes it an echo.
    pub(super) was_waiting_at_stop: bool,
    /// The number of reads since the start of the turn.
    pub(super) reads_in_turn: u32,
}

/// A call result that determines the reason of the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// No such result yet.
    Fine,
    /// A read has returned the end of the peer's stream.
    EndOfStream,
    /// A call has failed with an error that ends the connection.
    Broken(ErrorKind),
}

/// The direction that a connection waits for. It determines the timeouts that apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Bytes of the peer, or its end of stream.
    Read,
    /// Room to write.
    Write,
}

/// The number of connections closed for each reason, by the accounts. The server's counts must be equal.
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

/// The number of calls with each result. The server's counts must be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) accepted: u64,
    pub(super) failed_accepts: u64,
    pub(super) reads: u64,
    pub(super) peeks: u64,
    pub(super) writes: u64,
    pub(super) would_blocks: u64,
    pub(super) left_in_backlog: u64,
}

/// The accounts of all peers, and the state of the whole server.
#[derive(Debug)]
pub(super) struct Accounts {
    /// The settings of the server.
    pub(super) settings: ServerSettings,
    /// The counters of the server, and the flag by which a handle stops it.
    pub(super) control: Arc<Control>,
    /// The account of each peer, by number.
    pub(super) peers: Vec<Account>,
    /// The server's close counters after the last close. At the next close, the counter that has changed is the reason.
    pub(super) claimed: Closed,
    /// The number of connections closed for each reason.
    pub(super) closed: Causes,
    /// The number of calls with each result.
    pub(super) calls: Calls,
    /// The keys of the events of this turn's poll.
    pub(super) reported: Vec<usize>,
    /// The number of free pending-write buffers that the server held after the last turn.
    pub(super) free_buffers: usize,
    /// The time at which the server has to accept again, after an accept failed for lack of descriptors or memory.
    pub(super) accept_due: Option<u64>,
    /// The time at which the server began to drain.
    pub(super) drain_began_at: Option<u64>,
    /// Whether the drain is over, and the server closes the connections that are left.
    pub(super) is_abandoning: bool,
    /// The number of turns since the drain timeout.
    pub(super) drains_late: u32,
    /// The number of turns since `accept_due`.
    pub(super) accepts_late: u32,
    /// The end of busy polling: until then, a poll that does not wait is expected.
    busy_until: u64,
    /// The time of the next report of statistics.
    reports_at: u64,
    /// The number of reports that were due.
    pub(super) reports: u64,
    /// The last time at which an idle timer may have expired without closing its connection.
    expired_at: u64,
}

impl Accounts {
    /// Creates the accounts of `peers` peers that have not connected yet.
    pub(super) fn new(settings: &ServerSettings, control: Arc<Control>, peers: usize) -> Accounts {
        let account = Account {
            key: None,
            registration_failed: false,
            discards_from: None,
            owed: None,
            written_at: 0,
            waits: Waits::Read,
            since: 0,
            blocked_from: None,
            last: Last::Fine,
            was_timed_out: false,
            was_waiting_at_stop: false,
            reads_in_turn: 0,
        };
        Accounts {
            settings: settings.clone(),
            control,
            peers: vec![account; peers],
            claimed: Closed::default(),
            closed: Causes::default(),
            calls: Calls::default(),
            reported: Vec::new(),
            free_buffers: 0,
            accept_due: None,
            drain_began_at: None,
            is_abandoning: false,
            drains_late: 0,
            accepts_late: 0,
            busy_until: 0,
            reports_at: 0,
            reports: 0,
            expired_at: 0,
        }
    }

    /// Returns true if an idle timer may have expired in this turn without closing its connection, which counts as
    /// progress.
    ///
    /// While bytes are unacknowledged, only the stall timeout closes a connection. The expired idle timer makes the
    /// server read, and this read may re-arm both directions.
    pub(super) fn idle_timer_may_have_expired(&mut self, kernel: &Kernel) -> bool {
        let now = kernel.now();
        let (Some(idle), Some(_)) = (self.settings.idle, self.settings.stall) else {
            return false;
        };
        let is_outstanding = kernel
            .peers()
            .iter()
            .any(|peer| peer.wire.unacknowledged() > 0);
        if !is_outstanding || now < self.expired_at + idle {
            return false;
        }
        self.expired_at = now;
        true
    }

    /// Returns true if a report of the statistics was due in this turn, which counts as progress.
    pub(super) fn reports_in_this_turn(&mut self, now: u64) -> bool {
        match self.settings.stats_every {
            Some(every) if self.reports_at <= now => {
                self.reports_at = now + every;
                self.reports += 1;
                true
            }
            _ => false,
        }
    }
}

impl Account {
    /// Records that bytes have moved, which restarts the timeout.
    fn moved(&mut self, now: u64) {
        self.waits = Waits::Read;
        self.since = now;
    }

    /// Records the direction that the connection waits for. A new direction restarts the timeout.
    fn waits_for(&mut self, what: Waits, now: u64) {
        if self.waits != what {
            self.waits = what;
            self.since = now;
        }
    }

    /// Records that a call has failed. Some errors do not end the connection.
    fn failed(&mut self, kind: ErrorKind) {
        use ErrorKind::{Interrupted, InvalidInput, WouldBlock};
        if !matches!(kind, Interrupted | InvalidInput | WouldBlock) {
            self.last = Last::Broken(kind);
        }
    }
}

impl Observer<Kernel> for Accounts {
    fn polls(&mut self, _: &Kernel, timeout: Option<Duration>) -> Checked {
        for account in &mut self.peers {
            account.reads_in_turn = 0;
        }
        match self.free_buffers {
            free if timeout.is_none() && free > 0 => Err(format!(
                "the loop sleeps without a timer and keeps {free} free buffers"
            )),
            _ => Ok(()),
        }
    }

    fn polled(&mut self, kernel: &Kernel, events: &[Event]) -> Checked {
        self.reported.clear();
        self.reported.extend(events.iter().map(|event| event.key));
        if !events.is_empty() {
            self.busy_until = kernel.now() + self.settings.busy_poll.unwrap_or(0);
        }
        Ok(())
    }

    fn is_busy_polling(&self, kernel: &Kernel) -> bool {
        self.settings.busy_poll.is_some() && kernel.now() < self.busy_until
    }

    fn stops(&mut self, kernel: &Kernel, how: Stop) {
        for (account, peer) in self.peers.iter_mut().zip(kernel.peers()) {
            account.was_waiting_at_stop = peer.wire.accept_state == AcceptState::Waiting;
        }
        if how == Stop::Handle {
            self.control.stop();
        }
    }

    fn accepted(&mut self, kernel: &Kernel, result: &io::Result<usize>) -> Checked {
        let now = kernel.now();
        self.accept_due = None;
        self.accepts_late = 0;
        match result {
            Ok(peer) => {
                self.calls.accepted += 1;
                self.peers[*peer].since = now;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                self.calls.failed_accepts += 1;
                let pauses = [ENFILE, EMFILE, ENOMEM].map(Some);
                if pauses.contains(&error.raw_os_error()) {
                    self.accept_due = Some(now + ACCEPT_PAUSE);
                }
            }
        }
        Ok(())
    }

    fn registered(
        &mut self,
        _: &Kernel,
        peer: usize,
        key: usize,
        result: &io::Result<()>,
    ) -> Checked {
        match result {
            Ok(()) => self.peers[peer].key = Some(key),
            Err(_) => self.peers[peer].registration_failed = true,
        }
        Ok(())
    }

    fn read(
        &mut self,
        kernel: &Kernel,
        peer: usize,
        how: How,
        result: &io::Result<usize>,
    ) -> Checked {
        let (now, wire) = (kernel.now(), kernel.wire(peer));
        let account = &mut self.peers[peer];
        let kind = result.as_ref().map_err(io::Error::kind);
        let moved = match kind {
            Ok(n) if how != How::Peek => *n as u64,
            _ => 0,
        };
        // Two kinds of calls do not count: a read that only consumes bytes which were peeked at and written before, and
        // a splice that moves nothing, because a read follows.
        account.reads_in_turn += u32::from(match how {
            How::Splice => moved > 0,
            _ => kind != Err(ErrorKind::Interrupted) && wire.written <= wire.consumed - moved,
        });
        match kind {
            // A splice that returns the end of the stream does not count: a read returns it again.
            Ok(0) if how == How::Splice => {}
            Ok(0) => {
                self.calls.reads += 1;
                account.last = Last::EndOfStream;
            }
            Ok(_) if how == How::Peek => self.calls.peeks += 1,
            Ok(_) => {
                self.calls.reads += 1;
                account.moved(now);
            }
            Err(ErrorKind::WouldBlock) => {
                self.calls.would_blocks += 1;
                // A splice returns WouldBlock in front of an urgent byte. A read would return that byte.
                if wire.unread() == 0 {
                    account.waits_for(Waits::Read, now);
                }
            }
            Err(kind) => account.failed(kind),
        }
        Ok(())
    }

    fn wrote(
        &mut self,
        kernel: &Kernel,
        peer: usize,
        bytes: &[u8],
        result: &io::Result<usize>,
    ) -> Checked {
        let (now, wire) = (kernel.now(), kernel.wire(peer));
        let account = &mut self.peers[peer];
        let taken = *result.as_ref().unwrap_or(&0) as u64;
        match result.as_ref().map_err(io::Error::kind) {
            Ok(_) => {
                self.calls.writes += 1;
                account.written_at = now;
                account.moved(now);
            }
            Err(ErrorKind::WouldBlock) => {
                self.calls.would_blocks += 1;
                account.waits_for(Waits::Write, now);
            }
            Err(kind) => account.failed(kind),
        }
        // The echo must be a prefix of the bytes that the peer sent.
        let from = wire.written - taken;
        let end = account.discards_from.unwrap_or(wire.sent);
        let wrong = (from..)
            .zip(bytes)
            .find(|(at, byte)| *at >= end || **byte != byte_at(peer, *at));
        if let Some((at, byte)) = wrong {
            return Err(format!(
                "peer {peer}: byte {at} of its echo is {:?}, and it sent {:?} ({} bytes in all)",
                *byte as char,
                byte_at(peer, at) as char,
                wire.sent,
            ));
        }
        match account.discards_from {
            None => Ok(()),
            Some(_) => Err(format!(
                "peer {peer}: a write after the end of the server's stream"
            )),
        }
    }

    fn took_error(&mut self, _: &Kernel, peer: usize, error: ErrorKind) {
        self.peers[peer].last = Last::Broken(error);
    }

    /// The server asks this when it begins to drain. It owes an echo of every byte that had arrived by then.
    fn asked_received(&mut self, kernel: &Kernel, peer: usize) {
        self.peers[peer].owed = Some(kernel.wire(peer).sent);
    }

    fn shut_down(&mut self, kernel: &Kernel, peer: usize, result: &io::Result<()>) -> Checked {
        let wire = kernel.wire(peer);
        let (consumed, written) = (wire.consumed, wire.written);
        let account = &mut self.peers[peer];
        if result.is_err() {
            account.last = Last::Broken(ErrorKind::ConnectionReset);
            return Ok(());
        }
        account.discards_from = Some(consumed);
        account.moved(kernel.now());
        match account.owed {
            Some(owed) if consumed < owed => Err(format!(
                "peer {peer}: the server ends its own stream after {consumed} bytes, but it owes an echo of {owed}"
            )),
            _ if written < consumed => Err(format!(
                "peer {peer}: the server ends its own stream with {written} of {consumed} bytes written"
            )),
            _ => Ok(()),
        }
    }

    fn closing(&mut self, kernel: &Kernel, peer: usize) -> Checked {
        let checked = self.check_close(kernel, peer);
        if self.accept_due.is_some() {
            // The close frees a descriptor, so the server can accept now.
            self.accept_due = Some(kernel.now());
        }
        checked
    }

    fn closing_listener(&mut self, kernel: &Kernel, listener: usize) -> Checked {
        let now = kernel.now();
        let backlog = kernel.backlog(listener);
        // The server cannot accept for lack of descriptors or memory, or after the drain timeout.
        let deadline = kernel.stopped_at().map(|at| at + self.settings.drain);
        let is_excused = self.accept_due.is_some() || deadline.is_some_and(|at| at <= now);
        if kernel.world().tells_delivery {
            self.calls.left_in_backlog += backlog.len() as u64;
        }
        self.drain_began_at.get_or_insert(now);
        self.accept_due = None;
        let owed = |peer: &&usize| self.peers[**peer].was_waiting_at_stop;
        match backlog.iter().find(owed) {
            Some(peer) if !is_excused => Err(format!(
                "peer {peer} was in the backlog when the server was told to stop, and is closed unanswered"
            )),
            _ => Ok(()),
        }
    }

    /// The kernel's timer must not end a connection whose peer has acknowledged bytes within the stall timeout: the
    /// server has to set a new timeout in time.
    fn gave_up(&mut self, kernel: &Kernel, peer: usize) -> Checked {
        let still = kernel.now() - kernel.wire(peer).acknowledged_at;
        match self.settings.stall {
            Some(stall) if still + kernel.most_late() < stall => Err(format!(
                "the kernel ended the connection of peer {peer} {still} ms after the peer acknowledged bytes"
            )),
            _ => Ok(()),
        }
    }
}

/// The time within which the server must accept again after a lack of descriptors or memory, in milliseconds.
const ACCEPT_PAUSE: u64 = 100;

/// The errors of accept(2) after which the server pauses.
const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const ENOMEM: i32 = rustix::io::Errno::NOMEM.raw_os_error();

//! The account of each connection: what the server owes its peer, and what the server's calls have returned.
//!
//! The kernel reports each call. This file judges only what can be judged at one call; `checks.rs` judges the whole
//! after each turn.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use net::poller::Event;
use sim::kernel::Kernel;
use sim::observer::{Checked, How, Observer, Stop};
use sim::wire::{Link, byte_at};

use super::settings::Settings;
use crate::server::control::Control;
use crate::server::stats::Closed;

/// The account of one peer's connection. All times are milliseconds since the beginning of the run.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// The key under which it is or was registered.
    pub(super) key: Option<usize>,
    /// Whether the selector would not take it.
    pub(super) was_refused_by_the_selector: bool,
    /// Where the server's end of stream found its reading: what it reads later is thrown away.
    pub(super) discards_from: Option<u64>,
    /// How many bytes there were to echo when the server began to drain.
    pub(super) owed: Option<u64>,
    /// When the kernel last took bytes.
    pub(super) written_at: u64,
    /// The direction that the last call waits for.
    pub(super) waits: Waits,
    /// Since when the server has waited for that, or when bytes last moved.
    pub(super) since: u64,
    /// Since when each turn has ended with a write that waits for room.
    pub(super) blocked_from: Option<u64>,
    /// The latest result of a call that decides how the stream ends.
    pub(super) last: Last,
    /// Whether a timer has closed it, rightly as `check_close` has found.
    pub(super) was_timed_out: bool,
    /// Whether it had connected when the server was told to stop, so it is owed its echo.
    pub(super) was_complete_at_stop: bool,
    /// How often it was read since the turn began.
    pub(super) reads_in_turn: u32,
}

/// A result of a call that decides how the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// Nothing of the kind.
    Fine,
    /// A read has found the end of the peer's stream.
    EndOfStream,
    /// A call has failed, for good.
    Broken(ErrorKind),
}

/// The direction that a stream's last call waits for: the timeouts follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// For bytes of the peer, or its end of stream.
    Read,
    /// For room to write.
    Write,
}

/// How many connections were closed for which cause, as the accounts have it.
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

/// How many calls returned what, as the server should have counted them.
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

/// The accounts of all peers, and of the server as a whole.
#[derive(Debug)]
pub(super) struct Accounts {
    /// The settings of the server.
    pub(super) settings: Settings,
    /// The counters of the server, and the flag that stops it.
    pub(super) control: Arc<Control>,
    /// The account of each peer, by number.
    pub(super) peers: Vec<Account>,
    /// The server's counts of closes before the one that is under way.
    pub(super) claimed: Closed,
    /// How many connections were closed for which cause.
    pub(super) closed: Causes,
    /// How many calls returned what.
    pub(super) calls: Calls,
    /// The keys of the events of this turn's poll.
    pub(super) reported: Vec<usize>,
    /// Free pending writes that the server held after the last turn.
    pub(super) free_buffers: usize,
    /// When the server has to try to accept again, after it found no descriptor or no memory.
    pub(super) accept_due: Option<u64>,
    /// When it began to drain.
    pub(super) drain_began_at: Option<u64>,
    /// Whether the drain is over, and the server closes the connections that are left.
    pub(super) is_abandoning: bool,
    /// Turns that went by since the end of the drain was due.
    pub(super) drains_late: u32,
    /// Turns that went by since accepting again was due.
    pub(super) accepts_late: u32,
    /// Until when a poll that does not wait is one of a server that busy-polls.
    busy_until: u64,
    /// When the server reports its statistics next.
    reports_at: u64,
    /// How often it was due to.
    pub(super) reports: u64,
    /// When idle timers last expired in vain, as an echo is on its way.
    expired_at: u64,
}

impl Accounts {
    /// The accounts of so many peers, none of which has connected.
    pub(super) fn new(settings: &Settings, control: Arc<Control>, peers: usize) -> Accounts {
        let account = Account {
            key: None,
            was_refused_by_the_selector: false,
            discards_from: None,
            owed: None,
            written_at: 0,
            waits: Waits::Read,
            since: 0,
            blocked_from: None,
            last: Last::Fine,
            was_timed_out: false,
            was_complete_at_stop: false,
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

    /// To report the statistics is a reason to wake up. Returns true if it was one in this turn.
    /// Whether an idle timer may have expired in vain just now: while an echo is on its way, the stall timeout decides. The read
    /// that it causes may re-arm both directions.
    pub(super) fn expires_in_vain(&mut self, kernel: &Kernel) -> bool {
        let now = kernel.now();
        let (Some(idle), Some(_)) = (self.settings.idle, self.settings.stall) else {
            return false;
        };
        let is_outstanding = kernel.peers().iter().any(|peer| peer.wire.untaken() > 0);
        if !is_outstanding || now < self.expired_at + idle {
            return false;
        }
        self.expired_at = now;
        true
    }

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
    /// Bytes have moved, which restarts the timeout.
    fn moved(&mut self, now: u64) {
        self.waits = Waits::Read;
        self.since = now;
    }

    /// A wait for the same goes on, another one starts.
    fn waits_for(&mut self, what: Waits, now: u64) {
        if self.waits != what {
            self.waits = what;
            self.since = now;
        }
    }

    /// A call has failed. Some failures do not end the stream.
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
            account.was_complete_at_stop = peer.wire.link == Link::Waiting;
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
            Err(_) => self.peers[peer].was_refused_by_the_selector = true,
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
        // A read that consumes bytes which were peeked at and written before does not count. Nor does a splice that
        // finds nothing: a read follows.
        account.reads_in_turn += u32::from(match how {
            How::Splice => moved > 0,
            _ => kind != Err(ErrorKind::Interrupted) && wire.written <= wire.consumed - moved,
        });
        match kind {
            // The end of the stream does not count when a splice finds it.
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
                // In front of an urgent byte a splice finds nothing, and a read would.
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
        // The echo is a prefix of what was sent.
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

    /// The server asks when it begins to drain. It owes an echo of all that had arrived.
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
            owed if owed.is_some_and(|owed| consumed < owed) => Err(format!(
                "peer {peer}: the server ends its stream, having read {consumed} bytes and owing {owed:?}"
            )),
            _ if written < consumed => Err(format!(
                "peer {peer}: the server ends its stream with {written} of {consumed} bytes written"
            )),
            _ => Ok(()),
        }
    }

    fn closing(&mut self, kernel: &Kernel, peer: usize) -> Checked {
        let checked = self.check_close(kernel, peer);
        if self.accept_due.is_some() {
            // A descriptor is free.
            self.accept_due = Some(kernel.now());
        }
        checked
    }

    fn closing_listener(&mut self, kernel: &Kernel, listener: usize) -> Checked {
        let now = kernel.now();
        let backlog = kernel.backlog(listener);
        // The server cannot accept without a descriptor, without memory, or after the deadline.
        let deadline = kernel.stopped_at().map(|at| at + self.settings.drain);
        let is_excused = self.accept_due.is_some() || deadline.is_some_and(|at| at <= now);
        if kernel.world().tells_delivery {
            self.calls.left_in_backlog += backlog.len() as u64;
        }
        self.drain_began_at.get_or_insert(now);
        self.accept_due = None;
        let owed = |peer: &&usize| self.peers[**peer].was_complete_at_stop;
        match backlog.iter().find(owed) {
            Some(peer) if !is_excused => Err(format!(
                "peer {peer} was complete in the backlog when the server was told to stop, and is closed unanswered"
            )),
            _ => Ok(()),
        }
    }

    /// The server has to put the kernel's timer off while a peer acknowledges bytes.
    fn gave_up(&mut self, kernel: &Kernel, peer: usize) -> Checked {
        let still = kernel.now() - kernel.wire(peer).acknowledged_at;
        match self.settings.stall {
            Some(stall) if still + kernel.most_late() < stall => Err(format!(
                "peer {peer} was cut off by the kernel {still} ms after it acknowledged bytes"
            )),
            _ => Ok(()),
        }
    }
}

/// For so long at most the server leaves a backlog alone after a shortage, in milliseconds.
const ACCEPT_PAUSE: u64 = 100;

/// The errors of accept after which the server pauses.
const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const ENOMEM: i32 = rustix::io::Errno::NOMEM.raw_os_error();

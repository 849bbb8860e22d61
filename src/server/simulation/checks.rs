//! What must hold: at each close, after each turn, and at the end.

use std::io::ErrorKind;

use sim::kernel::Kernel;
use sim::observer::Checked;
use sim::peer::{Ended, Peer};
use sim::script::Action;
use sim::wire::{Link, Wire};

use super::account::{Account, Accounts, Causes, Last, Waits};
use super::observation::Observation;
use super::settings::Settings;
use crate::server::stats::Stats;

/// Why a connection is closed, as the server counts it.
#[derive(Clone, Copy)]
enum Claim {
    /// No counter has moved.
    None,
    EndOfStream,
    Reset,
    Failed,
    Idle,
    Stalled,
    Drained,
    Abandoned,
}

/// How long a stream lingers, in milliseconds.
fn linger(settings: &Settings) -> u64 {
    let longest = crate::server::event_loop::LINGER.as_millis() as u64;
    longest.min(settings.drain).max(1)
}

impl Accounts {
    /// A connection is closed because of what a call returned, or by a timer. Checks that the server counts the close
    /// for the right reason.
    pub(super) fn check_close(&mut self, kernel: &Kernel, n: usize) -> Checked {
        let claim = self.claim();
        let is_full = kernel.open_streams() > self.settings.max_connections;
        let account = &mut self.peers[n];
        let closed = &mut self.closed;
        let wrong = if account.key.is_none() {
            // Open streams, this one among them.
            if is_full {
                closed.turned_away += 1;
                None
            } else if account.was_refused_by_the_selector {
                closed.unregistered += 1;
                None
            } else {
                Some("it was turned away, and there was room")
            }
        } else if self.is_abandoning {
            closed.abandoned += 1;
            account.was_timed_out = true;
            let deadline = kernel.stopped_at().map(|at| at + self.settings.drain);
            let due = deadline.is_some_and(|deadline| kernel.now() >= deadline);
            (!due).then_some("it was abandoned before the drain timeout")
        } else {
            match claim {
                Claim::EndOfStream => closed.end_of_stream += 1,
                Claim::Reset => closed.reset += 1,
                Claim::Failed => closed.failed += 1,
                Claim::Idle => closed.idle += 1,
                Claim::Stalled => {
                    closed.stalled += 1;
                    account.was_timed_out = true;
                }
                Claim::Drained => closed.drained += 1,
                Claim::None | Claim::Abandoned => {}
            }
            self.is_wrong(claim, kernel, n)
        };
        wrong.map_or(Ok(()), |wrong| Err(format!("peer {n}: {wrong}")))
    }

    /// Returns what is wrong with a reason for a close, if anything is.
    fn is_wrong(&self, claim: Claim, kernel: &Kernel, n: usize) -> Option<&'static str> {
        let (account, wire) = (&self.peers[n], kernel.wire(n));
        let (settings, world) = (&self.settings, kernel.world());
        let due = |after: Option<u64>, since: u64| {
            after.is_some_and(|after| kernel.now() - since >= after)
        };
        let outstanding = world.tells_delivery && wire.untaken() > 0;
        let nothing_had_asked = "it was closed, and nothing had asked for it";
        let ended = account.last == Last::EndOfStream;
        let broken = matches!(account.last, Last::Broken(_));
        let timed_out = account.last == Last::Broken(ErrorKind::TimedOut);
        match claim {
            Claim::EndOfStream if !ended => Some(nothing_had_asked),
            Claim::EndOfStream => {
                let all = wire.written == wire.sent && wire.consumed == wire.sent;
                if !all {
                    Some("it ended its stream, and has not got everything")
                } else if outstanding && world.short_read_means_empty() {
                    Some("it ended its stream, and is closed before its echo is delivered")
                } else {
                    None
                }
            }
            Claim::Reset => (!broken || timed_out).then_some(nothing_had_asked),
            Claim::Failed if wire.lost_in_the_pipe => None,
            Claim::Failed => {
                let stalled = settings.stall.is_some() && outstanding;
                (!timed_out || stalled).then_some(nothing_had_asked)
            }
            // The kernel's timer.
            Claim::Stalled if timed_out => {
                (!outstanding).then_some("it was closed as stalled, and had everything")
            }
            // The server's own. Bytes that the peer acknowledges are progress; where the kernel does not tell, bytes
            // that the kernel takes.
            Claim::Stalled if world.tells_delivery => (!due(settings.stall, wire.acknowledged_at))
                .then_some("it was closed as stalled before its time"),
            Claim::Stalled if wire.room(world) > 0 => {
                Some("it was closed as stalled, and there was room again")
            }
            Claim::Stalled => (!due(settings.stall, account.written_at))
                .then_some("it was closed as stalled before its time"),
            Claim::Drained if account.discards_from.is_some() && ended => None,
            Claim::Drained if account.discards_from.is_some() => {
                if outstanding {
                    Some("it was closed with bytes in the send queue, before the deadline")
                } else if wire.is_readable() {
                    Some("a timer closed it with something to read")
                } else if !due(Some(linger(settings)), account.since) {
                    Some("it was closed before its end of stream, and did not linger")
                } else {
                    None
                }
            }
            // Nothing was sent and nothing is owed: a drain has nothing to wait for.
            Claim::Drained if account.owed != Some(0) || wire.consumed > 0 => {
                Some(nothing_had_asked)
            }
            Claim::Drained => {
                (wire.unread() > 0).then_some("it was closed at once with something to read")
            }
            Claim::Idle => {
                // The first quarter is for the acknowledgement of the last echo.
                let acknowledged = match outstanding {
                    true => settings.idle,
                    false => settings.idle.map(|after| after - after / 4),
                };
                // A byte that is peeked at moves nothing.
                let since = match account.waits {
                    Waits::Read => account.since,
                    Waits::Write => account.since.min(account.written_at),
                };
                if !due(settings.idle, since) {
                    Some(nothing_had_asked)
                } else if account.waits == Waits::Read && !ended && wire.is_readable() {
                    Some("a timer closed it with something to read")
                } else if account.waits == Waits::Write && wire.room(world) > 0 {
                    Some("it was closed as idle, and there was room again")
                } else if outstanding && settings.stall.is_some() {
                    Some("it was closed as idle, and its echo is on its way")
                } else if world.tells_delivery && !due(acknowledged, wire.acknowledged_at) {
                    Some("it was closed as idle, and it had just acknowledged bytes")
                } else {
                    None
                }
            }
            Claim::None | Claim::Abandoned => Some(nothing_had_asked),
        }
    }

    /// The reason that the server has given for the close that is under way: the counter that has moved.
    fn claim(&mut self) -> Claim {
        let now = self.control.counters().snapshot().closed;
        let before = std::mem::replace(&mut self.claimed, now.clone());
        [
            (now.end_of_stream, before.end_of_stream, Claim::EndOfStream),
            (now.reset, before.reset, Claim::Reset),
            (now.failed, before.failed, Claim::Failed),
            (now.idle, before.idle, Claim::Idle),
            (now.stalled, before.stalled, Claim::Stalled),
            (now.drained, before.drained, Claim::Drained),
            (now.abandoned, before.abandoned, Claim::Abandoned),
        ]
        .into_iter()
        .find_map(|(now, before, claim)| (now != before).then_some(claim))
        .unwrap_or(Claim::None)
    }

    /// Safety. The first check that fails is the violation.
    pub(super) fn check_turn(
        &mut self,
        kernel: &Kernel,
        observed: &Observation,
        stats: &Stats,
    ) -> Checked {
        check_table(kernel, observed)?;
        self.check_memory(kernel, observed)?;
        self.check_timers(kernel)?;
        self.check_budgets()?;
        self.check_what_takes_a_turn(kernel)?;
        self.check_counts(kernel, stats)
    }

    /// A connection's pending bytes are at most one read, all pending writes are within their budget, and they hold
    /// what was read and not written.
    fn check_memory(&mut self, kernel: &Kernel, observed: &Observation) -> Checked {
        self.free_buffers = observed.free_buffers;
        let budget = self.settings.memory.unwrap_or(usize::MAX);
        if observed.in_use > budget {
            let in_use = observed.in_use;
            return Err(format!(
                "{in_use} buffers are in use, and the budget has {budget}"
            ));
        }
        let most = self.settings.read_buffer;
        let mut in_all = 0;
        for (n, (account, wire)) in self.open(kernel) {
            let pending = account.pending(wire);
            in_all += pending;
            if pending > most as u64 {
                return Err(format!(
                    "peer {n} has {pending} bytes pending, and a read is {most}"
                ));
            }
        }
        if in_all != observed.pending as u64 {
            let counted = observed.pending;
            return Err(format!(
                "{in_all} bytes were read and not written, and the pending writes hold {counted}"
            ));
        }
        Ok(())
    }

    /// Every timer fires.
    fn check_timers(&mut self, kernel: &Kernel) -> Checked {
        let now = kernel.now();
        for account in &mut self.peers {
            match account.waits {
                Waits::Write => _ = account.blocked_from.get_or_insert(now),
                Waits::Read => account.blocked_from = None,
            }
        }
        for (n, (account, wire)) in self.open(kernel) {
            let Some((which, after, since)) = self.timer_of(account, wire, kernel) else {
                continue;
            };
            let still = now.saturating_sub(since);
            if wire.registration.is_some() && after.is_some_and(|after| still >= after) {
                return Err(format!(
                    "peer {n} has been still for {still} ms, and the {which} timeout of {after:?} ms has not fired"
                ));
            }
        }
        Ok(())
    }

    /// The timer that runs for a connection: its name, when it has to have fired at the latest, and since when it
    /// runs.
    fn timer_of(
        &self,
        account: &Account,
        wire: &Wire,
        kernel: &Kernel,
    ) -> Option<(&'static str, Option<u64>, u64)> {
        let (settings, world) = (&self.settings, kernel.world());
        let outstanding = world.tells_delivery && wire.untaken() > 0;
        // A peer is found by the second look, and each look may be late.
        let twice = |after: Option<u64>| after.map(|after| 2 * (after + kernel.most_late()));
        let progress = match world.tells_delivery {
            true => wire.acknowledged_at,
            false => account.written_at,
        };
        let blocked_from = account.blocked_from.unwrap_or(kernel.now());
        Some(match account.waits {
            _ if outstanding && settings.stall.is_some() => {
                ("stall", twice(settings.stall), progress)
            }
            // Without a stall timeout the idle timeout decides, but for a drain, which has its deadline.
            _ if outstanding
                && (account.discards_from.is_none() || account.last == Last::EndOfStream) =>
            {
                ("idle", twice(settings.idle), account.since.max(progress))
            }
            // It has taken everything, and the event that says so is on its way.
            Waits::Write if world.tells_delivery => return None,
            Waits::Write if settings.stall.is_none() => {
                ("idle", twice(settings.idle), progress.max(blocked_from))
            }
            Waits::Write => ("stall", twice(settings.stall), progress.max(blocked_from)),
            // The end of the stream is an event.
            Waits::Read if wire.fin => return None,
            // The drain's own deadline ends it.
            Waits::Read if account.discards_from.is_some() && outstanding => return None,
            Waits::Read if account.discards_from.is_some() => {
                let since = account.since.max(progress);
                ("linger", Some(linger(settings)), since)
            }
            // It may have acknowledged bytes while the timer ran, which then ran once more.
            Waits::Read if world.tells_delivery => {
                ("idle", twice(settings.idle), account.since.max(progress))
            }
            Waits::Read => ("idle", settings.idle, account.since),
        })
    }

    /// To end a drain and to accept again is due in the turn after its time.
    fn check_what_takes_a_turn(&mut self, kernel: &Kernel) -> Checked {
        let now = kernel.now();
        let began = self.drain_began_at.or(kernel.stopped_at());
        let drained = began.map(|at| at + self.settings.drain);
        let drains = !self.is_abandoning && drained.is_some_and(|due| due <= now);
        let accepts = self.accept_due.is_some_and(|due| due <= now);
        let late = |since: u32, is: bool| if is { since + 1 } else { 0 };
        self.drains_late = late(self.drains_late, drains);
        self.accepts_late = late(self.accepts_late, accepts);
        if self.drains_late > 2 {
            return Err("the drain goes on after its timeout".to_owned());
        }
        if self.accepts_late > 2 {
            return Err("nobody tries to accept again, and it is time".to_owned());
        }
        Ok(())
    }

    /// No turn does more than its budget.
    fn check_budgets(&self) -> Checked {
        for (n, account) in self.peers.iter().enumerate() {
            let events = self
                .reported
                .iter()
                .filter(|key| account.key == Some(**key));
            // One pump for each event, even if another connection had the key before, and one for the run queue. The
            // last read of each finds the budget used up, or nothing.
            let most = (self.settings.turn + 1) * (events.count() + 1);
            let reads = account.reads_in_turn;
            if reads as usize > most {
                return Err(format!("peer {n} was read {reads} times in one turn"));
            }
        }
        Ok(())
    }

    /// The server counts what the kernel saw.
    fn check_counts(&self, kernel: &Kernel, stats: &Stats) -> Checked {
        let closed = &stats.closed;
        let counted = Causes {
            end_of_stream: closed.end_of_stream,
            reset: closed.reset,
            failed: closed.failed,
            idle: closed.idle,
            stalled: closed.stalled,
            drained: closed.drained,
            abandoned: closed.abandoned,
            unregistered: closed.unregistered,
            turned_away: stats.rejected,
        };
        if counted != self.closed {
            let saw = &self.closed;
            return Err(format!(
                "the server counts {counted:?}, and the kernel saw {saw:?}"
            ));
        }
        let (mut read, mut written, mut thrown_away) = (0, 0, 0);
        for (account, peer) in self.peers.iter().zip(kernel.peers()) {
            let kept = account.kept(&peer.wire);
            read += kept;
            written += peer.wire.written;
            thrown_away += peer.wire.consumed - kept;
        }
        let calls = self.calls;
        let refusals = &stats.accept_errors;
        let refused = refusals.aborted
            + refusals.interrupted
            + refusals.network
            + refusals.process_descriptors
            + refusals.system_descriptors
            + refusals.memory;
        for (what, server, kernel) in [
            ("accepted", stats.accepted, calls.accepted),
            ("failed accepts", refused, calls.failed_accepts),
            ("open", stats.open, kernel.open_streams() as u64),
            ("bytes in", stats.bytes_in, read),
            ("bytes out", stats.bytes_out, written),
            ("bytes discarded", stats.bytes_discarded, thrown_away),
            ("reads", stats.reads, calls.reads),
            ("peeks", stats.peeks, calls.peeks),
            ("writes", stats.writes, calls.writes),
            ("would blocks", stats.would_blocks, calls.would_blocks),
            (
                "left in backlog",
                stats.left_in_backlog,
                calls.left_in_backlog,
            ),
        ] {
            if server != kernel {
                return Err(format!(
                    "{what}: the server counts {server}, and the kernel saw {kernel}"
                ));
            }
        }
        Ok(())
    }

    /// At the end each peer that did nothing wrong has got what it is owed.
    pub(super) fn check_end(&self, kernel: &Kernel) -> Checked {
        if kernel.open_streams() > 0 {
            return Err("streams are open after the end".to_owned());
        }
        for (n, (account, peer)) in self.peers.iter().zip(kernel.peers()).enumerate() {
            if account.is_wronged(peer) {
                return Err(format!(
                    "peer {n} did nothing wrong and ended with {:?} and {} of {} bytes",
                    peer.ended, peer.wire.got, peer.wire.sent
                ));
            }
        }
        Ok(())
    }

    /// The open connections, by the numbers of their peers.
    fn open<'a>(
        &'a self,
        kernel: &'a Kernel,
    ) -> impl Iterator<Item = (usize, (&'a Account, &'a Wire))> {
        let wires = kernel.peers().iter().map(|peer| &peer.wire);
        let all = self.peers.iter().zip(wires).enumerate();
        all.filter(|(_, (_, wire))| wire.link == Link::Open)
    }
}

/// The table, the open sockets and the registrations agree.
fn check_table(kernel: &Kernel, observed: &Observation) -> Checked {
    let mut registered: Vec<_> = kernel
        .registrations()
        .map(|(key, peer)| (key, peer.is_some()))
        .collect();
    registered.sort_unstable();
    let table: Vec<_> = observed.table.iter().map(|e| (e.key, e.is_peer)).collect();
    let open = kernel.open_streams();
    let in_table = observed.table.iter().filter(|e| e.is_peer).count();
    if table != registered || open != in_table {
        return Err(format!(
            "the table holds {table:?}, the selector {registered:?} (key, is a peer), and {open} streams are open"
        ));
    }
    Ok(())
}

impl Account {
    /// How many bytes the server has read and not thrown away.
    fn kept(&self, wire: &Wire) -> u64 {
        self.discards_from.unwrap_or(wire.consumed)
    }

    /// How many bytes the server holds of it.
    fn pending(&self, wire: &Wire) -> u64 {
        self.kept(wire) - wire.written
    }

    /// Whether its connection ended well for the server, and not for the peer.
    fn is_wronged(&self, peer: &Peer) -> bool {
        let rude =
            |action: &Action| matches!(action, Action::Reset | Action::Close | Action::Vanish);
        let wire = &peer.wire;
        if peer.script.iter().any(rude) || wire.link != Link::Closed || self.was_timed_out {
            return false;
        }
        let whole = wire.got == wire.sent && peer.ended == Some(Ended::EndOfStream);
        match self.last {
            // It is owed what had arrived when the drain began; what it sent later is its own risk.
            Last::EndOfStream => match self.owed {
                Some(owed) => wire.got < owed,
                None => !whole,
            },
            // Closed by a timer, as `check_close` has found, or turned away; or broken, which it has not done.
            Last::Fine | Last::Broken(_) => false,
        }
    }
}

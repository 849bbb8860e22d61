//! The checks of the server: at each close, after each turn, and at the end.

use std::io::ErrorKind;

use sim::kernel::Kernel;
use sim::observer::Checked;
use sim::peer::{Ended, Peer};
use sim::script::Action;
use sim::wire::{AcceptState, Wire};

use super::account::{Account, Accounts, Causes, Last, Waits};
use super::observation::Observation;
use super::settings::ServerSettings;
use crate::server::stats::Stats;

/// The reason for which the server counts a close.
#[derive(Clone, Copy)]
enum Claim {
    /// The server has counted no close.
    None,
    EndOfStream,
    Reset,
    Failed,
    Idle,
    Stalled,
    Drained,
    Abandoned,
}

/// The time of the lingering close, in milliseconds: the time without input after which the server closes.
fn linger(settings: &ServerSettings) -> u64 {
    let longest = crate::server::event_loop::LINGER.as_millis() as u64;
    longest.min(settings.drain).max(1)
}

impl Accounts {
    /// Checks that the server counts a close for the right reason. The reason is the result of a call, or a timer.
    pub(super) fn check_close(&mut self, kernel: &Kernel, n: usize) -> Checked {
        let claim = self.claim();
        let is_full = kernel.open_streams() > self.settings.max_connections;
        let account = &mut self.peers[n];
        let closed = &mut self.closed;
        let wrong = if account.key.is_none() {
            // `is_full` counts the stream that is being closed too.
            if is_full {
                closed.turned_away += 1;
                None
            } else if account.registration_failed {
                closed.unregistered += 1;
                None
            } else {
                Some("it was turned away although there was room")
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

    /// Returns a description of the violation, if the server had no right to close the connection for this reason.
    fn is_wrong(&self, claim: Claim, kernel: &Kernel, n: usize) -> Option<&'static str> {
        let (account, wire) = (&self.peers[n], kernel.wire(n));
        let (settings, world) = (&self.settings, kernel.world());
        let due = |after: Option<u64>, since: u64| {
            after.is_some_and(|after| kernel.now() - since >= after)
        };
        let outstanding = world.tells_delivery && wire.unacknowledged() > 0;
        let no_reason = "it was closed without a reason";
        let ended = account.last == Last::EndOfStream;
        let broken = matches!(account.last, Last::Broken(_));
        let timed_out = account.last == Last::Broken(ErrorKind::TimedOut);
        match claim {
            Claim::EndOfStream if !ended => Some(no_reason),
            Claim::EndOfStream => {
                let all = wire.written == wire.sent && wire.consumed == wire.sent;
                if !all {
                    Some("it ended its stream, and is closed before its echo is complete")
                } else if outstanding && world.short_read_means_empty() {
                    Some("it ended its stream, and is closed before its echo is delivered")
                } else {
                    None
                }
            }
            Claim::Reset => (!broken || timed_out).then_some(no_reason),
            Claim::Failed if wire.lost_in_the_pipe => None,
            Claim::Failed => {
                let stalled = settings.stall.is_some() && outstanding;
                (!timed_out || stalled).then_some(no_reason)
            }
            // The kernel's timer (`TCP_USER_TIMEOUT`) has ended the connection.
            Claim::Stalled if timed_out => {
                (!outstanding).then_some("it was closed as stalled, but nothing was unacknowledged")
            }
            // The server's own timer. An acknowledgement is progress. If the kernel does not report acknowledgements, a
            // write that moves bytes is progress.
            Claim::Stalled if world.tells_delivery => (!due(settings.stall, wire.acknowledged_at))
                .then_some("it was closed as stalled too early"),
            Claim::Stalled if wire.room(world) > 0 => {
                Some("it was closed as stalled, but there was room again")
            }
            Claim::Stalled => (!due(settings.stall, account.written_at))
                .then_some("it was closed as stalled too early"),
            Claim::Drained if account.discards_from.is_some() && ended => None,
            Claim::Drained if account.discards_from.is_some() => {
                if outstanding {
                    Some("it was closed with bytes in the send queue, before the deadline")
                } else if wire.is_readable() {
                    Some("a timer closed it, but it was readable")
                } else if !due(Some(linger(settings)), account.since) {
                    Some("it was closed before its end of stream, and did not linger")
                } else {
                    None
                }
            }
            // The peer sent nothing, so the server owes no echo, and the drain closes the connection at once.
            Claim::Drained if account.owed != Some(0) || wire.consumed > 0 => Some(no_reason),
            Claim::Drained => {
                (wire.unread() > 0).then_some("it was closed at once, but it was readable")
            }
            Claim::Idle => {
                // An acknowledgement in the first quarter of the timeout belongs to the last echo and does not count.
                let acknowledged = match outstanding {
                    true => settings.idle,
                    false => settings.idle.map(|after| after - after / 4),
                };
                // A peeked byte is not consumed, so it is no progress.
                let since = match account.waits {
                    Waits::Read => account.since,
                    Waits::Write => account.since.min(account.written_at),
                };
                if !due(settings.idle, since) {
                    Some(no_reason)
                } else if account.waits == Waits::Read && !ended && wire.is_readable() {
                    Some("a timer closed it, but it was readable")
                } else if account.waits == Waits::Write && wire.room(world) > 0 {
                    Some("it was closed as idle, but there was room again")
                } else if outstanding && settings.stall.is_some() {
                    Some("it was closed as idle, but its echo was undelivered")
                } else if world.tells_delivery && !due(acknowledged, wire.acknowledged_at) {
                    Some("it was closed as idle, but it had just acknowledged bytes")
                } else {
                    None
                }
            }
            Claim::None | Claim::Abandoned => Some(no_reason),
        }
    }

    /// Returns the server's reason for the current close: the counter that differs from its last value.
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

    /// Checks everything that must hold after each turn. The first check that fails is the violation.
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
        self.check_deadlines(kernel)?;
        self.check_counts(kernel, stats)
    }

    /// Checks the pending writes. Each has at most as many bytes as one read. Together they are within the budget,
    /// and hold exactly the bytes that were read and not written.
    fn check_memory(&mut self, kernel: &Kernel, observed: &Observation) -> Checked {
        self.free_buffers = observed.free_buffers;
        let budget = self.settings.memory.unwrap_or(usize::MAX);
        if observed.in_use > budget {
            let in_use = observed.in_use;
            return Err(format!(
                "{in_use} buffers are in use, and the budget has room for {budget}"
            ));
        }
        let most = self.settings.read_buffer;
        let mut in_all = 0;
        for (n, (account, wire)) in self.open(kernel) {
            let pending = account.pending(wire);
            in_all += pending;
            if pending > most as u64 {
                return Err(format!(
                    "peer {n} has {pending} bytes pending, and a read is at most {most}"
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

    /// Checks that every timer fires in time.
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
            if let Some(after) = after
                && wire.registration.is_some()
                && still >= after
            {
                return Err(format!(
                    "peer {n} made no progress for {still} ms, and the {which} timeout has not fired within {after} ms"
                ));
            }
        }
        Ok(())
    }

    /// Returns the timer that runs for a connection: its name, the longest time until it must have fired (`None`: it is
    /// off), and its start.
    fn timer_of(
        &self,
        account: &Account,
        wire: &Wire,
        kernel: &Kernel,
    ) -> Option<(&'static str, Option<u64>, u64)> {
        let (settings, world) = (&self.settings, kernel.world());
        let outstanding = world.tells_delivery && wire.unacknowledged() > 0;
        // A timer may start a second time before it closes the connection. For the stall timeout, the second sweep
        // closes the connection. Each of the two starts, or of the two sweeps, may be late.
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
            // Without a stall timeout the idle timeout applies, except during a drain, which has its own deadline.
            _ if outstanding
                && (account.discards_from.is_none() || account.last == Last::EndOfStream) =>
            {
                ("idle", twice(settings.idle), account.since.max(progress))
            }
            // The peer has acknowledged everything. The event that reports the room has not arrived yet.
            Waits::Write if world.tells_delivery => return None,
            Waits::Write if settings.stall.is_none() => {
                ("idle", twice(settings.idle), progress.max(blocked_from))
            }
            Waits::Write => ("stall", twice(settings.stall), progress.max(blocked_from)),
            // The end of the stream is an event, so the server will close the connection without a timer.
            Waits::Read if wire.fin => return None,
            // The drain timeout ends this wait.
            Waits::Read if account.discards_from.is_some() && outstanding => return None,
            Waits::Read if account.discards_from.is_some() => {
                let since = account.since.max(progress);
                ("linger", Some(linger(settings)), since)
            }
            // If the peer acknowledged bytes while the timer ran, the timer starts once more.
            Waits::Read if world.tells_delivery => {
                ("idle", twice(settings.idle), account.since.max(progress))
            }
            Waits::Read => ("idle", settings.idle, account.since),
        })
    }

    /// Checks that the server ends a drain, and accepts again after a pause, at most two turns after the deadline.
    fn check_deadlines(&mut self, kernel: &Kernel) -> Checked {
        let now = kernel.now();
        let began = self.drain_began_at.or(kernel.stopped_at());
        let deadline = began.map(|at| at + self.settings.drain);
        let drain_is_due = !self.is_abandoning && deadline.is_some_and(|due| due <= now);
        let accept_is_due = self.accept_due.is_some_and(|due| due <= now);
        let late = |since: u32, is: bool| if is { since + 1 } else { 0 };
        self.drains_late = late(self.drains_late, drain_is_due);
        self.accepts_late = late(self.accepts_late, accept_is_due);
        if self.drains_late > 2 {
            return Err("the drain goes on after its timeout".to_owned());
        }
        if self.accepts_late > 2 {
            return Err("the server does not accept again after its pause".to_owned());
        }
        Ok(())
    }

    /// Checks that no connection exceeds its budget in a turn.
    fn check_budgets(&self) -> Checked {
        for (n, account) in self.peers.iter().enumerate() {
            let events = self
                .reported
                .iter()
                .filter(|key| account.key == Some(**key));
            // The connection is pumped once for each event of its key, even if another connection had the key before.
            // It is also pumped once from the run queue. For each pump, the check allows one read more than the budget.
            let most = (self.settings.turn + 1) * (events.count() + 1);
            let reads = account.reads_in_turn;
            if reads as usize > most {
                return Err(format!(
                    "the server read peer {n} {reads} times in one turn"
                ));
            }
        }
        Ok(())
    }

    /// Checks that the server's statistics agree with the calls that the kernel saw.
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
        let (mut read, mut written, mut discarded) = (0, 0, 0);
        for (account, peer) in self.peers.iter().zip(kernel.peers()) {
            let kept = account.kept(&peer.wire);
            read += kept;
            written += peer.wire.written;
            discarded += peer.wire.consumed - kept;
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
            ("bytes discarded", stats.bytes_discarded, discarded),
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

    /// Checks at the end that every peer got the echo that the server owed it.
    pub(super) fn check_end(&self, kernel: &Kernel) -> Checked {
        if kernel.open_streams() > 0 {
            return Err("streams are open after the end".to_owned());
        }
        for (n, (account, peer)) in self.peers.iter().zip(kernel.peers()).enumerate() {
            if account.lacks_its_echo(peer) {
                return Err(format!(
                    "peer {n} has not got its whole echo: it ended with {:?} and {} of {} bytes",
                    peer.ended, peer.wire.got, peer.wire.sent
                ));
            }
        }
        Ok(())
    }

    /// Returns the open connections, with the numbers of their peers.
    fn open<'a>(
        &'a self,
        kernel: &'a Kernel,
    ) -> impl Iterator<Item = (usize, (&'a Account, &'a Wire))> {
        let wires = kernel.peers().iter().map(|peer| &peer.wire);
        let all = self.peers.iter().zip(wires).enumerate();
        all.filter(|(_, (_, wire))| wire.accept_state == AcceptState::Open)
    }
}

/// Checks that the table, the open sockets and the registrations agree.
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
    /// The number of bytes that the server has read and not discarded.
    fn kept(&self, wire: &Wire) -> u64 {
        self.discards_from.unwrap_or(wire.consumed)
    }

    /// The number of bytes in the connection's pending write.
    fn pending(&self, wire: &Wire) -> u64 {
        self.kept(wire) - wire.written
    }

    /// Whether a part of the echo that the server owed is missing, and neither a timeout nor an error is the reason.
    fn lacks_its_echo(&self, peer: &Peer) -> bool {
        let breaks_off =
            |action: &Action| matches!(action, Action::Reset | Action::Close | Action::Vanish);
        let wire = &peer.wire;
        if peer.script.iter().any(breaks_off)
            || wire.accept_state != AcceptState::Closed
            || self.was_timed_out
        {
            return false;
        }
        let whole = wire.got == wire.sent && peer.ended == Some(Ended::EndOfStream);
        match self.last {
            // During a drain the server owes only the bytes that had arrived when the drain began.
            Last::EndOfStream => match self.owed {
                Some(owed) => wire.got < owed,
                None => !whole,
            },
            // The connection was turned away, or a timer closed it, which `check_close` has accepted. Or it failed, and
            // the server did not cause that.
            Last::Fine | Last::Broken(_) => false,
        }
    }
}

//! What must hold: at each close, after each turn, and at the end.

use std::io::ErrorKind;

use super::counts::Causes;
use super::kernel::Kernel;
use super::peer::{Ended, Last, Link, Peer, Waits};
use super::script::{Action, World};
use crate::server::event_loop::Observation;
use crate::server::stats::Stats;

/// Why a connection is closed, by the server's own words.
#[derive(Clone, Copy)]
enum Claim {
    /// It has not said.
    None,
    EndOfStream,
    Reset,
    Failed,
    Idle,
    Stalled,
    Drained,
    Abandoned,
}

/// Turns that may go by without any change: one for each event that is not awaited, and a few.
const IDLE_TURNS: u64 = 4;

/// More turns than any script needs.
const MOST_TURNS: u64 = 20_000;

/// How long a stream lingers, in milliseconds.
fn linger(world: &World) -> u64 {
    let longest = crate::server::event_loop::LINGER.as_millis() as u64;
    longest.min(world.drain).max(1)
}

impl Kernel {
    /// A connection is closed on what a call returned or by a timer, and by nothing else: whether what the server says of
    /// it is right.
    pub(super) fn tally(&mut self, n: usize) {
        let claim = self.claim();
        let peer = &self.peers[n];
        let world = &self.world;
        let due =
            |after: Option<u64>, since: u64| after.is_some_and(|after| self.now - since >= after);
        let outstanding = world.tells_delivery && peer.untaken() > 0;
        let mut was_abandoned = false;
        let wrong = if peer.key.is_none() {
            // Open streams, this one among them.
            let full = self.open_streams() > world.max_connections;
            if full {
                self.closed.turned_away += 1;
                None
            } else if peer.was_refused_by_the_selector {
                self.closed.unregistered += 1;
                None
            } else {
                Some("it was turned away, and there was room")
            }
        } else if self.abandoning {
            self.closed.abandoned += 1;
            was_abandoned = true;
            let deadline = self.stopped_at.map(|at| at + world.drain);
            let due = deadline.is_some_and(|deadline| self.now >= deadline);
            (!due).then_some("it was abandoned before the drain timeout")
        } else {
            let nothing_had_asked = "it was closed, and nothing had asked for it";
            let ended = peer.last == Last::EndOfStream;
            let broken = matches!(peer.last, Last::Broken(_));
            let timed_out = peer.last == Last::Broken(ErrorKind::TimedOut);
            match claim {
                Claim::EndOfStream if !ended => Some(nothing_had_asked),
                Claim::EndOfStream => {
                    let all = peer.written == peer.sent && peer.consumed == peer.sent;
                    if !all {
                        Some("it ended its stream, and has not got everything")
                    } else if outstanding && world.short_read_is_drained() {
                        Some("it ended its stream, and is closed before its echo is delivered")
                    } else {
                        None
                    }
                }
                Claim::Reset if peer.broken.is_some() && let_pass_on_a_flag() => None,
                Claim::Reset => (!broken || timed_out).then_some(nothing_had_asked),
                Claim::Failed if peer.was_lost_in_the_pipe => None,
                Claim::Failed => {
                    let stalled = world.stall.is_some() && outstanding;
                    (!timed_out || stalled).then_some(nothing_had_asked)
                }
                // The kernel's timer.
                Claim::Stalled if timed_out => {
                    (!outstanding).then_some("it was closed as stalled, and had everything")
                }
                // Ours. What the peer takes counts; where the kernel does not tell that, what the kernel takes.
                Claim::Stalled if world.tells_delivery => (!due(world.stall, peer.acknowledged_at))
                    .then_some("it was closed as stalled before its time"),
                Claim::Stalled if peer.room(world) > 0 => {
                    Some("it was closed as stalled, and there was room again")
                }
                Claim::Stalled => (!due(world.stall, peer.written_at))
                    .then_some("it was closed as stalled before its time"),
                Claim::Drained if peer.discards_from.is_some() && ended => None,
                Claim::Drained if peer.discards_from.is_some() => {
                    if outstanding {
                        Some("it was closed with bytes in the send queue, before the deadline")
                    } else if peer.is_readable() {
                        Some("a timer closed it with something to read")
                    } else if !due(Some(linger(world)), peer.since) {
                        Some("it was closed before its end of stream, and did not linger")
                    } else {
                        None
                    }
                }
                // Nothing was sent and nothing is owed: a drain has nothing to wait for.
                Claim::Drained if peer.owed != Some(0) || peer.consumed > 0 => {
                    Some(nothing_had_asked)
                }
                Claim::Drained => {
                    (peer.unread() > 0).then_some("it was closed at once with something to read")
                }
                Claim::Idle => {
                    // Three quarters, as an echo is acknowledged a while after the timer was started.
                    let acknowledged = match outstanding {
                        true => world.idle,
                        false => world.idle.map(|after| after - after / 4),
                    };
                    // A byte that is only looked at moves nothing.
                    let since = match peer.waits {
                        Waits::Read => peer.since,
                        Waits::Write => peer.since.min(peer.written_at),
                    };
                    if !due(world.idle, since) {
                        Some(nothing_had_asked)
                    } else if peer.waits == Waits::Read && !ended && peer.is_readable() {
                        Some("a timer closed it with something to read")
                    } else if peer.waits == Waits::Write && peer.room(world) > 0 {
                        Some("it was closed as idle, and there was room again")
                    } else if outstanding && world.stall.is_some() {
                        Some("it was closed as idle, and its echo is on its way")
                    } else if world.tells_delivery && !due(acknowledged, peer.acknowledged_at) {
                        Some("it was closed as idle, and it had just acknowledged bytes")
                    } else {
                        None
                    }
                }
                Claim::None | Claim::Abandoned => Some(nothing_had_asked),
            }
        };
        self.peers[n].was_timed_out |= was_abandoned;
        match claim {
            _ if self.peers[n].key.is_none() || self.abandoning => {}
            Claim::EndOfStream => self.closed.end_of_stream += 1,
            Claim::Reset => self.closed.reset += 1,
            Claim::Failed => self.closed.failed += 1,
            Claim::Idle => self.closed.idle += 1,
            Claim::Stalled => {
                self.closed.stalled += 1;
                self.peers[n].was_timed_out = true;
            }
            Claim::Drained => self.closed.drained += 1,
            Claim::None | Claim::Abandoned => {}
        }
        if let Some(wrong) = wrong {
            self.violate(format!("peer {n}: {wrong}"));
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

    pub(super) fn begin_turn(&mut self) {
        self.seen.turns += 1;
        self.progress = false;
        self.keys_freed_in_turn.clear();
        self.keys_reported_in_turn.clear();
        for peer in &mut self.peers {
            peer.reads_in_turn = 0;
        }
    }

    /// Safety.
    pub(super) fn check_turn(&mut self, observed: &Observation, stats: &Stats) {
        self.check_table(observed);
        self.check_memory(observed);
        self.check_timers();
        self.check_pace();
        self.check_what_takes_a_turn();
        self.check_counts(stats);
    }

    /// The table, the open sockets and the registrations agree.
    fn check_table(&mut self, observed: &Observation) {
        let mut registered: Vec<_> = self
            .registrations()
            .map(|(key, peer)| (key, peer.is_some()))
            .collect();
        registered.sort_unstable();
        let table: Vec<_> = observed.table.iter().map(|e| (e.key, e.is_peer)).collect();
        let open = self.open_streams();
        let in_table = observed.table.iter().filter(|e| e.is_peer).count();
        if table != registered || open != in_table {
            self.violate(format!(
                "the table holds {table:?}, the selector {registered:?} (key, is a peer), and {open} streams are open"
            ));
        }
    }

    /// A peer's pending bytes are at most one read, all spills are under their budget, and they hold what was read and
    /// not written.
    fn check_memory(&mut self, observed: &Observation) {
        self.spills_free = observed.spills_free;
        let world = &self.world;
        let budget = world.memory.unwrap_or(usize::MAX);
        if observed.spills_lent > budget {
            let lent = observed.spills_lent;
            self.violate(format!(
                "{lent} spills are lent, and the budget has {budget}"
            ));
            return;
        }
        let mut in_all = 0;
        for (n, peer) in self.peers.iter().enumerate() {
            if peer.link != Link::Open {
                continue;
            }
            let pending = peer.pending();
            in_all += pending;
            if pending > self.world.read_buffer as u64 {
                let most = self.world.read_buffer;
                self.violate(format!(
                    "peer {n} has {pending} bytes pending, and a read is {most}"
                ));
                return;
            }
        }
        if in_all != observed.pending as u64 {
            let counted = observed.pending;
            self.violate(format!(
                "{in_all} bytes were read and not written, and the spills hold {counted}"
            ));
        }
    }

    /// Every timer fires.
    fn check_timers(&mut self) {
        for n in 0..self.peers.len() {
            let now = self.now;
            let peer = &mut self.peers[n];
            match peer.waits {
                Waits::Write => _ = peer.blocked_from.get_or_insert(now),
                Waits::Read => peer.blocked_from = None,
            }
            let peer = &self.peers[n];
            let world = &self.world;
            let outstanding = world.tells_delivery && peer.untaken() > 0;
            // A peer is found by the second look, and each look may be late.
            let twice = |after: Option<u64>| after.map(|after| 2 * (after + self.most_late));
            let progress = match world.tells_delivery {
                true => peer.acknowledged_at,
                false => peer.written_at,
            };
            let blocked_from = peer.blocked_from.unwrap_or(self.now);
            let (which, after, since) = match peer.waits {
                _ if outstanding && world.stall.is_some() => {
                    ("stall", twice(world.stall), progress)
                }
                // Nothing else watches then, but for a drain's deadline.
                _ if outstanding
                    && (peer.discards_from.is_none() || peer.last == Last::EndOfStream) =>
                {
                    ("idle", twice(world.idle), peer.since.max(progress))
                }
                // It has taken everything, and the event that says so is on its way.
                Waits::Write if world.tells_delivery => continue,
                Waits::Write if world.stall.is_none() => {
                    ("idle", twice(world.idle), progress.max(blocked_from))
                }
                Waits::Write => ("stall", twice(world.stall), progress.max(blocked_from)),
                // The end of the stream is an event.
                Waits::Read if peer.fin => continue,
                // The drain's own deadline ends it.
                Waits::Read if peer.discards_from.is_some() && outstanding => continue,
                Waits::Read if peer.discards_from.is_some() => {
                    let since = peer.since.max(progress);
                    ("linger", Some(linger(world)), since)
                }
                // It may have acknowledged bytes while the timer ran, which then ran once more.
                Waits::Read if world.tells_delivery => {
                    ("idle", twice(world.idle), peer.since.max(progress))
                }
                Waits::Read => ("idle", world.idle, peer.since),
            };
            let still = self.now.saturating_sub(since);
            let open = peer.link == Link::Open && peer.registration.is_some();
            if open && after.is_some_and(|after| still >= after) {
                self.violate(format!(
                    "peer {n} has been still for {still} ms, and the {which} timeout of {after:?} ms has not fired"
                ));
            }
        }
    }

    /// To end a drain and to accept again is due in the turn after its time.
    fn check_what_takes_a_turn(&mut self) {
        let began = self.drain_began_at.or(self.stopped_at);
        let drained = began.map(|at| at + self.world.drain);
        let drains = !self.abandoning && drained.is_some_and(|due| due <= self.now);
        let accepts = self.accept_due.is_some_and(|due| due <= self.now);
        let late = |since: u32, is: bool| if is { since + 1 } else { 0 };
        self.drains_late = late(self.drains_late, drains);
        self.accepts_late = late(self.accepts_late, accepts);
        if self.drains_late > 2 {
            self.violate("the drain goes on after its timeout".to_owned());
        }
        if self.accepts_late > 2 {
            self.violate("nobody tries to accept again, and it is time".to_owned());
        }
    }

    /// No turn without progress, and none that does more than its budget.
    fn check_pace(&mut self) {
        self.idle_turns = if self.progress {
            0
        } else {
            self.idle_turns + 1
        };
        // While an echo is on its way, the idle timer expires in vain until the stall timeout decides. Each time its read may
        // re-arm both directions.
        let expiries = match (self.world.idle, self.world.stall) {
            (Some(idle), Some(stall)) => 4 * (2 * stall / idle.max(1) + 2),
            _ => 0,
        };
        let outstanding = self.peers.iter().filter(|peer| peer.untaken() > 0);
        let allowed = IDLE_TURNS
            + 2 * self.registrations().count() as u64
            + expiries * outstanding.count() as u64;
        if self.idle_turns > allowed {
            let turns = self.idle_turns;
            self.violate(format!(
                "a spin: {turns} turns in a row in which nothing happened"
            ));
        }
        if self.seen.turns > MOST_TURNS {
            self.violate(format!("it never ends: {MOST_TURNS} turns"));
        }
        for n in 0..self.peers.len() {
            let peer = &self.peers[n];
            let reported = &self.keys_reported_in_turn;
            let events = reported.iter().filter(|key| peer.key == Some(**key));
            // One pump for each event, be it another's who had the key before, and one for the ready queue. The last
            // read of each finds the budget used up, or nothing.
            let most = (self.world.turn + 1) * (events.count() + 1);
            let reads = peer.reads_in_turn;
            if reads as usize > most {
                self.violate(format!("peer {n} was read {reads} times in one turn"));
            }
        }
    }

    /// What the server counts is what the kernel saw.
    fn check_counts(&mut self, stats: &Stats) {
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
            self.violate(format!(
                "the server counts {counted:?}, and the kernel saw {saw:?}"
            ));
        }
        let sum = |of: fn(&Peer) -> u64| self.peers.iter().map(of).sum::<u64>();
        let read = sum(|peer| peer.discards_from.unwrap_or(peer.consumed));
        let written = sum(|peer| peer.written);
        let thrown_away = sum(|peer| peer.consumed - peer.discards_from.unwrap_or(peer.consumed));
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
            ("open", stats.open, self.open_streams() as u64),
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
                self.violate(format!(
                    "{what}: the server counts {server}, and the kernel saw {kernel}"
                ));
            }
        }
    }

    /// At the end everybody who did nothing wrong has got what was theirs.
    pub(super) fn check_end(&mut self) {
        if self.open_streams() > 0 {
            self.violate("streams are open after the end".to_owned());
        }
        for n in 0..self.peers.len() {
            let peer = &self.peers[n];
            if peer.is_wronged() {
                self.violate(format!(
                    "peer {n} did nothing wrong and ended with {:?} and {} of {} bytes",
                    peer.ended, peer.got, peer.sent
                ));
            }
        }
    }
}

/// With that bug planted, closing on a flag whoever has really gone is let pass, so that only the peer who got the key
/// since is left to be found.
#[cfg(test)]
fn let_pass_on_a_flag() -> bool {
    crate::planted::is(crate::planted::Bug::CloseOnAStaleEvent)
}

#[cfg(not(test))]
fn let_pass_on_a_flag() -> bool {
    false
}

impl Peer {
    /// Bytes that the server holds of it.
    fn pending(&self) -> u64 {
        self.discards_from.unwrap_or(self.consumed) - self.written
    }

    /// Whether its connection ended well for the server, and not for it.
    fn is_wronged(&self) -> bool {
        let rude =
            |action: &Action| matches!(action, Action::Reset | Action::Close | Action::Vanish);
        if self.script.iter().any(rude) || self.link != Link::Closed || self.was_timed_out {
            return false;
        }
        let whole = self.got == self.sent && self.ended == Some(Ended::EndOfStream);
        match self.last {
            // It is owed what had arrived when the drain began; what it sent later is its own risk.
            Last::EndOfStream => match self.owed {
                Some(owed) => self.got < owed,
                None => !whole,
            },
            // Closed by a timer, as `tally` has found, or turned away; or broken, which it has not done.
            Last::Fine | Last::Broken(_) => false,
        }
    }
}

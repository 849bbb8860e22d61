//! The loop: poll → accept → pump → expire → drain.
//!
//! It alone registers, queues, times and removes; the connection, the acceptor and the timeouts only answer. It runs
//! over anything that is a [`Poller`], the kernel or a simulation of it.
//!
//! A turn, in order: wait for events (not at all while somebody has yielded), read the clock once, obey what signals
//! and handles asked, act on each event, give everybody who had yielded one more turn of the budget, look at the
//! connections whose timer has expired.
//!
//! Events are hints, and so are timers; results decide. An event makes the loop try a connection, and so does a timer
//! that expires. Only what a call returns ends a connection: the end of the stream, an error, or no progress since the
//! timer started.

mod accepting;
mod draining;
#[cfg(any(test, fuzzing))]
mod observing;
mod telling;
mod waiting;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Limits;
use super::acceptor::{Acceptor, Complaints};
use super::buffers::Buffers;
use super::connection::{Direction, Progress};
use super::control::Control;
use super::ready::ReadyQueue;
use super::step::{Reason, Step};
use super::sweeps::Sweeps;
use super::table::{Entry, Peer, Table};
use super::timeouts::{Tick, Timeout, Timeouts};
use crate::pipe::Pipe;
use crate::poller::{Event, Poller, Signal};
use crate::stream::Socket;
#[cfg(any(test, fuzzing))]
pub(crate) use observing::Observation;
pub(crate) use telling::PeerWitness;
use telling::tell;

/// One thread's server.
pub(crate) struct EventLoop<P: Poller> {
    poller: P,
    table: Table<P>,
    acceptor: Acceptor,
    timeouts: Timeouts,
    sweeps: Sweeps,
    buffers: Buffers<<P::Stream as Socket>::Pipe>,
    /// When to look which spills lay unused.
    trim_at: Option<Instant>,
    ready: ReadyQueue,
    limits: Limits,
    control: Arc<Control>,
    /// When this turn began, and the same for the timeouts.
    now: Instant,
    tick: Tick,
    report_at: Option<Instant>,
    /// Until when the poll does not wait, as somebody may say more; always `None` unless that is asked for.
    awake_until: Option<Instant>,
    /// When the drain has to be over; `None` while the server serves.
    deadline: Option<Instant>,
    rejections: Complaints,
    refusals: Complaints,
}

impl<P: Poller> EventLoop<P> {
    pub(crate) fn new(poller: P, limits: Limits, control: Arc<Control>) -> EventLoop<P> {
        let now = poller.now();
        let timeouts = Timeouts::new(
            now,
            limits.idle_timeout,
            Some(LINGER.min(limits.drain_timeout)),
            limits.expected,
        );
        let mut buffers = Buffers::new(limits.read_buffer, limits.memory);
        if let Some(bulk) = limits.bulk {
            match <P::Stream as Socket>::Pipe::open() {
                Ok(pipe) => buffers.use_pipe(pipe, bulk),
                Err(error) => log::debug!("bulk is read and written, not spliced: {error}"),
            }
        }
        EventLoop {
            poller,
            table: Table::new(limits.expected),
            acceptor: Acceptor::default(),
            tick: timeouts.tick(now),
            timeouts,
            sweeps: Sweeps::new(limits.stall_timeout),
            buffers,
            trim_at: None,
            ready: ReadyQueue::default(),
            control,
            now,
            report_at: limits.stats_every.map(|every| now + every),
            awake_until: None,
            deadline: None,
            rejections: Complaints::default(),
            refusals: Complaints::default(),
            limits,
        }
    }

    /// The poller, for what is set up before the loop runs.
    pub(crate) fn poller_mut(&mut self) -> &mut P {
        &mut self.poller
    }

    /// Serves this listener too.
    ///
    /// # Errors
    /// The registration's.
    pub(crate) fn listen(&mut self, listener: P::Listener) -> io::Result<()> {
        self.table.add_listener(&mut self.poller, listener)?;
        Ok(())
    }

    /// Turns until it has been asked to stop and the drain is over.
    ///
    /// # Errors
    /// Only the poll's own; no peer can cause one.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.is_over() {
            self.turn(&mut events)?;
        }
        self.abandon_the_rest();
        Ok(())
    }

    /// One turn.
    ///
    /// # Errors
    /// The poll's.
    pub(super) fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.time_to_wait();
        self.poller.poll(events, timeout)?;
        self.now = self.poller.now();
        self.tick = self.timeouts.tick(self.now);
        self.note_poll(events.len(), timeout);
        self.obey();
        // Taken out now: who yields from here on has its next turn in the next round.
        self.ready.begin_round();
        for event in events.iter() {
            self.act_on(*event);
        }
        while let Some(key) = self.ready.next_in_round() {
            self.take_turn(key);
        }
        self.keep_time();
        self.publish_pending();
        Ok(())
    }

    /// What the buffers alone count, for everybody to read.
    fn publish_pending(&self) {
        let (pending, peak) = self.buffers.spills.pending();
        let counters = self.control.counters();
        counters.pending_bytes.set(pending as u64);
        counters.peak_pending_bytes.set(peak as u64);
    }

    fn obey(&mut self) {
        while let Some(signal) = self.poller.signal() {
            match signal {
                Signal::Stop => self.control.stop(),
                Signal::Report => self.report(),
            }
        }
        if self.control.is_stopping() && self.deadline.is_none() {
            self.begin_draining();
        }
    }

    // Inlined, as `pump` below: see the verdicts.
    #[inline(always)]
    fn act_on(&mut self, Event { key, readiness }: Event) {
        match self.table.get_mut(key) {
            // Not an error: the event is older than the removal of what it was about.
            None => {}
            // Who queues already has its turn coming: a second one in this round would not be fair.
            Some(Entry::Listener(_)) if self.ready.has(key) => {}
            Some(Entry::Listener(_)) => self.accept(key),
            Some(Entry::Peer(peer)) => {
                planted!(CloseOnAFlag => if readiness.read_on {
                    return self.close(key, Reason::EndOfStream);
                });
                planted!(CloseOnAStaleEvent => if readiness.says_that_all_is_over() {
                    return self.close(key, Reason::Reset);
                });
                let awaited = peer.connection.notice(readiness);
                if !awaited {
                    self.tell(Some(key), Step::NotAwaited);
                } else if !self.ready.has(key) {
                    self.pump(key);
                }
            }
        }
    }

    fn take_turn(&mut self, key: usize) {
        match self.table.get_mut(key) {
            None => {}
            Some(Entry::Listener(_)) => self.accept(key),
            // A key that was freed and taken again since it queued finds a peer here that has not yielded: its turn
            // costs one call in vain.
            Some(Entry::Peer(_)) => self.pump(key),
        }
    }

    /// Gives a peer its turn.
    #[inline(always)]
    fn pump(&mut self, key: usize) {
        self.pump_within(key, self.limits.turn);
    }

    /// Pumps a peer, which may read so many bytes, and does what its answer asks for.
    #[inline(always)]
    fn pump_within(&mut self, key: usize, budget: usize) -> Pumped {
        let Some(peer) = self.table.peer_mut(key) else {
            return Pumped::Closed;
        };
        let counters = self.control.counters();
        let read_before = counters.reads.get();
        let echoed_before = peer.connection.echoed();
        let progress = peer.connection.pump(
            &mut peer.stream,
            &mut self.buffers,
            budget,
            &mut PeerWitness { counters, key },
        );
        let moved =
            counters.reads.get() != read_before || peer.connection.echoed() != echoed_before;
        let waits_for = wait_of(peer, self.limits.stall_timeout);
        match progress {
            Progress::Finished(reason) => {
                self.close(key, reason);
                return Pumped::Closed;
            }
            Progress::Yielded => {
                planted!(NoReadyQueueAfterYield => return Pumped::Moved);
                self.ready.push(key);
            }
            Progress::Blocked => {}
        }
        match waits_for {
            None => self.timeouts.stop(key),
            Some(timeout) if moved => self.timeouts.restart(key, timeout, self.tick),
            Some(timeout) => self.timeouts.resume(key, timeout, self.tick),
        }
        match moved {
            true => Pumped::Moved,
            false => Pumped::Still,
        }
    }

    /// A timer has expired: tries the connection once more, and closes it only if nothing has moved since the timer
    /// started.
    ///
    /// The loop may be late by more than a timeout: the process was stopped (SIGSTOP, a debugger, a suspended machine), or
    /// more connections were ready than one turn has events for. What the peer did meanwhile lies in the socket.
    #[cold]
    #[inline(never)]
    fn look_again(&mut self, key: usize, timeout: Timeout) {
        planted!(TrustATimer => return self.close(key, reason_of_timer(timeout)));
        // One read is enough to see that the peer has sent something. The rest has its turn in the next round.
        if self.pump_within(key, 1) != Pumped::Still {
            return;
        }
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        if wait_of(peer, self.limits.stall_timeout) != Some(timeout) {
            // It has sent something that cannot go out yet.
            return;
        }
        planted!(IdleWhileItReads => if timeout == Timeout::Idle {
            return self.close(key, Reason::Idle);
        });
        planted!(EndWithOutputInTheKernel => if timeout == Timeout::Linger {
            return self.close(key, Reason::Drained);
        });
        let delivery = peer.stream.delivery();
        let is_outstanding = delivery.is_some_and(|delivery| delivery.is_outstanding);
        let goes_on = match timeout {
            // The sweeps decide on what is undelivered. `pump_within` has started this timer again.
            Timeout::Idle if is_outstanding && self.limits.stall_timeout.is_some() => true,
            Timeout::Idle if is_outstanding => peer.connection.look_at_delivery(delivery).moved,
            Timeout::Idle => {
                planted!(IdleWhileItAcknowledges => return self.close(key, Reason::Idle));
                let idle = self.limits.idle_timeout.unwrap_or_default();
                delivery.is_some_and(|delivery| delivery.since_last_ack < idle - idle / 4)
            }
            // The deadline of the drain bounds how often.
            Timeout::Linger => is_outstanding,
        };
        if !goes_on {
            self.close(key, reason_of_timer(timeout));
        }
    }

    /// Looks at the connections whose turn it is in a sweep, and closes those whose peer has taken nothing since the last.
    fn sweep(&mut self) {
        // A write that finds no room counts too: the peer owes an acknowledgement all the same.
        let counters = self.control.counters();
        let writes = counters.writes.get() + counters.would_blocks.get();
        self.sweeps.count_writes(writes, self.now);
        let table = &self.table;
        for key in self.sweeps.keys(|| table.end(), writes, self.now) {
            self.look_for_a_stall(key);
        }
        self.sweeps.end_turn(self.now);
    }

    fn look_for_a_stall(&mut self, key: usize) {
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        if peer.connection.is_settled() {
            return;
        }
        #[cfg_attr(not(test), allow(unused_mut))]
        let mut delivery = peer.stream.delivery();
        if delivery.is_none() && peer.connection.awaits() == Direction::Write {
            // Only a write tells whether there is room.
            planted!(TrustAStallTimer => return self.close(key, Reason::Stalled));
            if self.pump_within(key, 1) == Pumped::Closed {
                return;
            }
        }
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        planted!(TakeAWriteForProgress => delivery = None);
        let look = peer.connection.look_at_delivery(delivery);
        if look.is_stalled() {
            return self.close(key, Reason::Stalled);
        }
        if look.owing > 0 {
            self.sweeps.come_again();
        }
        // The kernel counts in its own way: it is to be later than the next look.
        planted!(LetTheKernelDecide => return);
        if let Some(after) = self.limits.stall_timeout
            && (look.owing > 0 || look.owing_before > 0)
        {
            peer.stream.give_up_after(kernel_timeout(after, look.owing));
        }
    }

    /// The only end of a connection.
    fn close(&mut self, key: usize, reason: Reason) {
        let Some(Entry::Peer(mut peer)) = self.table.remove(&mut self.poller, key) else {
            return;
        };
        let reason = match reason {
            Reason::Failed(io::ErrorKind::TimedOut) => self.reason_of_time_out(&peer),
            reason => reason,
        };
        if matches!(reason, Reason::Idle | Reason::Abandoned)
            && let Some(after) = self.limits.stall_timeout
        {
            // From here on the kernel alone watches what it holds. It counts from when the peer's window was first closed, so a
            // peer that was seen to read slowly gets its time on top of that.
            let looks = peer.connection.owing();
            peer.stream
                .give_up_after(Some(after.saturating_mul(u32::from(looks) + 2)));
        }
        if reason == Reason::Stalled {
            // Closed in the plain way, the kernel would go on for minutes trying to deliver what nobody takes.
            peer.stream.reset_on_close();
        }
        planted!(KeepTheSpill => peer.connection.forget_what_is_pending());
        peer.connection.release(&mut self.buffers.spills);
        let echoed = peer.connection.echoed();
        self.tell(Some(key), Step::Closed { reason, echoed });
        drop(peer);
        self.timeouts.stop(key);
        let open = self.table.connections();
        self.control.counters().open.set(open as u64);
        // Not for each last one that goes: that would cost a short connection a third more.
        if open == 0 && self.table.most() > self.limits.crowd {
            self.table.shrink();
            self.timeouts.shrink();
        }
        // A descriptor is free again: who waits in the backlog may have it.
        planted!(NoRetryWhenAConnectionCloses => return);
        if self.acceptor.is_paused() {
            self.resume_accepting();
        }
    }

    /// What the kernel means by `ETIMEDOUT`: that the peer has acknowledged nothing of its echo for the stall timeout
    /// (`TCP_USER_TIMEOUT`), or that it has answered no keep-alive. Keep-alive probes are sent only when all has been
    /// acknowledged (Linux, `tcp_keepalive_timer`).
    #[cold]
    fn reason_of_time_out(&self, peer: &Peer<P::Stream>) -> Reason {
        let given = peer.connection.given();
        let owes = peer
            .stream
            .delivery()
            .is_some_and(|delivery| delivery.acknowledged < given);
        match self.limits.stall_timeout {
            Some(_) if owes => Reason::Stalled,
            _ => Reason::Failed(io::ErrorKind::TimedOut),
        }
    }

    /// Everything that is due by now.
    fn keep_time(&mut self) {
        while let Some((key, timeout)) = self.timeouts.expired(self.tick) {
            self.look_again(key, timeout);
        }
        planted!(ForgetTheStallTimer => self.sweeps = Sweeps::new(None));
        self.sweep();
        self.give_memory_back();
        if self.acceptor.retry_at().is_some_and(|at| at <= self.now) {
            self.resume_accepting();
        }
        if self.report_at.is_some_and(|at| at <= self.now) {
            self.report();
            self.report_at = self.limits.stats_every.map(|every| self.now + every);
        }
    }

    /// Free spills that lay unused for [`TRIM_EVERY`] go back to the system. While there are none, no timer runs.
    fn give_memory_back(&mut self) {
        planted!(KeepFreeMemory => return);
        let spills = &mut self.buffers.spills;
        if self.trim_at.is_some_and(|at| at <= self.now) {
            self.trim_at = None;
            spills.begin_to_trim();
        }
        spills.trim();
        match spills.free() {
            0 => self.trim_at = None,
            _ => _ = self.trim_at.get_or_insert(self.now + TRIM_EVERY),
        }
    }

    fn note_poll(&mut self, events: usize, timeout: Option<Duration>) {
        // Of the turn before, as the wait was.
        let awake = self.awake_until.is_some() && timeout == Some(Duration::ZERO);
        if events > 0 {
            self.awake_until = self.limits.busy_poll.map(|awake| self.now + awake);
        } else if self.is_wide_awake() {
            // Not written down: there are hundreds of them.
            return self.control.counters().polls.add(1);
        }
        self.tell(
            None,
            Step::Polled {
                events,
                timeout,
                awake,
            },
        );
    }

    fn report(&self) {
        log::info!("{}", self.control.counters().snapshot());
    }

    fn tell(&self, key: Option<usize>, step: Step<'_>) {
        tell(self.control.counters(), key, step);
    }
}

/// What a pump came to, for the caller that tries a connection because of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Something was read or written.
    Moved,
    /// Nothing was.
    Still,
    /// The connection is closed.
    Closed,
}

/// Why a connection ends when its timer has expired and nothing has moved.
fn reason_of_timer(timeout: Timeout) -> Reason {
    match timeout {
        Timeout::Idle => Reason::Idle,
        Timeout::Linger => Reason::Drained,
    }
}

/// The timeout that a peer is subject to. While something is to be delivered, that is the stall timeout, for which the sweeps
/// watch, and the idle timeout only if there is none.
fn wait_of<S>(peer: &Peer<S>, stall: Option<Duration>) -> Option<Timeout> {
    let owes = peer.connection.awaits() == Direction::Write || peer.connection.is_delivering();
    match (owes, stall) {
        (true, Some(_)) => None,
        (true, None) => Some(Timeout::Idle),
        _ if peer.connection.is_discarding() => Some(Timeout::Linger),
        _ => Some(Timeout::Idle),
    }
}

/// For how long the kernel is to go on by itself with a peer that takes nothing (`TCP_USER_TIMEOUT`), when so many looks in a
/// row, one every `stall` timeout, have found something undelivered.
///
/// Linux counts from when the peer's window was first too small, whatever was acknowledged since. A peer that two looks have
/// seen to read gets [`GRACE`] on top, as the loop may be stopped (a debugger) and then puts nothing off.
fn kernel_timeout(stall: Duration, owing: u8) -> Option<Duration> {
    match owing {
        0 | 1 => Some(stall.saturating_mul(u32::from(owing) + 2)),
        // After so many looks there is no need to put it off again and again.
        u8::MAX => None,
        looks => Some(
            stall
                .saturating_mul(u32::from(looks) + 2)
                .saturating_add(GRACE),
        ),
    }
}

/// A peer that sends nothing for so long after our end of stream has nothing left that could turn our close into a
/// reset. nginx does the same ("lingering_timeout"), with 5 s.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How much longer than the loop's own timers the kernel goes on with a peer that has been seen to read.
const GRACE: Duration = Duration::from_secs(600);

/// A spill that lay unused for so long goes back to the system within as long again.
const TRIM_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

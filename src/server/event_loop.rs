//! The loop: poll, accept, pump, expire, drain.
//!
//! It alone registers, queues, times and removes; the connection, the acceptor and the timeouts only answer. It runs over
//! anything that is a [`Poller`]: the kernel, or a simulation of it.
//!
//! A turn, in order: wait for events (not at all while the run queue holds a key), read the clock once, handle what signals and
//! handles asked for, dispatch each event, give each connection in the run queue one more turn, look at what is due.
//!
//! Events are hints, and so are timers; results decide. An event makes the loop try a connection, and so does a timer that
//! expires. Only what a call returns ends a connection: the end of the stream, an error, or no progress since the timer started.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::pipe::Pipe;
use net::poller::{Event, Poller, Readiness, Signal};
use net::stream::Socket;

use super::acceptor::{Acceptor, AfterFailure};
use super::buffers::Buffers;
use super::connection::{Answer, Direction, Turn};
use super::control::Control;
use super::limits::Limits;
use super::log_limiter::LogLimiter;
use super::run_queue::RunQueue;
use super::sweeps::Sweeps;
use super::table::{Entry, Peer, Table};
use super::timeouts::{Tick, Timeout, Timeouts};
use super::trace::{PeerTracer, Reason, TraceEvent, record};

/// One thread's server.
pub(crate) struct EventLoop<P: Poller> {
    /// The kernel, or a simulation of it.
    poller: P,
    /// Listeners and peers, each under the key that is its token.
    table: Table<P>,
    /// What failures of accept ask for.
    acceptor: Acceptor,
    /// Idle and lingering connections.
    timeouts: Timeouts,
    /// When to look for stalled connections.
    sweeps: Sweeps,
    /// The read buffer, the pipe, and the pending writes of all connections.
    buffers: Buffers<<P::Stream as Socket>::Pipe>,
    /// When to look which free buffers of pending writes lay unused; `None` while there are none.
    trim_at: Option<Instant>,
    /// Keys that must run without a new event.
    run_queue: RunQueue,
    /// What bounds the loop.
    limits: Limits,
    /// What other threads ask for, and the counters that they read.
    control: Arc<Control>,
    /// When this turn began, and the same for the timeouts.
    now: Instant,
    tick: Tick,
    /// When the statistics are logged next; `None` is never.
    report_at: Option<Instant>,
    /// Until when the poll does not wait, as another event is expected; `None` without busy polling.
    busy_until: Option<Instant>,
    /// When the drain must be over; `None` while the server serves.
    deadline: Option<Instant>,
    /// Log lines about connections that were turned away, and about connections that could not be registered.
    turned_away_log: LogLimiter,
    unregistered_log: LogLimiter,
}

impl<P: Poller> EventLoop<P> {
    pub(crate) fn new(poller: P, limits: Limits, control: Arc<Control>) -> EventLoop<P> {
        let now = poller.now();
        let timeouts = Timeouts::new(
            now,
            limits.idle_timeout,
            Some(LINGER.min(limits.drain_timeout)),
            limits.expected_connections,
        );
        let mut buffers = Buffers::new(limits.read_buffer, limits.memory);
        if let Some(threshold) = limits.splice_threshold {
            match <P::Stream as Socket>::Pipe::open() {
                Ok(pipe) => buffers.use_pipe(pipe, threshold),
                Err(error) => log::debug!("bulk is read and written, not spliced: {error}"),
            }
        }
        EventLoop {
            poller,
            table: Table::new(limits.expected_connections),
            acceptor: Acceptor::default(),
            tick: timeouts.tick(now),
            timeouts,
            sweeps: Sweeps::new(limits.stall_timeout),
            buffers,
            trim_at: None,
            run_queue: RunQueue::default(),
            control,
            now,
            report_at: limits.stats_every.map(|every| now + every),
            busy_until: None,
            deadline: None,
            turned_away_log: LogLimiter::default(),
            unregistered_log: LogLimiter::default(),
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

    /// Turns until the server was asked to stop and the drain is over.
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
        let was_busy_polling = self.is_busy_polling();
        self.poller.poll(events, timeout)?;
        self.now = self.poller.now();
        self.tick = self.timeouts.tick(self.now);
        self.record_poll(events.len(), timeout, was_busy_polling);
        self.handle_commands();
        // Before the events: a key that is pushed from here on runs in the next round.
        self.run_queue.begin_round();
        for event in events.iter() {
            self.dispatch(*event);
        }
        while let Some(key) = self.run_queue.next_in_round() {
            self.run_key(key);
        }
        self.expire();
        self.publish_pending();
        Ok(())
    }

    // Waiting.

    /// How long the poll may wait: not at all while there is more to do, otherwise until the first timer.
    fn time_to_wait(&self) -> Option<Duration> {
        // A handle sets its flag and then wakes the poll up. mio's `poll(2)` selector can lose the wake-up: each re-arming
        // empties the descriptor that it was written to. The flag is set by then, so look at it last.
        let must_stop =
            (self.control.is_stopping() && self.deadline.is_none()) || self.control.is_aborted();
        let has_more = !self.run_queue.is_empty()
            || self.sweeps.is_under_way()
            || self.buffers.pending_writes.is_trimming();
        if has_more || must_stop || self.is_busy_polling() {
            return Some(Duration::ZERO);
        }
        self.time_to_first_timer()
    }

    fn time_to_first_timer(&self) -> Option<Duration> {
        let timers = [
            self.timeouts.next(self.now),
            self.sweeps.next(),
            self.acceptor.retry_at(),
            self.report_at,
            self.trim_at,
            self.deadline,
        ];
        let first = timers.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(self.now))
    }

    /// Whether the last event is so recent that the poll does not sleep (`--busy-poll`).
    ///
    /// To wake a sleeping processor takes some tens of microseconds, more in a virtual machine. An event that comes sooner is
    /// served sooner, at the price of a processor that does nothing else meanwhile.
    fn is_busy_polling(&self) -> bool {
        self.busy_until.is_some_and(|until| self.now < until)
    }

    fn record_poll(&mut self, events: usize, timeout: Option<Duration>, busy_polling: bool) {
        if events > 0 {
            self.busy_until = self.limits.busy_poll.map(|time| self.now + time);
        } else if self.is_busy_polling() {
            // Counted and not logged: there are hundreds of them.
            return self.control.counters().polls.add(1);
        }
        self.record(
            None,
            TraceEvent::Polled {
                events,
                timeout,
                busy_polling,
            },
        );
    }

    fn handle_commands(&mut self) {
        while let Some(signal) = self.poller.signal() {
            match signal {
                Signal::Stop => self.control.stop(),
                Signal::Report => self.log_stats(),
            }
        }
        if self.control.is_stopping() && !self.control.is_aborted() && self.deadline.is_none() {
            self.begin_draining();
        }
    }

    // Events.

    // Inlined, as `pump` below: see `net::outcome::attempt`.
    #[inline(always)]
    fn dispatch(&mut self, Event { key, readiness }: Event) {
        match self.table.get_mut(key) {
            // Not an error: the event is older than the removal of what it was about.
            None => {}
            // In the run queue already: a second turn in this round would not be fair.
            Some(Entry::Listener(_)) if self.run_queue.contains(key) => {}
            Some(Entry::Listener(_)) => self.accept(key),
            Some(Entry::Peer(peer)) => {
                let is_awaited = peer.connection.on_readiness(readiness);
                if !is_awaited {
                    self.record(Some(key), TraceEvent::NotAwaited);
                } else if !self.run_queue.contains(key) {
                    self.pump(key, false);
                }
            }
        }
    }

    fn run_key(&mut self, key: usize) {
        match self.table.get_mut(key) {
            None => {}
            Some(Entry::Listener(_)) => self.accept(key),
            // If the key was freed and taken again since it was pushed, its new peer gets a turn that costs one call in vain.
            Some(Entry::Peer(_)) => self.pump(key, true),
        }
    }

    // Connections.

    /// Gives a connection its turn, which may continue one that ended on its budget.
    #[inline(always)]
    fn pump(&mut self, key: usize, continues: bool) {
        let budget = self.limits.turn;
        self.pump_within(key, Turn { budget, continues });
    }

    /// Pumps a connection for this turn, and does what its answer asks for.
    #[inline(always)]
    fn pump_within(&mut self, key: usize, turn: Turn) -> Answer {
        let Some(peer) = self.table.peer_mut(key) else {
            return Answer::Blocked { moved: false };
        };
        let counters = self.control.counters();
        let answer = peer.connection.pump(
            &mut peer.stream,
            &mut self.buffers,
            turn,
            &mut PeerTracer { counters, key },
        );
        let moved = match answer {
            Answer::Finished(reason) => {
                self.close(key, reason);
                return answer;
            }
            Answer::Yielded => {
                self.run_queue.push(key);
                true
            }
            Answer::Blocked { moved } => moved,
        };
        if moved || peer.connection.awaits() == Direction::Write {
            self.sweeps.expect_delivery();
        }
        match timeout_of(peer, self.limits.stall_timeout) {
            None => self.timeouts.stop(key),
            Some(timeout) if moved => self.timeouts.restart(key, timeout, self.tick),
            Some(timeout) => self.timeouts.resume(key, timeout, self.tick),
        }
        answer
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
            // From here on only the kernel's timer ends the connection. Linux starts it when the peer's window first became too
            // small, so a peer that was seen to read slowly gets that time in addition.
            let looks = u32::from(peer.connection.undelivered_looks());
            let time = after.saturating_mul(looks + 2);
            peer.stream.give_up_after(Some(time));
        }
        if reason == Reason::Stalled {
            // After an ordinary close the kernel would try for minutes to deliver what the peer does not take.
            peer.stream.reset_on_close();
        }
        peer.connection.release(&mut self.buffers.pending_writes);
        let echoed = peer.connection.echoed();
        self.record(Some(key), TraceEvent::Closed { reason, echoed });
        drop(peer);
        self.timeouts.stop(key);
        let open = self.table.connections();
        self.control.counters().open.set(open as u64);
        // Only after a crowd: to shrink each time the table becomes empty makes a short connection a third more expensive.
        if open == 0 && self.table.most() > self.limits.crowd {
            self.table.shrink();
            self.timeouts.shrink();
            self.run_queue.shrink();
        }
        // A descriptor is free again, for a connection that waits in a backlog.
        if self.acceptor.is_paused() {
            self.resume_accepting();
        }
    }

    /// What the kernel means by `ETIMEDOUT`: that the peer has acknowledged nothing of its echo for the stall timeout
    /// (`TCP_USER_TIMEOUT`), or that it has answered no keep-alive. Keep-alive probes are sent only when everything has been
    /// acknowledged (Linux, `tcp_keepalive_timer`).
    #[cold]
    fn reason_of_time_out(&self, peer: &Peer<P::Stream>) -> Reason {
        let delivery = peer.stream.delivery();
        let owes = delivery.is_some_and(|delivery| delivery.acknowledged < peer.connection.sent());
        match self.limits.stall_timeout {
            Some(_) if owes => Reason::Stalled,
            _ => Reason::Failed(io::ErrorKind::TimedOut),
        }
    }

    // Accepting.

    /// Takes connections out of a backlog until it is empty or the quota of the turn is used up.
    fn accept(&mut self, key: usize) {
        if self.acceptor.is_paused() {
            self.acceptor.wait(key);
            return;
        }
        for _ in 0..self.limits.accepts_a_turn {
            match self.accept_one(key) {
                None => {}
                Some(AfterFailure::Next) => {}
                Some(AfterFailure::Drained | AfterFailure::Pause) => return,
            }
        }
        self.run_queue.push(key);
    }

    /// Accepts once. Returns what a failure asks for, `None` after a success.
    fn accept_one(&mut self, key: usize) -> Option<AfterFailure> {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return Some(AfterFailure::Drained);
        };
        match self.poller.accept(listener) {
            Ok((stream, name)) => {
                self.acceptor.succeeded();
                self.admit(stream, &name);
                None
            }
            Err(error) => {
                let counters = &self.control.counters().accept_errors;
                Some(self.acceptor.failed(key, &error, self.now, counters))
            }
        }
    }

    /// Gives a new peer its place in the table, or turns it away.
    fn admit(&mut self, stream: P::Stream, name: &P::PeerName) {
        if self.is_full() {
            self.record(
                None,
                TraceEvent::TurnedAway {
                    peer: format_args!("{name}"),
                },
            );
            if let Some(left_out) = self.turned_away_log.allow(self.now) {
                let open = self.table.connections();
                log::warn!(
                    "turned {name} away: {open} connections are open, which is the limit{left_out}"
                );
            }
            return;
        }
        let added = self.table.add_peer(&mut self.poller, stream);
        let key = added.as_ref().ok().copied();
        self.record(
            key,
            TraceEvent::Accepted {
                peer: format_args!("{name}"),
            },
        );
        match added {
            Ok(key) => {
                let counters = self.control.counters();
                let open = self.table.connections() as u64;
                counters.open.set(open);
                counters.peak.set(counters.peak.get().max(open));
                self.timeouts.restart(key, Timeout::Idle, self.tick);
            }
            Err(error) => {
                let reason = Reason::Unregistered(error.kind());
                self.record(None, TraceEvent::Closed { reason, echoed: 0 });
                if let Some(left_out) = self.unregistered_log.allow(self.now) {
                    log::warn!("closed {name}: the selector would not take it: {error}{left_out}");
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        self.table.connections() >= self.limits.max_connections
    }

    /// Ends a pause: listeners whose backlog may hold connections get their turn.
    fn resume_accepting(&mut self) {
        for key in self.acceptor.resume() {
            self.run_queue.push(key);
        }
    }

    // Timers.

    /// Everything that is due by now.
    fn expire(&mut self) {
        // The others are due in the next turn, which does not wait.
        for _ in 0..EXPIRIES_A_TURN {
            let Some((key, timeout)) = self.timeouts.expired(self.tick) else {
                break;
            };
            self.look_again(key, timeout);
        }
        self.sweep();
        self.trim();
        if self.acceptor.retry_at().is_some_and(|at| at <= self.now) {
            self.resume_accepting();
        }
        if self.report_at.is_some_and(|at| at <= self.now) {
            self.log_stats();
            self.report_at = self.limits.stats_every.map(|every| self.now + every);
        }
    }

    /// A timer has expired: tries the connection once more, and closes it only if nothing has moved since the timer started.
    ///
    /// The loop can be late by more than a timeout: the process was stopped (SIGSTOP, a debugger, a suspended machine), or more
    /// connections were ready than one turn has events for. What the peer did meanwhile lies in the socket.
    #[cold]
    #[inline(never)]
    fn look_again(&mut self, key: usize, timeout: Timeout) {
        if let Some(peer) = self.table.peer_mut(key) {
            // A timer comes without a hint. In front of an urgent byte splice(2) says `EAGAIN`, and only a read finds it.
            peer.connection.on_readiness(Readiness {
                read_on: true,
                ..Readiness::default()
            });
        }
        // One read is enough to see that the peer has sent something. The rest has its turn in the next round.
        if self.pump_within(key, ONE_READ) != (Answer::Blocked { moved: false }) {
            return;
        }
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        if timeout_of(peer, self.limits.stall_timeout) != Some(timeout) {
            // The peer has sent something that cannot go out yet.
            return;
        }
        let delivery = peer.stream.delivery();
        let is_outstanding = delivery.is_some_and(|delivery| delivery.is_outstanding);
        let goes_on = match timeout {
            // The sweeps decide on what is undelivered. `pump_within` has started this timer again.
            Timeout::Idle if is_outstanding && self.limits.stall_timeout.is_some() => true,
            Timeout::Idle if is_outstanding => peer.connection.look_at_delivery(delivery).moved,
            // The acknowledgement of the last echo comes a while after the timer was started: it has the first quarter.
            Timeout::Idle => {
                let idle = self.limits.idle_timeout.unwrap_or_default();
                delivery.is_some_and(|delivery| delivery.since_last_ack < idle - idle / 4)
            }
            // The deadline of the drain bounds how often.
            Timeout::Linger => is_outstanding,
        };
        if !goes_on {
            self.close(key, reason_of_expiry(timeout));
        }
    }

    /// Looks at the connections whose turn it is in a sweep, and closes those that are stalled.
    fn sweep(&mut self) {
        self.sweeps.schedule(self.now);
        let table = &self.table;
        for key in self.sweeps.keys(|| table.end(), self.now) {
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
        let delivery = peer.stream.delivery();
        if delivery.is_none() && peer.connection.awaits() == Direction::Write {
            // Only a write tells whether there is room.
            if let Answer::Finished(_) = self.pump_within(key, ONE_READ) {
                return;
            }
        }
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        let look = peer.connection.look_at_delivery(delivery);
        if look.is_stalled() {
            return self.close(key, Reason::Stalled);
        }
        if look.undelivered_looks > 0 {
            self.sweeps.come_again();
        }
        if let Some(after) = self.limits.stall_timeout
            && (look.undelivered_looks > 0 || look.undelivered_looks_before > 0)
        {
            peer.stream
                .give_up_after(kernel_timeout(after, look.undelivered_looks));
        }
    }

    /// Free buffers that lay unused for [`TRIM_EVERY`] go back to the system. While there are none, no timer runs.
    fn trim(&mut self) {
        let pending_writes = &mut self.buffers.pending_writes;
        if self.trim_at.is_some_and(|at| at <= self.now) {
            self.trim_at = None;
            pending_writes.begin_to_trim();
        }
        pending_writes.trim();
        match pending_writes.free() {
            0 => self.trim_at = None,
            _ => _ = self.trim_at.get_or_insert(self.now + TRIM_EVERY),
        }
    }

    // Draining: no new clients, what was received is written out, and then each stream ends.

    /// Closes connections that have sent nothing, accepts the backlogs, closes the listeners, and starts each connection's
    /// final echo.
    fn begin_draining(&mut self) {
        self.deadline = Some(self.now + self.limits.drain_timeout);
        self.close_untouched_connections();
        for key in self.table.listener_keys() {
            self.accept_the_backlog(key);
            drop(self.table.remove(&mut self.poller, key));
        }
        // No listener is left: ends the pause and its timer.
        self.acceptor.resume();
        let connections = self.table.connections();
        log::info!(
            "shutting down: no new clients; writing out what is owed, for at most {:?}; open connections: {connections}",
            self.limits.drain_timeout
        );
        self.close_untouched_connections();
        for key in self.table.peer_keys() {
            if let Some(peer) = self.table.peer_mut(key) {
                let received = peer.stream.received();
                peer.connection.drain(received);
                self.run_queue.push(key);
            }
        }
    }

    /// Nothing was sent and nothing is owed, so there is no echo that a reset could overtake. Their places and descriptors are
    /// free for the backlogs.
    fn close_untouched_connections(&mut self) {
        for key in self.table.peer_keys() {
            if let Some(peer) = self.table.peer_mut(key)
                && peer.connection.is_untouched()
                && peer.stream.received() == 0
            {
                self.close(key, Reason::Drained);
            }
        }
    }

    /// Accepts the connections that were complete when the drain began: closing the listener would reset them. Connections that
    /// come meanwhile are not waited for, or there would be no end.
    fn accept_the_backlog(&mut self, key: usize) {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return;
        };
        let waiting = self.poller.backlog_length(listener);
        let most = waiting.unwrap_or(self.limits.backlog);
        let mut accepted = 0;
        while accepted < most && self.deadline.is_some_and(|at| self.poller.now() < at) {
            match self.accept_one(key) {
                None => accepted += 1,
                Some(AfterFailure::Next) => {}
                Some(AfterFailure::Drained) => return,
                Some(AfterFailure::Pause) => break,
            }
        }
        self.count_what_is_left(key);
    }

    /// Counts the connections in a backlog that cannot be accepted, for want of descriptors, memory or time.
    fn count_what_is_left(&mut self, key: usize) {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return;
        };
        match self.poller.backlog_length(listener) {
            Some(0) => {}
            Some(left) => {
                self.control.counters().left_in_backlog.add(left as u64);
                log::warn!(
                    "connections that waited to be accepted and are closed now, unanswered: {left}"
                );
            }
            None => log::warn!(
                "connections that waited to be accepted may be closed now, unanswered: this kind of socket does not \
                 tell how many"
            ),
        }
    }

    /// Whether the drain is over: every connection is closed, or the deadline has come; or the loop was aborted.
    pub(crate) fn is_over(&self) -> bool {
        let drained = |deadline| self.table.connections() == 0 || self.now >= deadline;
        self.deadline.is_some_and(drained) || self.control.is_aborted()
    }

    /// Closes the connections that are left, at the deadline or after an abort. At the deadline, logs how many bytes are lost.
    pub(crate) fn abandon_the_rest(&mut self) {
        let left = self.table.peer_keys();
        if !left.is_empty() && !self.control.is_aborted() {
            let (unwritten, _) = self.buffers.pending_writes.pending();
            let unacknowledged: u64 = left
                .iter()
                .filter_map(|key| self.unacknowledged(*key))
                .sum();
            log::warn!(
                "the drain timeout has come; connections abandoned: {}, bytes not written: {unwritten}, bytes in the \
                 kernel's queues: {unacknowledged}",
                left.len()
            );
        }
        for key in left {
            self.close(key, Reason::Abandoned);
        }
        self.publish_pending();
    }

    /// Bytes of a peer's echo that its kernel has not acknowledged; `None` where the system does not tell.
    fn unacknowledged(&mut self, key: usize) -> Option<u64> {
        let peer = self.table.peer_mut(key)?;
        let delivery = peer.stream.delivery()?;
        let echoed = peer.connection.echoed();
        Some(echoed.saturating_sub(delivery.acknowledged))
    }

    // Counting.

    /// What the buffers alone count, for other threads to read.
    fn publish_pending(&self) {
        let (pending, peak) = self.buffers.pending_writes.pending();
        let counters = self.control.counters();
        counters.pending_bytes.set(pending as u64);
        counters.peak_pending_bytes.set(peak as u64);
    }

    fn log_stats(&self) {
        log::info!("{}", self.control.counters().snapshot());
    }

    fn record(&self, key: Option<usize>, event: TraceEvent<'_>) {
        record(self.control.counters(), key, event);
    }

    /// What the loop holds, for checks after a turn.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn holdings(&self) -> (&Table<P>, &super::buffers::PendingWrites) {
        (&self.table, &self.buffers.pending_writes)
    }
}

/// The timeout that a connection is subject to. While something is undelivered, that is the stall timeout, for which the sweeps
/// look, and the idle timeout only if there is none.
fn timeout_of<S>(peer: &Peer<S>, stall: Option<Duration>) -> Option<Timeout> {
    let owes = peer.connection.awaits() == Direction::Write || peer.connection.is_delivering();
    match (owes, stall) {
        (true, Some(_)) => None,
        (true, None) => Some(Timeout::Idle),
        _ if peer.connection.is_lingering() => Some(Timeout::Linger),
        _ => Some(Timeout::Idle),
    }
}

/// Why a connection ends when its timer has expired and nothing has moved.
fn reason_of_expiry(timeout: Timeout) -> Reason {
    match timeout {
        Timeout::Idle => Reason::Idle,
        Timeout::Linger => Reason::Drained,
    }
}

/// For how long the kernel goes on by itself with a peer that takes nothing (`TCP_USER_TIMEOUT`), when `undelivered_looks` looks in a row,
/// one every `stall` timeout, have found something undelivered. `None` is the system's default.
///
/// Linux counts from when the peer's window was first too small, whatever was acknowledged since, so it must be later than the
/// next look. A peer that two looks have seen to read gets [`GRACE`] on top, as a loop that is stopped (a debugger) puts nothing
/// off.
fn kernel_timeout(stall: Duration, undelivered_looks: u8) -> Option<Duration> {
    let looks = stall.saturating_mul(u32::from(undelivered_looks) + 2);
    match undelivered_looks {
        0 | 1 => Some(looks),
        // After so many looks there is no need to put it off again and again.
        u8::MAX => None,
        _ => Some(looks.saturating_add(GRACE)),
    }
}

/// Enough to see whether a connection moves.
const ONE_READ: Turn = Turn {
    budget: 1,
    continues: false,
};

/// How many timers may expire in one turn: with up to three system calls for each, about a millisecond.
const EXPIRIES_A_TURN: usize = 1024;

/// A peer that sends nothing for this long after our end of stream has nothing left that could turn our close into a reset.
/// nginx does the same ("lingering_timeout"), with 5 s.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How much longer than the loop's own timers the kernel goes on with a peer that has been seen to read.
const GRACE: Duration = Duration::from_secs(600);

/// A free buffer that lay unused for this long goes back to the system within the same time again.
const TRIM_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

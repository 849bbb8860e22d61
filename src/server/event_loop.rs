//! The event loop: polls, accepts, runs connections, handles timers, and drains at shutdown.
//!
//! Only the loop registers sockets, fills the run queue, starts timers and removes connections. The connection, the
//! acceptor and the timeouts return answers, and the loop acts on them. The loop runs over any [`Poller`]: the kernel,
//! or a simulation of it.
//!
//! One iteration is a turn. Its steps, in order:
//!
//! 1. Wait for events. The poll does not wait while the run queue holds a key.
//! 2. Read the clock, once.
//! 3. Handle the requests of signals and handles.
//! 4. Dispatch each event.
//! 5. Run each connection and listener that was in the run queue before step 4.
//! 6. Handle the timers that have expired.
//!
//! Events and timers are only hints: each makes the loop try a connection. The results of the calls decide. A
//! connection ends at the end of its stream, at an error, or if it has made no progress since its timer started.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::pipe::Pipe;
use net::poller::{Event, Poller, Readiness, Signal};
use net::stream::Socket;

use super::acceptor::{Acceptor, AfterFailure};
use super::buffers::Buffers;
use super::connection::{Answer, Direction, PumpLimits};
use super::control::{Control, Handle};
use super::limits::Limits;
use super::log_limiter::LogLimiter;
use super::run_queue::RunQueue;
use super::sweeps::Sweeps;
use super::table::{Accepted, Entry, Table};
use super::timeouts::{Tick, Timeout, Timeouts};
use super::trace::{PeerTracer, Reason, TraceEvent, record};

/// The server of one thread.
pub(crate) struct EventLoop<P: Poller> {
    /// The kernel, or a simulation of it.
    poller: P,
    /// Listeners and peers, each under the key that is its token.
    table: Table<P>,
    /// Decides what to do after accept(2) failed, and when to accept again.
    acceptor: Acceptor,
    /// The timers of idle and lingering connections.
    timeouts: Timeouts,
    /// Decides when the loop looks for stalled connections.
    sweeps: Sweeps,
    /// The read buffer, the pipe and the pending writes, shared by all connections.
    buffers: Buffers<<P::Stream as Socket>::Pipe>,
    /// When the loop next frees unused buffers of pending writes; `None` while no buffer is free.
    trim_at: Option<Instant>,
    /// Keys of connections and listeners that must run without a new event.
    run_queue: RunQueue,
    /// The limits of the loop: sizes, counts and timeouts.
    limits: Limits,
    /// The requests of other threads, and the counters that they read.
    control: Arc<Control>,
    /// The keys of the listeners that another process has open too.
    passed: Vec<usize>,
    /// The whole server, in the loop that handles its signals and reports its statistics. `None` in the other loops.
    server: Option<Handle>,
    /// When the poll of this turn returned.
    now: Instant,
    /// The same time, as the timeouts count it.
    tick: Tick,
    /// When the statistics are logged next; `None` means never.
    report_at: Option<Instant>,
    /// When the loop wakes up next to show that it runs; `None` means never.
    heartbeat_at: Option<Instant>,
    /// The poll does not wait before this time, because another event is expected soon; `None` without busy polling.
    busy_until: Option<Instant>,
    /// When the drain must be over; `None` before the drain.
    deadline: Option<Instant>,
    /// Limits the log lines about connections that were turned away.
    turned_away_log: LogLimiter,
    /// Limits the log lines about connections that could not be registered.
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
        let mut buffers = Buffers::new(limits.read_buffer, limits.pending_writes.clone());
        if let Some(threshold) = limits.splice_threshold {
            match <P::Stream as Socket>::Pipe::open() {
                Ok(pipe) => buffers.use_pipe(pipe, threshold),
                Err(error) => {
                    log::debug!("splicing is off, because the pipe cannot be opened: {error}")
                }
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
            passed: Vec::new(),
            server: None,
            now,
            report_at: limits.stats_every.map(|every| now + every),
            heartbeat_at: limits.heartbeat.map(|every| now + every),
            busy_until: None,
            deadline: None,
            turned_away_log: LogLimiter::default(),
            unregistered_log: LogLimiter::default(),
            limits,
        }
    }

    /// Makes this loop handle the signals of the server and report its statistics.
    pub(crate) fn lead(&mut self, server: Handle) {
        self.server = Some(server);
    }

    /// Returns the poller, for settings before the loop runs.
    pub(crate) fn poller_mut(&mut self) -> &mut P {
        &mut self.poller
    }

    /// Adds a listener.
    ///
    /// # Errors
    /// Those of the registration with the poller.
    pub(crate) fn listen(&mut self, listener: P::Listener) -> io::Result<()> {
        self.table.add_listener(&mut self.poller, listener)?;
        Ok(())
    }

    /// Adds a listener that another process has open too. At a shutdown its backlog is left to the next server.
    ///
    /// # Errors
    /// Those of the registration with the poller.
    pub(crate) fn listen_on_passed(&mut self, listener: P::Listener) -> io::Result<()> {
        let key = self.table.add_listener(&mut self.poller, listener)?;
        self.passed.push(key);
        Ok(())
    }

    /// Runs turns until the server was asked to stop and the drain is over.
    ///
    /// # Errors
    /// Those of the poll call. No peer can cause one.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.is_over() {
            self.turn(&mut events)?;
        }
        self.abandon_the_rest();
        Ok(())
    }

    /// Runs one turn.
    ///
    /// # Errors
    /// Those of the poll call.
    pub(super) fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.time_to_wait();
        let was_busy_polling = self.is_busy_polling();
        self.poller.poll(events, timeout)?;
        self.now = self.poller.now();
        self.tick = self.timeouts.tick(self.now);
        self.record_poll(events.len(), timeout, was_busy_polling);
        self.handle_commands();
        // Must come before the events: a key that is pushed after this call runs in the next turn.
        self.run_queue.begin_turn();
        for event in events.iter() {
            self.dispatch(*event);
        }
        while let Some(key) = self.run_queue.next_in_turn() {
            self.run_key(key);
        }
        self.expire();
        self.publish_pending();
        if self.limits.turn_histograms {
            let duration = self.poller.now().saturating_duration_since(self.now);
            self.control.turns().record(duration, events.len());
        }
        Ok(())
    }

    // Waiting.

    /// Returns the longest time that the poll may wait: zero while the loop has more work, otherwise the time until the
    /// first timer. `None` means without limit.
    fn time_to_wait(&self) -> Option<Duration> {
        // A handle sets its flag, and then wakes the poll up by a write to a descriptor. mio's `poll(2)` selector
        // empties that descriptor each time it re-arms a source, so it can lose the wake-up. The flag is set before the
        // wake-up, so the loop reads the flag right before each poll.
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
            self.heartbeat_at,
            self.trim_at,
            self.deadline,
        ];
        let first = timers.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(self.now))
    }

    /// Returns true if the last event is so recent that the poll must not sleep (`--busy-poll`).
    ///
    /// A sleeping processor takes some tens of microseconds to wake up, and more in a virtual machine. Without the
    /// sleep the next event is handled earlier. The cost is a processor that does nothing else in this time.
    fn is_busy_polling(&self) -> bool {
        self.busy_until.is_some_and(|until| self.now < until)
    }

    fn record_poll(&mut self, events: usize, timeout: Option<Duration>, busy_polling: bool) {
        if events > 0 {
            self.busy_until = self.limits.busy_poll.map(|time| self.now + time);
        } else if self.is_busy_polling() {
            // Busy polling makes hundreds of polls without an event. They are counted, but not logged.
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
                Signal::Stop => match &self.server {
                    Some(server) => server.shutdown(),
                    None => self.control.stop(),
                },
                Signal::Report => self.log_stats(),
            }
        }
        if self.control.is_stopping() && !self.control.is_aborted() && self.deadline.is_none() {
            self.begin_draining();
        }
    }

    // Events.

    // Inlined, as is `pump` below, for the reason at `net::outcome::attempt`.
    #[inline(always)]
    fn dispatch(&mut self, Event { key, readiness }: Event) {
        match self.table.get_mut(key) {
            // Not an error: the connection was removed after the poll had returned this event.
            None => {}
            // The listener is in the run queue and runs later in this turn. To run it twice would not be fair.
            Some(Entry::Listener(_)) if self.run_queue.contains(key) => {}
            Some(Entry::Listener(_)) => self.accept(key),
            Some(Entry::Accepted(peer)) => {
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
            // Since the key was pushed, a new peer may have got it. Its connection then runs too early, which costs one
            // call without a result.
            Some(Entry::Accepted(_)) => self.pump(key, true),
        }
    }

    // Connections.

    /// Runs a connection within the budget of this turn. `continues` is true if the connection used up its budget in
    /// the turn before.
    #[inline(always)]
    fn pump(&mut self, key: usize, continues: bool) {
        let budget = self.limits.turn_budget;
        self.pump_within(key, PumpLimits { budget, continues });
    }

    /// Runs a connection within the given budget, and acts on its answer.
    #[inline(always)]
    fn pump_within(&mut self, key: usize, turn: PumpLimits) -> Answer {
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

    /// Closes a connection. Every registered connection ends here.
    fn close(&mut self, key: usize, reason: Reason) {
        let Some(Entry::Accepted(mut peer)) = self.table.remove(&mut self.poller, key) else {
            return;
        };
        let reason = match reason {
            Reason::Failed(io::ErrorKind::TimedOut) => self.reason_of_time_out(&peer),
            reason => reason,
        };
        if matches!(reason, Reason::Idle | Reason::Abandoned)
            && let Some(after) = self.limits.stall_timeout
        {
            // From here on, only the kernel's timer ends the connection (`TCP_USER_TIMEOUT`). Linux counts it from the
            // moment when the peer's window first became too small. For a slow reader that moment is long ago, so the
            // timer gets one more stall timeout for each look that found undelivered bytes.
            let looks = u32::from(peer.connection.undelivered_looks());
            let time = after.saturating_mul(looks + 2);
            peer.stream.give_up_after(Some(time));
        }
        if reason == Reason::Stalled {
            // After an ordinary close, the kernel would try for minutes to deliver bytes that the peer does not accept.
            peer.stream.reset_on_close();
        }
        peer.connection.release(&mut self.buffers.pending_writes);
        self.limits.connections.release();
        let echoed = peer.connection.echoed();
        self.record(Some(key), TraceEvent::Closed { reason, echoed });
        drop(peer);
        self.timeouts.stop(key);
        let open = self.table.connections();
        self.control.counters().open.set(open as u64);
        // Shrinks only after many connections were open at the same time. To shrink whenever the table becomes empty
        // would make a short connection a third more expensive.
        if open == 0 && self.table.most() > self.limits.shrink_above {
            self.table.shrink();
            self.timeouts.shrink();
            self.run_queue.shrink();
        }
        // The close has freed a descriptor. A connection that waits in a backlog can use it.
        if self.acceptor.is_paused() {
            self.resume_accepting();
        }
    }

    /// Finds the reason behind the kernel's `ETIMEDOUT`, which has two causes. Either the peer has acknowledged nothing
    /// of its echo for the stall timeout (`TCP_USER_TIMEOUT`), or it has not answered the keep-alive probes. Linux
    /// sends these probes only after the peer has acknowledged everything (`tcp_keepalive_timer`).
    #[cold]
    fn reason_of_time_out(&self, peer: &Accepted<P::Stream>) -> Reason {
        let delivery = peer.stream.delivery();
        let is_undelivered =
            delivery.is_some_and(|delivery| delivery.acknowledged < peer.connection.sent());
        match self.limits.stall_timeout {
            Some(_) if is_undelivered => Reason::Stalled,
            _ => Reason::Failed(io::ErrorKind::TimedOut),
        }
    }

    // Accepting.

    /// Accepts connections from a backlog until it is empty or the listener's quota of this turn is used up.
    fn accept(&mut self, key: usize) {
        if self.acceptor.is_paused() {
            self.acceptor.wait(key);
            return;
        }
        for _ in 0..self.limits.accepts_a_turn {
            match self.accept_one(key) {
                None => {}
                Some(AfterFailure::Next) => {}
                Some(AfterFailure::BacklogEmpty | AfterFailure::Pause) => return,
            }
        }
        self.run_queue.push(key);
    }

    /// Accepts once. After a failure, returns what to do next; after a success, `None`.
    fn accept_one(&mut self, key: usize) -> Option<AfterFailure> {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return Some(AfterFailure::BacklogEmpty);
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

    /// Adds a new peer to the table, or turns it away if the table is full.
    fn admit(&mut self, stream: P::Stream, name: &P::PeerName) {
        if !self.limits.connections.take() {
            self.record(
                None,
                TraceEvent::TurnedAway {
                    peer: format_args!("{name}"),
                },
            );
            if let Some(left_out) = self.turned_away_log.allow(self.now) {
                let open = match self.limits.connections.in_use() {
                    1 => "1 connection is open".to_owned(),
                    n => format!("{n} connections are open"),
                };
                log::warn!("turned {name} away: {open}, which is the limit{left_out}");
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
                self.limits.connections.release();
                let reason = Reason::Unregistered(error.kind());
                self.record(None, TraceEvent::Closed { reason, echoed: 0 });
                if let Some(left_out) = self.unregistered_log.allow(self.now) {
                    log::warn!(
                        "closed {name}: the selector did not register it: {error}{left_out}"
                    );
                }
            }
        }
    }

    /// Ends a pause: puts the listeners whose backlog may hold connections into the run queue.
    fn resume_accepting(&mut self) {
        for key in self.acceptor.resume() {
            self.run_queue.push(key);
        }
    }

    // Timers.

    /// Handles the timers that have expired by now.
    fn expire(&mut self) {
        // The next turn handles the expired timers beyond this number. Its poll does not wait, because they are due.
        for _ in 0..EXPIRIES_A_TURN {
            let Some((key, timeout)) = self.timeouts.expired(self.tick) else {
                break;
            };
            self.check_expired_timer(key, timeout);
        }
        self.sweep();
        self.trim();
        if self.acceptor.retry_at().is_some_and(|at| at <= self.now) {
            self.resume_accepting();
        }
        if self.heartbeat_at.is_some_and(|at| at <= self.now) {
            // The poll has counted this turn.
            self.heartbeat_at = self.limits.heartbeat.map(|every| self.now + every);
        }
        if self.report_at.is_some_and(|at| at <= self.now) {
            self.log_stats();
            self.report_at = self.limits.stats_every.map(|every| self.now + every);
        }
    }

    /// Handles an expired timer: tries the connection once more, and closes it only if no byte has moved since the
    /// timer started.
    ///
    /// The loop can be late by more than a timeout. The process may have been stopped (SIGSTOP, a debugger, a suspended
    /// machine), or one poll did not return the events of all ready connections. The socket may then hold bytes that
    /// the peer has sent in time.
    #[cold]
    #[inline(never)]
    fn check_expired_timer(&mut self, key: usize, timeout: Timeout) {
        if let Some(peer) = self.table.peer_mut(key) {
            // A timer has no hints, so the loop sets this one. In front of an urgent byte splice(2) returns `EAGAIN`,
            // and only a read finds the byte.
            peer.connection.on_readiness(Readiness {
                read_on: true,
                ..Readiness::default()
            });
        }
        // One read shows whether the peer has sent bytes. If there are more, the connection runs again next turn.
        if self.pump_within(key, ONE_READ) != (Answer::Blocked { moved: false }) {
            return;
        }
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        if timeout_of(peer, self.limits.stall_timeout) != Some(timeout) {
            // The peer has sent bytes whose echo cannot be written yet, so another timeout applies now.
            return;
        }
        let delivery = peer.stream.delivery();
        let is_outstanding = delivery.is_some_and(|delivery| delivery.is_outstanding);
        let goes_on = match timeout {
            // While bytes are undelivered, the sweeps decide. `pump_within` has started the idle timer again.
            Timeout::Idle if is_outstanding && self.limits.stall_timeout.is_some() => true,
            Timeout::Idle if is_outstanding => peer.connection.look_at_delivery(delivery).moved,
            // The peer's kernel acknowledges the last echo some time after the idle timer has started. An
            // acknowledgement in the first quarter of the timeout belongs to that echo and does not count. A later one
            // keeps the connection open.
            Timeout::Idle => {
                let idle = self.limits.idle_timeout.unwrap_or_default();
                delivery.is_some_and(|delivery| delivery.since_last_ack < idle - idle / 4)
            }
            // The timer starts again until everything is acknowledged, or until the deadline of the drain.
            Timeout::Linger => is_outstanding,
        };
        if !goes_on {
            self.close(key, reason_of_expiry(timeout));
        }
    }

    /// Continues the sweep that is due or under way: closes stalled connections among the next keys.
    fn sweep(&mut self) {
        self.sweeps.schedule(self.now);
        let table = &self.table;
        for key in self.sweeps.keys(|| table.end(), self.now) {
            self.check_for_a_stall(key);
        }
        self.sweeps.end_turn(self.now);
    }

    /// Closes a connection if it is stalled. Otherwise adjusts the kernel's own timer for it.
    fn check_for_a_stall(&mut self, key: usize) {
        let Some(peer) = self.table.peer_mut(key) else {
            return;
        };
        if peer.connection.is_all_delivered() {
            return;
        }
        let delivery = peer.stream.delivery();
        if delivery.is_none() && peer.connection.awaits() == Direction::Write {
            // Without delivery information, only a write shows whether the kernel accepts more bytes.
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
            self.sweeps.request_another();
        }
        if let Some(after) = self.limits.stall_timeout
            && (look.undelivered_looks > 0 || look.undelivered_looks_before > 0)
        {
            peer.stream
                .give_up_after(kernel_timeout(after, look.undelivered_looks));
        }
    }

    /// Frees buffers of pending writes that were unused for [`TRIM_EVERY`]. The timer runs only while there
    /// are free buffers.
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

    // Draining: the server accepts no new clients, writes the echo of the received bytes, and then ends each stream.

    /// Starts the drain: closes the connections that have sent nothing, accepts the backlogs, closes the listeners, and
    /// starts the final echo of each connection.
    fn begin_draining(&mut self) {
        self.deadline = Some(self.now + self.limits.drain_timeout);
        self.close_untouched_connections();
        for key in self.table.listener_keys() {
            // A passed socket stays open elsewhere, and so the kernel keeps its backlog.
            if !self.passed.contains(&key) {
                self.accept_the_backlog(key);
            }
            drop(self.table.remove(&mut self.poller, key));
        }
        // No listener is left, so a pause and its timer must end.
        self.acceptor.resume();
        let connections = self.table.connections();
        let limit = match self.limits.drain_timeout {
            // Duration's `Debug` prints zero as `0ns`.
            Duration::ZERO => "0s".to_owned(),
            timeout => format!("{timeout:?}"),
        };
        log::info!(
            "shutting down: accepting no new clients; writing the rest of the echo, for at most {limit}; open \
             connections: {connections}"
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

    /// Closes the connections whose peers have sent nothing. They have no echo that a reset could overtake. Their table
    /// entries and descriptors become free for the connections in the backlogs.
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

    /// Accepts the connections that were in the backlog when the drain began: a close of the listener would reset them.
    /// The loop accepts no more than that number, because new connections may come without end.
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
                Some(AfterFailure::BacklogEmpty) => return,
                Some(AfterFailure::Pause) => break,
            }
        }
        self.count_what_is_left(key);
    }

    /// Counts the connections that are left in a backlog. Either descriptors, memory or time ran out, or they arrived
    /// after the drain began.
    fn count_what_is_left(&mut self, key: usize) {
        let Some(Entry::Listener(listener)) = self.table.get_mut(key) else {
            return;
        };
        match self.poller.backlog_length(listener) {
            Some(0) => {}
            Some(left) => {
                self.control.counters().left_in_backlog.add(left as u64);
                log::warn!(
                    "a listener is closed; connections in its backlog that are reset without an echo: {left}"
                );
            }
            None => log::warn!(
                "a listener is closed, and connections in its backlog may be reset without an echo: for this kind of \
                 socket the system does not report their number"
            ),
        }
    }

    /// Returns true if the loop must end: every connection is closed in the drain, its deadline has passed, or the loop
    /// was aborted.
    pub(crate) fn is_over(&self) -> bool {
        let drained = |deadline| self.table.connections() == 0 || self.now >= deadline;
        self.deadline.is_some_and(drained) || self.control.is_aborted()
    }

    /// Closes the remaining connections, at the deadline or after an abort. At the deadline, logs how many bytes may be
    /// lost.
    pub(crate) fn abandon_the_rest(&mut self) {
        let left = self.table.peer_keys();
        if !left.is_empty() && !self.control.is_aborted() {
            let (unwritten, _) = self.buffers.pending_writes.pending();
            let unacknowledged: u64 = left
                .iter()
                .filter_map(|key| self.unacknowledged(*key))
                .sum();
            log::warn!(
                "the drain timeout has passed; connections abandoned: {}, bytes not written: {unwritten}, bytes \
                 written and not acknowledged: {unacknowledged}",
                left.len()
            );
        }
        for key in left {
            self.close(key, Reason::Abandoned);
        }
        self.publish_pending();
    }

    /// Returns how many written bytes of the echo the peer's kernel has not acknowledged; `None` where the system does
    /// not report acknowledgements.
    fn unacknowledged(&mut self, key: usize) -> Option<u64> {
        let peer = self.table.peer_mut(key)?;
        let delivery = peer.stream.delivery()?;
        let echoed = peer.connection.echoed();
        Some(echoed.saturating_sub(delivery.acknowledged))
    }

    // Counting.

    /// Copies the counts of the buffers into the counters, where other threads can read them.
    fn publish_pending(&self) {
        let (pending, peak) = self.buffers.pending_writes.pending();
        let counters = self.control.counters();
        counters.pending_bytes.set(pending as u64);
        counters.peak_pending_bytes.set(peak as u64);
    }

    fn log_stats(&self) {
        match &self.server {
            Some(server) => server.log_stats(),
            None => log::info!("{}", self.control.counters().snapshot()),
        }
    }

    fn record(&self, key: Option<usize>, event: TraceEvent<'_>) {
        record(self.control.counters(), key, event);
    }

    /// Returns the table and the pending writes, for checks after a turn.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn holdings(&self) -> (&Table<P>, &super::buffers::PendingWrites) {
        (&self.table, &self.buffers.pending_writes)
    }
}

/// Returns the timeout that applies to a connection now. While a write is blocked or the connection only waits for
/// acknowledgements, the stall timeout applies. The sweeps check it without a timer, so the result is `None`. If the
/// stall timeout is off, the idle timeout applies instead.
fn timeout_of<S>(peer: &Accepted<S>, stall: Option<Duration>) -> Option<Timeout> {
    let is_undelivered =
        peer.connection.awaits() == Direction::Write || peer.connection.is_delivering();
    match (is_undelivered, stall) {
        (true, Some(_)) => None,
        (true, None) => Some(Timeout::Idle),
        _ if peer.connection.is_lingering() => Some(Timeout::Linger),
        _ => Some(Timeout::Idle),
    }
}

/// Returns the reason of a connection that is closed because its timer has expired.
fn reason_of_expiry(timeout: Timeout) -> Reason {
    match timeout {
        Timeout::Idle => Reason::Idle,
        Timeout::Linger => Reason::Drained,
    }
}

/// Returns the kernel's own time limit for a peer that accepts nothing (`TCP_USER_TIMEOUT`); `None` is the system's
/// default. `undelivered_looks` is the number of looks in a row that found undelivered bytes. The loop looks once in
/// each `stall` timeout.
///
/// Linux counts from the moment when the peer's window first became too small, even if bytes were acknowledged since
/// then. So the limit must end later than the next look, which sets it again. A peer whose kernel has acknowledged
/// bytes between two looks gets [`GRACE`] in addition: a loop that is stopped (by a debugger) cannot set the limit
/// again.
fn kernel_timeout(stall: Duration, undelivered_looks: u8) -> Option<Duration> {
    let looks = stall.saturating_mul(u32::from(undelivered_looks) + 2);
    match undelivered_looks {
        0 | 1 => Some(looks),
        // The count of looks stops at 255. From then on the system's default is enough.
        u8::MAX => None,
        _ => Some(looks.saturating_add(GRACE)),
    }
}

/// A budget of one read, enough to see whether the peer has sent bytes.
const ONE_READ: PumpLimits = PumpLimits {
    budget: 1,
    continues: false,
};

/// The number of timers that may expire in one turn. Each takes up to three system calls, so all take about a
/// millisecond.
const EXPIRIES_A_TURN: usize = 1024;

/// How long a lingering connection waits for the peer's next bytes. Bytes that arrive after our close cause a reset. A
/// peer that is silent for this time after our end of stream probably sends no more bytes. nginx does the same with 5 s
/// (`lingering_timeout`).
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The time that [`kernel_timeout`] adds for a peer whose kernel has acknowledged bytes between two looks.
const GRACE: Duration = Duration::from_secs(600);

/// The interval at which unused buffers are freed. A buffer goes back to the system when it was unused for one to two
/// intervals.
const TRIM_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

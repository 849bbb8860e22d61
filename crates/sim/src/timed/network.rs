//! The network: the connections between the two hosts, the events to come, and the order in which the hosts run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use net::connect::{Attempt, ThreadTimes};
use net::poller::{Event, Readiness, Signal};

use super::behaviour::{After, Server};
use super::flow::Flow;
use super::host::{Host, Source};
use super::ledger::{ConnectionLedger, Ledger};
use super::settings::{Behaviour, Costs, Injection, Link, NetworkSettings};

/// Two hosts and the connections between them. A clone is a handle of the same network.
#[derive(Clone, Debug)]
pub struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when a clock has moved and the other host may be the next to run.
    moved: Condvar,
}

/// The number of the client's host, and of the client's end of a connection.
pub(super) const CLIENT: usize = 0;
/// The number of the server's host, and of the server's end of a connection.
pub(super) const SERVER: usize = 1;

/// The state of the network.
#[derive(Debug)]
pub(super) struct State {
    costs: Costs,
    link: Link,
    send_buffer: usize,
    receive_buffer: usize,
    message: u64,
    accepts: usize,
    most_events: usize,
    hosts: [Host; 2],
    connections: Vec<Connection>,
    /// The events to come: time, sequence number, event.
    events: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    /// The number of events so far. It keeps events of the same time in order.
    sequence: u64,
    /// The server that is part of the kernel.
    server: Option<Server>,
    listener: Listener,
    ledger: Ledger,
    /// The moment at which the network's clock was 0.
    zero: Instant,
}

/// The listening socket of the server's program.
#[derive(Debug, Default)]
struct Listener {
    /// The key of its registration.
    key: Option<usize>,
    /// The connections that wait to be accepted.
    backlog: VecDeque<usize>,
    /// Whether it is in the ready list.
    is_ready: bool,
    /// Whether the program has closed it. Before it listens, attempts wait.
    is_closed: bool,
}

/// A connection, with the ends of both hosts.
#[derive(Debug, Default)]
struct Connection {
    /// The direction from each end to the other one.
    flows: [Flow; 2],
    ends: [End; 2],
    /// Whether the client's handshake is over.
    is_established: bool,
    /// Bytes that the built-in server has read and not begun to serve: the start of a message that is not complete.
    unserved: usize,
    /// How many bytes the server has echoed.
    echoed: u64,
    /// Whether the server that is part of the kernel echoes nothing more.
    is_silent: bool,
}

/// One end of a connection.
#[derive(Debug, Default)]
struct End {
    /// The key of its registration.
    key: Option<usize>,
    /// Whether it is in the ready list.
    is_ready: bool,
    /// Whether the program has closed it.
    is_closed: bool,
    /// Whether the peer has reset the connection.
    is_reset: bool,
    /// Whether a call has returned the reset. Later reads return the end of the stream, and later writes `EPIPE`.
    reset_is_reported: bool,
    /// Whether the close resets the connection (`SO_LINGER` of 0).
    resets_on_close: bool,
}

/// An event to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// Bytes arrive in the receive queue of this end.
    Arrive {
        connection: usize,
        to: usize,
        n: usize,
    },
    /// The server has served `n` bytes.
    Served { connection: usize, n: usize },
    /// The end of the stream arrives at this end.
    End { connection: usize, to: usize },
    /// A reset arrives at this end.
    Reset { connection: usize, to: usize },
    /// An acknowledgement may have made room in the send buffer of this end.
    Room { connection: usize, from: usize },
    /// A read of the peer may let this end send held bytes.
    Window { connection: usize, from: usize },
    /// A connection attempt arrives at the server's host.
    Attempt { connection: usize },
    /// The handshake is over on the client's side.
    Established { connection: usize },
    /// The server's program gets a signal to stop.
    Stop,
}

impl Network {
    /// Makes a network. Its clock starts at 1 ns.
    #[must_use]
    pub fn new(settings: NetworkSettings) -> Network {
        let NetworkSettings {
            costs,
            link,
            send_buffer,
            receive_buffer,
            message,
            accepts,
            most_events,
            server,
            pauses,
            injections,
            stalls,
        } = settings;
        assert!(message > 0 && link.segment > 0 && send_buffer > 0 && receive_buffer > 0);
        assert!(most_events > 0);
        let mut hosts = [(); 2].map(|()| Host {
            clock_ns: 1,
            ..Host::default()
        });
        hosts[CLIENT].stalls = stalls.into();
        let server = server.map(|behaviour: Behaviour| {
            Server::new(behaviour, pauses, injections as Vec<Injection>)
        });
        #[allow(
            clippy::disallowed_methods,
            reason = "an Instant has no constant; only differences from it are used"
        )]
        let zero = Instant::now();
        Network(Arc::new(Shared {
            state: Mutex::new(State {
                costs,
                link,
                send_buffer,
                receive_buffer,
                message,
                accepts,
                most_events,
                hosts,
                connections: Vec::new(),
                events: BinaryHeap::new(),
                sequence: 0,
                server,
                listener: Listener::default(),
                ledger: Ledger::default(),
                zero,
            }),
            moved: Condvar::new(),
        }))
    }

    /// Gives the server's program [`Signal::Stop`] at this time. Call this before the programs run.
    pub fn stop_server_at(&self, at_ns: u64) {
        self.state().schedule(at_ns, Happening::Stop);
    }

    /// Takes the ledger, after the programs have ended.
    #[must_use]
    pub fn take_ledger(&self) -> Ledger {
        let mut state = self.state();
        let (busy_ns, run_queue_ns) = {
            let client = &state.hosts[CLIENT];
            (client.busy_ns, client.run_queue_ns)
        };
        Ledger {
            busy_ns,
            run_queue_ns,
            ..std::mem::take(&mut state.ledger)
        }
    }

    /// Returns the state, at once.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic of one program must not hide behind a poisoned lock in the other one.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call of a host's program: waits until this host is the next to run, and handles the events before.
    pub(super) fn call<T>(&self, host: usize, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.wait_for_the_turn_of(host, self.state());
        let result = act(&mut state);
        self.0.moved.notify_all();
        result
    }

    /// Makes the last call of a handle. After a panic of its program, it does not wait for its turn.
    pub(super) fn last_call(&self, host: usize, act: impl FnOnce(&mut State)) {
        match std::thread::panicking() {
            false => self.call(host, act),
            true => self.state().drop_handle(host),
        }
        self.0.moved.notify_all();
    }

    /// Waits until a host is the next to run.
    fn wait_for_the_turn_of<'a>(
        &self,
        host: usize,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        loop {
            state.advance();
            if state.next_host() == Some(host) || state.hosts[host].handles == 0 {
                return state;
            }
            self.0.moved.notify_all();
            state = match self.0.moved.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }

    /// Waits for events until the timeout has passed.
    pub(super) fn poll(&self, host: usize, events: &mut Vec<Event>, timeout_ns: Option<u64>) {
        events.clear();
        let mut state = self.wait_for_the_turn_of(host, self.state());
        let costs = state.costs;
        state.hosts[host].spend(costs.poll_ns);
        state = self.wait_for_the_turn_of(host, state);
        let now_ns = state.hosts[host].clock_ns;
        let is_woken = std::mem::take(&mut state.hosts[host].is_woken);
        state.collect(host, events);
        if events.is_empty() && !is_woken && timeout_ns != Some(0) {
            let until_ns = timeout_ns.map_or(u64::MAX, |ns| now_ns.saturating_add(ns));
            state.hosts[host].asleep_until_ns = Some(until_ns);
            self.0.moved.notify_all();
            state = self.wait_for_the_turn_of(host, state);
            let until_ns = state.hosts[host].next_ns();
            state.hosts[host].wake(until_ns.saturating_add(costs.wake_up_ns));
            state = self.wait_for_the_turn_of(host, state);
            state.hosts[host].is_woken = false;
            state.collect(host, events);
        }
        self.0.moved.notify_all();
    }
}

impl State {
    // The order of events.

    /// Returns the host that runs next: the one with the smallest clock. `None` if no program ever runs again.
    fn next_host(&self) -> Option<usize> {
        let next = |host: usize| self.hosts[host].next_ns();
        let host = if next(CLIENT) <= next(SERVER) {
            CLIENT
        } else {
            SERVER
        };
        (next(host) < u64::MAX).then_some(host)
    }

    /// Handles the events that come before the next call of a program.
    fn advance(&mut self) {
        loop {
            let next_ns = self.hosts[CLIENT]
                .next_ns()
                .min(self.hosts[SERVER].next_ns());
            match self.events.peek() {
                Some(Reverse((at_ns, _, _))) if *at_ns <= next_ns => {}
                None if next_ns == u64::MAX && self.hosts.iter().any(|h| h.handles > 0) => {
                    panic!("every program waits without a timeout, and no event is to come");
                }
                _ => return,
            }
            if let Some(Reverse((at_ns, _, happening))) = self.events.pop() {
                self.handle(happening, at_ns);
            }
        }
    }

    fn schedule(&mut self, at_ns: u64, happening: Happening) {
        self.sequence += 1;
        self.events.push(Reverse((at_ns, self.sequence, happening)));
    }

    fn handle(&mut self, happening: Happening, now_ns: u64) {
        match happening {
            Happening::Arrive { connection, to, n } => self.arrive(connection, to, n, now_ns),
            Happening::Served { connection, n } => self.served(connection, n, now_ns),
            Happening::End { connection, to } => {
                self.connections[connection].flows[1 - to].end_arrived = true;
                self.note_unread(connection, to, now_ns);
                self.make_ready(to, Source::Stream(connection), now_ns);
                if to == SERVER {
                    self.end_after_the_last_echo(connection, now_ns);
                }
            }
            Happening::Reset { connection, to } => {
                self.connections[connection].ends[to].is_reset = true;
                self.connections[connection].is_silent |= to == SERVER;
                self.note_unread(connection, to, now_ns);
                self.make_ready(to, Source::Stream(connection), now_ns);
            }
            Happening::Room { connection, from } => self.find_room(connection, from, now_ns),
            Happening::Window { connection, from } => self.transmit(connection, from, now_ns),
            Happening::Attempt { connection } if self.listener.is_closed => {
                self.connections[connection].ends[SERVER].is_closed = true;
                self.send_reset(connection, SERVER, now_ns);
            }
            Happening::Attempt { connection } => {
                self.listener.backlog.push_back(connection);
                self.make_ready(SERVER, Source::Listener, now_ns);
            }
            Happening::Established { connection } => {
                self.connections[connection].is_established = true;
                self.make_ready(CLIENT, Source::Stream(connection), now_ns);
            }
            Happening::Stop => {
                self.hosts[SERVER].signal = Some(Signal::Stop);
                self.hosts[SERVER].is_woken = true;
                self.hosts[SERVER].wake_by(now_ns);
            }
        }
    }

    /// Records in the ledger that a read of the client would return something: bytes, or the end of the stream.
    fn note_unread(&mut self, connection: usize, to: usize, now_ns: u64) {
        if to == CLIENT {
            let ledger = &mut self.ledger.connections[connection];
            ledger.unread_ns.get_or_insert(now_ns);
        }
    }

    // The movement of bytes.

    /// Sends the bytes that the receiver's buffer has room for, and then the end of the stream.
    fn transmit(&mut self, connection: usize, from: usize, now_ns: u64) {
        let (link, receive_buffer) = (self.link, self.receive_buffer);
        loop {
            let flow = &mut self.connections[connection].flows[from];
            flow.note_reads(now_ns);
            let room = receive_buffer.saturating_sub(flow.in_use);
            let n = flow.held.min(room).min(link.segment);
            if n == 0 {
                break;
            }
            flow.held -= n;
            flow.in_use += n;
            let occupied_ns = (n as u64 * link.ps_per_byte).div_ceil(1000);
            flow.link_free_ns = flow.link_free_ns.max(now_ns) + occupied_ns;
            let arrives_ns = flow.link_free_ns + link.delay_ns;
            let acknowledged_ns = arrives_ns + link.delay_ns;
            flow.acknowledgements.push_back((acknowledged_ns, n));
            let wants_room = flow.wants_room;
            let to = 1 - from;
            self.schedule(arrives_ns, Happening::Arrive { connection, to, n });
            if wants_room {
                self.schedule(acknowledged_ns, Happening::Room { connection, from });
            }
        }
        let flow = &mut self.connections[connection].flows[from];
        if flow.held > 0 {
            if let Some((at_ns, _)) = flow.reads.front().copied() {
                self.schedule(at_ns, Happening::Window { connection, from });
            }
        } else if flow.is_ended && !flow.end_left {
            flow.end_left = true;
            let arrives_ns = flow.link_free_ns.max(now_ns) + link.delay_ns;
            let to = 1 - from;
            self.schedule(arrives_ns, Happening::End { connection, to });
        }
    }

    fn arrive(&mut self, connection: usize, to: usize, n: usize, now_ns: u64) {
        let message = self.message;
        let this = &mut self.connections[connection];
        let flow = &mut this.flows[1 - to];
        flow.arrive(n);
        if this.ends[to].is_closed {
            // Bytes for a closed socket are answered with a reset (RFC 9293, 3.10.7.1).
            flow.queue.clear();
            return self.send_reset(connection, to, now_ns);
        }
        if to == CLIENT {
            self.ledger.connections[connection].arrived(now_ns, n, message);
            self.note_unread(connection, to, now_ns);
            return self.make_ready(CLIENT, Source::Stream(connection), now_ns);
        }
        let Some(server) = &mut self.server else {
            return self.make_ready(SERVER, Source::Stream(connection), now_ns);
        };
        // The server that is part of the kernel reads at once.
        this.flows[CLIENT]
            .reads
            .push_back((now_ns + self.link.delay_ns, n));
        this.unserved += n;
        let unit = match server.serves_messages() {
            true => message as usize,
            false => this.unserved,
        };
        let mut served = Vec::new();
        while this.unserved >= unit {
            this.unserved -= unit;
            served.push(server.serve(now_ns));
            if this.unserved == 0 {
                break;
            }
        }
        for at_ns in served {
            self.schedule(
                at_ns,
                Happening::Served {
                    connection,
                    n: unit,
                },
            );
        }
        if self.connections[connection].flows[CLIENT].held > 0 {
            self.transmit(connection, CLIENT, now_ns);
        }
    }

    /// Echoes the next `n` bytes of the server's receive queue.
    fn served(&mut self, connection: usize, n: usize, now_ns: u64) {
        let this = &mut self.connections[connection];
        if this.is_silent {
            this.flows[CLIENT].queue.clear();
            return;
        }
        let bytes: Vec<u8> = this.flows[CLIENT].queue.drain(..n).collect();
        let offset = this.echoed;
        this.echoed += n as u64;
        let Some(server) = &mut self.server else {
            return;
        };
        let injected = &mut self.ledger.injected;
        let echo = server.echo(connection, offset, bytes, now_ns, injected);
        let sent = echo.bytes.len();
        self.ledger.connections[connection].served(now_ns, sent, self.message);
        this.flows[SERVER].under_way.extend(echo.bytes);
        this.flows[SERVER].held += sent;
        // This server has a send buffer without a limit.
        this.flows[SERVER].unacknowledged += sent;
        this.is_silent = echo.after != After::More;
        this.flows[SERVER].is_ended |= echo.after == After::End;
        this.ends[SERVER].is_closed |= matches!(echo.after, After::End | After::Reset);
        self.transmit(connection, SERVER, now_ns);
        self.connections[connection].flows[SERVER].acknowledge(now_ns);
        if echo.after == After::Reset {
            self.send_reset(connection, SERVER, now_ns);
        }
        self.end_after_the_last_echo(connection, now_ns);
    }

    /// Ends the echo if the client has ended its stream and all its bytes are served.
    fn end_after_the_last_echo(&mut self, connection: usize, now_ns: u64) {
        let this = &mut self.connections[connection];
        let is_over = this.flows[CLIENT].end_arrived && this.flows[CLIENT].queue.is_empty();
        if is_over && self.server.is_some() && !this.is_silent {
            this.flows[SERVER].is_ended = true;
            self.transmit(connection, SERVER, now_ns);
        }
    }

    /// Sends a reset, behind the bytes that have left.
    fn send_reset(&mut self, connection: usize, from: usize, now_ns: u64) {
        let this = &mut self.connections[connection];
        let arrives_ns = this.flows[from].link_free_ns.max(now_ns) + self.link.delay_ns;
        this.is_silent |= from == SERVER;
        let to = 1 - from;
        self.schedule(arrives_ns, Happening::Reset { connection, to });
    }

    /// Reports an edge if an end waits for room and has it.
    fn find_room(&mut self, connection: usize, from: usize, now_ns: u64) {
        let is_writable = self.is_writable(connection, from, now_ns);
        let flow = &mut self.connections[connection].flows[from];
        if !flow.wants_room {
            return;
        }
        if is_writable {
            flow.wants_room = false;
            if from == CLIENT {
                self.ledger.connections[connection].unused_room_ns = Some(now_ns);
            }
            self.make_ready(from, Source::Stream(connection), now_ns);
        } else if let Some((at_ns, _)) = flow.acknowledgements.front().copied() {
            self.schedule(at_ns, Happening::Room { connection, from });
        }
    }

    // The selector.

    /// Puts a socket with a new edge into its host's ready list, and ends the host's wait.
    fn make_ready(&mut self, host: usize, source: Source, now_ns: u64) {
        let (key, is_ready) = match source {
            Source::Stream(connection) => {
                let end = &mut self.connections[connection].ends[host];
                (end.key, &mut end.is_ready)
            }
            Source::Listener => (self.listener.key, &mut self.listener.is_ready),
        };
        if key.is_none() || std::mem::replace(is_ready, true) {
            return;
        }
        self.hosts[host].ready.push_back(source);
        self.hosts[host].wake_by(now_ns);
    }

    /// Takes the events of the ready list. As epoll_wait(2), it reports what is true now, and nothing of a socket that
    /// is not ready any more. What does not fit into the caller's array stays in the ready list.
    fn collect(&mut self, host: usize, events: &mut Vec<Event>) {
        let now_ns = self.hosts[host].clock_ns;
        while events.len() < self.most_events
            && let Some(source) = self.hosts[host].ready.pop_front()
        {
            match source {
                Source::Listener => {
                    self.listener.is_ready = false;
                    if let Some(key) = self.listener.key
                        && !self.listener.backlog.is_empty()
                    {
                        let readiness = Readiness {
                            readable: true,
                            ..Readiness::default()
                        };
                        events.push(Event { key, readiness });
                    }
                }
                Source::Stream(connection) => {
                    self.connections[connection].ends[host].is_ready = false;
                    let readiness = self.readiness(connection, host, now_ns);
                    if let Some(key) = self.connections[connection].ends[host].key
                        && readiness != Readiness::default()
                    {
                        events.push(Event { key, readiness });
                    }
                }
            }
        }
    }

    fn readiness(&mut self, connection: usize, end: usize, now_ns: u64) -> Readiness {
        let writable = self.is_writable(connection, end, now_ns);
        let this = &self.connections[connection];
        let incoming = &this.flows[1 - end];
        let read_on = incoming.end_arrived || this.ends[end].is_reset;
        Readiness {
            readable: !incoming.queue.is_empty() || read_on,
            writable,
            read_on,
        }
    }

    /// Whether the selector considers an end writable: a third of its send buffer is free, as on Linux.
    fn is_writable(&mut self, connection: usize, end: usize, now_ns: u64) -> bool {
        let room = self.room(connection, end, now_ns);
        let this = &self.connections[connection];
        let is_open = end == SERVER || this.is_established;
        this.ends[end].is_reset || is_open && room >= self.send_buffer.div_ceil(3)
    }

    fn room(&mut self, connection: usize, end: usize, now_ns: u64) -> usize {
        let flow = &mut self.connections[connection].flows[end];
        flow.acknowledge(now_ns);
        self.send_buffer.saturating_sub(flow.unacknowledged)
    }

    // Calls.

    /// Reads the clock for the program. The client's program does this through [`Connector`](net::connect::Connector).
    pub(super) fn read_clock(&mut self, host: usize) -> u64 {
        let now_ns = self.hosts[host].clock_ns;
        if host == CLIENT {
            self.ledger.last_reading_ns = now_ns;
        }
        now_ns
    }

    pub(super) fn instant(&self, host: usize) -> Instant {
        self.zero + Duration::from_nanos(self.hosts[host].clock_ns)
    }

    pub(super) fn thread_times(&self, host: usize) -> ThreadTimes {
        let host = &self.hosts[host];
        ThreadTimes {
            running: Duration::from_nanos(host.busy_ns),
            queued: Some(Duration::from_nanos(host.run_queue_ns)),
        }
    }

    pub(super) fn take_signal(&mut self, host: usize) -> Option<Signal> {
        self.hosts[host].signal.take()
    }

    /// Ends the current wait of a host, or the next one.
    pub(super) fn wake(&mut self, host: usize) {
        let now_ns = self.hosts[host].clock_ns;
        self.hosts[host].is_woken = true;
        self.hosts[host].wake_by(now_ns);
        self.ledger.wakes_ns.push(now_ns);
    }

    pub(super) fn connect(&mut self) -> io::Result<usize> {
        let connect_ns = self.hosts[CLIENT].clock_ns;
        self.hosts[CLIENT].spend(self.costs.connect_ns);
        let now_ns = connect_ns + self.costs.connect_ns;
        let connection = self.connections.len();
        let open = self
            .connections
            .iter()
            .filter(|c| c.ends[CLIENT].key.is_some())
            .count();
        self.connections.push(Connection::default());
        let mut ledger = ConnectionLedger::default();
        ledger.connect_ns = connect_ns;
        self.ledger.connections.push(ledger);
        if open >= self.accepts || self.listener.is_closed {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let delay_ns = self.link.delay_ns;
        if self.server.is_none() {
            self.schedule(now_ns + delay_ns, Happening::Attempt { connection });
        }
        match delay_ns {
            // On loopback the handshake is over when connect(2) returns.
            0 => self.connections[connection].is_established = true,
            _ => self.schedule(now_ns + 2 * delay_ns, Happening::Established { connection }),
        }
        self.hosts[CLIENT].handles += 1;
        Ok(connection)
    }

    pub(super) fn attempt(&mut self, connection: usize) -> Attempt {
        match self.connections[connection].is_established {
            false => Attempt::Pending,
            true => {
                let now_ns = self.hosts[CLIENT].clock_ns;
                let ledger = &mut self.ledger.connections[connection];
                ledger.made_ns.get_or_insert(now_ns);
                Attempt::Made
            }
        }
    }

    pub(super) fn accept(&mut self) -> io::Result<usize> {
        let connection = self.listener.backlog.pop_front();
        self.hosts[SERVER].spend(self.costs.accept_ns);
        let connection = connection.ok_or(ErrorKind::WouldBlock)?;
        self.hosts[SERVER].handles += 1;
        Ok(connection)
    }

    pub(super) fn backlog_length(&self) -> usize {
        self.listener.backlog.len()
    }

    pub(super) fn register_listener(&mut self, key: Option<usize>) {
        self.hosts[SERVER].spend(self.costs.register_ns);
        self.listener.key = key;
        self.listener.is_closed = key.is_none();
        let now_ns = self.hosts[SERVER].clock_ns;
        if !self.listener.backlog.is_empty() {
            self.make_ready(SERVER, Source::Listener, now_ns);
        }
    }

    pub(super) fn register(&mut self, connection: usize, host: usize, key: usize) {
        self.hosts[host].spend(self.costs.register_ns);
        self.connections[connection].ends[host].key = Some(key);
        if host == CLIENT {
            self.ledger.connections[connection].key = Some(key);
        }
        // epoll_ctl(2) reports what is true at the registration as an edge.
        let now_ns = self.hosts[host].clock_ns;
        self.make_ready(host, Source::Stream(connection), now_ns);
    }

    pub(super) fn deregister(&mut self, connection: usize, host: usize) {
        let now_ns = self.hosts[host].clock_ns;
        self.connections[connection].ends[host].key = None;
        if host == CLIENT {
            let reading_ns = self.ledger.last_reading_ns;
            let ledger = &mut self.ledger.connections[connection];
            ledger.closed_ns = Some(now_ns);
            ledger.closed_reading_ns = Some(reading_ns);
        }
    }

    pub(super) fn read(
        &mut self,
        connection: usize,
        end: usize,
        buffer: &mut [u8],
        consumes: bool,
    ) -> io::Result<usize> {
        let now_ns = self.hosts[end].clock_ns;
        self.hosts[end].spend(self.costs.read_ns);
        let back_ns = self.hosts[end].clock_ns;
        let this = &mut self.connections[connection];
        let flow = &mut this.flows[1 - end];
        let n = flow.copy(buffer);
        if n == 0 {
            if end == CLIENT && (flow.end_arrived || this.ends[end].is_reset) {
                let ledger = &mut self.ledger.connections[connection];
                ledger.ended_ns.get_or_insert(back_ns);
                ledger.has_read(now_ns, None);
            }
            return match () {
                () if this.ends[end].is_reset && !this.ends[end].reset_is_reported => {
                    this.ends[end].reset_is_reported = true;
                    Err(ErrorKind::ConnectionReset.into())
                }
                () if flow.end_arrived || this.ends[end].is_reset => Ok(0),
                () => Err(ErrorKind::WouldBlock.into()),
            };
        }
        if !consumes {
            return Ok(n);
        }
        flow.queue.drain(..n);
        let known_ns = now_ns + self.costs.read_ns + self.link.delay_ns;
        flow.reads.push_back((known_ns, n));
        let is_held = flow.held > 0;
        let more = !flow.queue.is_empty() || flow.end_arrived || this.ends[end].is_reset;
        if end == CLIENT {
            let ledger = &mut self.ledger.connections[connection];
            ledger.read(back_ns, &buffer[..n], self.message);
            ledger.has_read(now_ns, more.then_some(back_ns));
        }
        if is_held {
            let from = 1 - end;
            self.schedule(known_ns, Happening::Window { connection, from });
        }
        Ok(n)
    }

    pub(super) fn write(
        &mut self,
        connection: usize,
        end: usize,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let offered_ns = self.hosts[end].clock_ns;
        self.hosts[end].spend(self.costs.write_ns);
        let room = self.room(connection, end, offered_ns);
        let this = &mut self.connections[connection];
        let is_broken = this.ends[end].is_reset || this.flows[end].is_ended;
        let n = match is_broken {
            true => 0,
            false => room.min(bytes.len()),
        };
        let accepted = &bytes[..n];
        let ledger = &mut self.ledger.connections[connection];
        match end {
            CLIENT => {
                ledger.unused_room_ns = None;
                ledger.wrote(offered_ns, bytes.len(), accepted, self.message);
            }
            _ => ledger.served(offered_ns + self.costs.write_ns, n, self.message),
        }
        if is_broken {
            let was_reported = std::mem::replace(&mut this.ends[end].reset_is_reported, true);
            return Err(match was_reported || this.flows[end].is_ended {
                true => ErrorKind::BrokenPipe.into(),
                false => ErrorKind::ConnectionReset.into(),
            });
        }
        let flow = &mut this.flows[end];
        if n == 0 {
            flow.wants_room = true;
            if let Some((at_ns, _)) = flow.acknowledgements.front().copied() {
                let from = end;
                self.schedule(at_ns, Happening::Room { connection, from });
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        flow.under_way.extend(accepted);
        flow.held += n;
        flow.unacknowledged += n;
        self.transmit(connection, end, offered_ns + self.costs.write_ns);
        Ok(n)
    }

    pub(super) fn shut_down_writing(&mut self, connection: usize, end: usize) -> io::Result<()> {
        if end == CLIENT {
            let reading_ns = self.ledger.last_reading_ns;
            self.ledger.connections[connection].shut_down_ns = Some(reading_ns);
        }
        self.hosts[end].spend(self.costs.close_ns);
        let now_ns = self.hosts[end].clock_ns;
        let this = &mut self.connections[connection];
        if this.ends[end].is_reset {
            return Err(ErrorKind::NotConnected.into());
        }
        this.flows[end].is_ended = true;
        self.transmit(connection, end, now_ns);
        Ok(())
    }

    pub(super) fn received(&self, connection: usize, end: usize) -> usize {
        self.connections[connection].flows[1 - end].queue.len()
    }

    pub(super) fn take_error(&mut self, connection: usize, end: usize) -> Option<io::Error> {
        let end = &mut self.connections[connection].ends[end];
        let is_new = end.is_reset && !std::mem::replace(&mut end.reset_is_reported, true);
        is_new.then(|| ErrorKind::ConnectionReset.into())
    }

    pub(super) fn reset_on_close(&mut self, connection: usize, end: usize) {
        self.connections[connection].ends[end].resets_on_close = true;
    }

    pub(super) fn close(&mut self, connection: usize, end: usize) {
        self.hosts[end].spend(self.costs.close_ns);
        let now_ns = self.hosts[end].clock_ns;
        let this = &mut self.connections[connection];
        this.ends[end].key = None;
        this.ends[end].is_closed = true;
        let is_unread = !this.flows[1 - end].queue.is_empty();
        if this.ends[end].is_reset {
            // The connection has already ended.
        } else if is_unread || this.ends[end].resets_on_close {
            // Linux resets a connection that is closed with unread bytes (RFC 2525, 2.17).
            self.send_reset(connection, end, now_ns);
        } else {
            this.flows[end].is_ended = true;
            self.transmit(connection, end, now_ns);
        }
        self.drop_handle(end);
    }

    pub(super) fn add_handle(&mut self, host: usize) {
        self.hosts[host].handles += 1;
    }

    /// Counts a handle that a program has dropped. With its last one the program has ended.
    pub(super) fn drop_handle(&mut self, host: usize) {
        self.hosts[host].handles -= 1;
        if host == CLIENT && self.hosts[CLIENT].handles == 0 {
            let now_ns = self.hosts[CLIENT].clock_ns;
            self.schedule(now_ns, Happening::Stop);
        }
    }
}

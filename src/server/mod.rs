//! The server's public face: what to configure, how to run it, how to reach it while it runs.

mod acceptor;
mod bind;
mod buffers;
mod connection;
mod control;
mod event_loop;
mod ready;
mod room;
#[cfg(test)]
mod scripted;
#[cfg(all(unix, any(test, fuzzing)))]
pub(crate) mod simulation;
mod stats;
mod step;
mod sweeps;
mod table;
mod timeouts;
mod verdict;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use bind::BindError;
pub(crate) use buffers::Buffers;
pub(crate) use connection::{Connection, Progress};
pub use control::Handle;
pub(crate) use event_loop::PeerWitness;
pub(crate) use stats::Counters;
pub use stats::{AcceptErrors, Closed, Stats};

use bind::listen;
use control::Control;
use event_loop::EventLoop;

use crate::address::{Address, Port};
use crate::limits;
use crate::poller::MioPoller;
use crate::socket::ListenOptions;

/// What a server is made of. Take the defaults for what you do not care about:
///
/// ```
/// # use mio_echo::Config;
/// let config = Config {
///     addresses: vec!["127.0.0.1:auto".parse()?],
///     idle_timeout: Some(std::time::Duration::from_secs(60)),
///     ..Config::default()
/// };
/// # Ok::<(), mio_echo::ParseAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen. Default: `127.0.0.1:7007`.
    pub addresses: Vec<Address>,
    /// How many connections may wait to be accepted. Default: as many as the system allows (on Linux
    /// `net.core.somaxconn`, and it lowers a larger number to that).
    pub backlog: Option<u32>,
    /// How many connections may be open at once; one more is accepted and closed. Default: what the process's
    /// descriptor limit leaves room for when the server is bound.
    pub max_connections: Option<usize>,
    /// The size of a read, in bytes; the loop has one such buffer for all connections. Default: 64 KiB. At least 1.
    pub read_buffer: usize,
    /// The most memory, in bytes, for what peers have not taken of their echo. When it is used up nothing is lost
    /// and nobody waits: see `Spills` in `docs/ARCHITECTURE.md`. Default: 256 MiB. May be 0.
    pub memory: usize,
    /// Let bulk go from socket to socket through a pipe in the kernel (splice(2)), which spares it two copies; TCP on
    /// Linux only, and with reads of at least 16 KiB. Default: yes. What a client has sent from a file or from its own pages without a copy (sendfile(2),
    /// splice(2), `MSG_ZEROCOPY`) is then not copied here either: if it changes them before it has its echo, the echo may be
    /// of what they are then.
    pub splice: bool,
    /// Close a peer that sends nothing for so long, if its kernel has acknowledged nothing for three quarters of that. While
    /// something is undelivered the stall timeout decides instead, if there is one. Default: never. From 1 ms to 24 days.
    pub idle_timeout: Option<Duration>,
    /// Close a peer whose kernel acknowledges nothing of its echo for so long, at the latest after twice as long. Default:
    /// 60 s. From 1 s to 24 days: a shorter one is taken as 1 s, as one lost packet costs 200 ms and more.
    ///
    /// Over TCP on Linux the kernel watches what it holds as well (`TCP_USER_TIMEOUT`), also after a close and after the end
    /// of the process. A peer that reads very slowly opens its window in steps, of 64 to 128 KiB over loopback: it has to
    /// read one step in this time, about 2 KB/s at 60 s. Elsewhere the kernel does not tell what was acknowledged, and a
    /// write that it takes counts as progress.
    pub stall_timeout: Option<Duration>,
    /// How long a shutdown may take to write out what is owed. Default: 5 s. At most 24 days. A connection whose echo has
    /// been acknowledged is closed after 1 s of silence, so that a shutdown with one open connection that has been used takes
    /// about a second; one that has sent nothing is closed at once.
    pub drain_timeout: Duration,
    /// Let several processes listen on one port, the kernel spreading clients over them (`SO_REUSEPORT`); Unix only,
    /// and only for TCP. Default: no.
    pub reuse_port: bool,
    /// Permissions of each Unix-domain socket's file, set before the first client can connect. A client needs write
    /// permission. Default: 0o777 without the bits of the process's umask. From 0 to 0o777; higher bits are ignored.
    pub unix_mode: Option<u32>,
    /// For so long after an event, poll without waiting instead of sleeping: an answer comes some tens of microseconds
    /// sooner, at the price of a processor that is busy meanwhile. Default: never. At most 1 s.
    pub busy_poll: Option<Duration>,
    /// Log the statistics so often. Default: never. From 1 ms to 24 days.
    pub stats_every: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            addresses: vec![Address::default()],
            backlog: None,
            max_connections: None,
            read_buffer: 64 * 1024,
            memory: 256 * 1024 * 1024,
            splice: true,
            idle_timeout: None,
            stall_timeout: Some(Duration::from_secs(60)),
            drain_timeout: Duration::from_secs(5),
            reuse_port: false,
            unix_mode: None,
            busy_poll: None,
            stats_every: None,
        }
    }
}

/// What bounds a running loop.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    max_connections: usize,
    /// More connections than these at once are a crowd, whose memory is given back when all have gone.
    crowd: usize,
    /// For how many connections tables have room from the start.
    expected: usize,
    /// The most connections that are accepted from one backlog when a shutdown begins, where the system does not tell how
    /// many there are.
    backlog: usize,
    read_buffer: usize,
    memory: usize,
    /// From how many bytes at once a connection's bytes go by a pipe; `None` is never.
    bulk: Option<usize>,
    idle_timeout: Option<Duration>,
    stall_timeout: Option<Duration>,
    drain_timeout: Duration,
    busy_poll: Option<Duration>,
    stats_every: Option<Duration>,
    /// How many bytes one peer may move before the others get their turn.
    turn: usize,
    /// How many connections one listener may hand over before the others get their turn.
    accepts_a_turn: usize,
}

/// An echo server: bound, listening, and served by whichever thread calls [`run`](Server::run).
///
/// Clients that connect before that wait in the backlog.
pub struct Server {
    event_loop: EventLoop<MioPoller>,
    addresses: Vec<Address>,
    control: Arc<Control>,
    handle: Handle,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("stats", &self.handle.stats())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on every address of the configuration.
    ///
    /// # Errors
    /// No address is configured; or the first address that cannot be listened on, and why: see [`BindError`]. Then none of
    /// them is.
    pub fn bind(config: &Config) -> Result<Server, BindError> {
        Server::bind_with_turn(config, TURN)
    }

    /// The same with another share of a turn, in bytes: to measure what it is good for.
    pub(crate) fn bind_with_turn(config: &Config, turn: usize) -> Result<Server, BindError> {
        if config.addresses.is_empty() {
            return Err(BindError::without_address());
        }
        let (mut limits, worst_case) = Limits::of(config);
        limits.turn = limits.turn.max(turn);
        let (capacity, stall_timeout) = (limits.max_connections, limits.stall_timeout);
        let control = Arc::new(Control::default());
        let no_poll = BindError::without_poll;
        let poller = MioPoller::new().map_err(no_poll)?;
        let handle = Handle::new(control.clone(), poller.waker().map_err(no_poll)?);
        let mut event_loop = EventLoop::new(poller, limits, control.clone());
        let options = ListenOptions {
            backlog: config
                .backlog
                .map_or(i32::MAX, |n| i32::try_from(n).unwrap_or(i32::MAX)),
            reuse_port: config.reuse_port,
            // Later than the loop itself finds out, which is after twice the timeout at the latest.
            give_up_after: stall_timeout.map(|after| after * 2),
            unix_mode: config.unix_mode,
        };
        let mut addresses = Vec::new();
        for (n, address) in config.addresses.iter().enumerate() {
            let wrong = |error| BindError::at(address.clone(), error);
            let auto = matches!(
                address,
                Address::Tcp {
                    port: Port::Auto,
                    ..
                }
            );
            if !auto && !config.reuse_port && config.addresses[..n].contains(address) {
                return Err(wrong(io::Error::other("it is named twice")));
            }
            let listener = listen(address, options).map_err(wrong)?;
            addresses.push(listener.local_address().map_err(wrong)?);
            event_loop.listen(listener).map_err(wrong)?;
        }
        log::info!(
            "room for {capacity} connections; memory, with all of them stalled: {} MiB",
            worst_case.div_ceil(1024 * 1024)
        );
        Ok(Server {
            event_loop,
            addresses,
            control,
            handle,
        })
    }

    /// Where it listens, in the order of the configuration, with the ports that the system chose.
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A way to reach it while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Lets SIGINT and SIGTERM shut it down as [`Handle::shutdown`] does, and SIGUSR1 log its statistics. The handlers
    /// are the process's: a program that has its own will not want this.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    #[cfg(unix)]
    pub fn catch_signals(&mut self) -> io::Result<()> {
        self.event_loop.poller_mut().catch_signals()
    }

    /// Serves until it is told to stop, and returns what it has done.
    ///
    /// # Errors
    /// Only if the poll itself fails, which no peer can bring about.
    pub fn run(mut self) -> io::Result<Stats> {
        self.event_loop.run()?;
        Ok(self.control.counters().snapshot())
    }
}

impl Limits {
    /// The limits, and the most memory that a server with them can come to hold.
    fn of(config: &Config) -> (Limits, usize) {
        let room = limits::room_for_connections();
        let wanted = config.max_connections.unwrap_or(room);
        let max_connections = wanted.min(room);
        if wanted > room {
            log::warn!(
                "the descriptor limit has room for {room} connections, which is fewer than the {wanted} that were asked for"
            );
        }
        let limits = Limits {
            max_connections,
            crowd: CROWD,
            expected: max_connections.min(MOST_EXPECTED) + config.addresses.len(),
            backlog: config
                .backlog
                .map_or(MOST_WAITING, |n| (n as usize).min(MOST_WAITING)),
            read_buffer: config.read_buffer.max(1),
            memory: config.memory,
            bulk: (config.splice && config.read_buffer >= LEAST_READ).then_some(TURN),
            idle_timeout: config.idle_timeout.map(|after| after.max(SHORTEST)),
            stall_timeout: config
                .stall_timeout
                .map(|after| after.clamp(SHORTEST_STALL, timeouts::LONGEST)),
            drain_timeout: config.drain_timeout.min(timeouts::LONGEST),
            busy_poll: config.busy_poll.map(|awake| awake.min(LONGEST_AWAKE)),
            stats_every: config
                .stats_every
                .map(|every| every.clamp(SHORTEST, timeouts::LONGEST)),
            turn: TURN.max(config.read_buffer),
            accepts_a_turn: ACCEPTS_A_TURN,
        };
        let spills = (limits.memory / limits.read_buffer)
            .min(max_connections)
            .saturating_mul(limits.read_buffer);
        let worst_case = max_connections
            .saturating_mul(BYTES_A_CONNECTION)
            .saturating_add(spills)
            .saturating_add(limits.read_buffer);
        (limits, worst_case)
    }
}

/// The shortest timer. With none at all a peer would be closed before it is read, and the loop would do nothing but
/// report.
const SHORTEST: Duration = Duration::from_millis(1);

/// The shortest stall timeout. One lost packet is sent again after 200 ms at the earliest (Linux, `TCP_RTO_MIN`), the next
/// time after twice as long: a peer that has done nothing wrong may acknowledge nothing for the better part of a second.
const SHORTEST_STALL: Duration = Duration::from_secs(1);

/// Tables of fewer connections are not worth giving back.
const CROWD: usize = 1024;

/// The longest backlog that a shutdown empties without knowing its length.
const MOST_WAITING: usize = 65_535;

/// The longest that a loop polls without waiting: beyond a second nobody waits for an answer any sooner.
const LONGEST_AWAKE: Duration = Duration::from_secs(1);

/// One peer's share of a turn, in bytes: enough that bulk pays one poll for four reads, little enough that it takes
/// some tens of microseconds, for which 100 busy peers make any other wait for some milliseconds.
pub(crate) const TURN: usize = 256 * 1024;

/// The size of a read from which a splice in and a splice out cost less than a read and a write.
const LEAST_READ: usize = 16 * 1024;

/// One listener's share of a turn, in connections. A burst of thousands takes several turns, and no pinger waits for
/// more than these.
const ACCEPTS_A_TURN: usize = 64;

/// Beyond a million connections tables grow as they are filled.
const MOST_EXPECTED: usize = 1 << 20;

/// A table entry and a place in the timeouts' queues, with what their growth leaves unused.
const BYTES_A_CONNECTION: usize = 128;

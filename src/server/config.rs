//! What a server is made of.

use std::time::Duration;

use net::address::Address;

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
    /// and nobody waits: see "Pending writes" in `docs/ARCHITECTURE.md`. Default: 256 MiB. May be 0.
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

//! The configuration of a server.

use std::time::Duration;

use net::address::Address;

/// The configuration of a server.
///
/// A duration outside its range counts as the nearest value in the range. Take the defaults for the fields that you do
/// not need:
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
    /// The addresses to listen on. Default: `127.0.0.1:7007`.
    pub addresses: Vec<Address>,
    /// The number of connections that may wait to be accepted, for each address. Default: the system's maximum. On
    /// Linux that is `net.core.somaxconn`, to which the kernel also lowers a larger number (listen(2)).
    pub backlog: Option<u32>,
    /// The number of connections that may be open at the same time. The server accepts every further connection and
    /// closes it immediately. Default, and maximum: the number that the process's descriptor limit allows when the
    /// server is bound.
    pub max_connections: Option<usize>,
    /// The size of the read buffer, in bytes. All connections share one buffer. Default: 64 KiB. At least 1.
    pub read_buffer: usize,
    /// The memory for the pending writes of all peers together, in bytes. A pending write is echo that the kernel has
    /// not accepted yet. When this memory is used up, bytes whose echo the kernel does not accept stay in the receive
    /// queue. No byte is lost, and the server still serves peers that read: see "Pending writes and their budget" in
    /// `docs/ARCHITECTURE.md`. Default: 256 MiB. May be 0.
    pub memory: usize,
    /// Moves large transfers through a pipe in the kernel (splice(2)), which saves two copies.
    /// Only for TCP on Linux, and only with a read buffer of at least 16 KiB. Default: true.
    ///
    /// A client may send pages of a file or of its memory without a copy (sendfile(2), splice(2), `MSG_ZEROCOPY`). With
    /// splicing, the server does not copy them either. If the client changes the pages before it has its echo, the echo
    /// may contain the new bytes.
    pub splice: bool,
    /// Closes a peer that sends nothing for this time, if its kernel has acknowledged nothing for three quarters of
    /// this time. While bytes are undelivered, the stall timeout applies instead, unless it is off. Default: `None`,
    /// which means never. From 1 ms to 24 days.
    pub idle_timeout: Option<Duration>,
    /// Resets a peer whose kernel acknowledges nothing of its echo for this time. The server finds such a peer after
    /// twice this time at the latest. Default: 60 s; `None` means never. From 1 s to 24 days. It cannot be shorter,
    /// because one lost packet already delays an acknowledgement by at least 200 ms.
    ///
    /// Over TCP on Linux, the kernel also watches the bytes that it holds (`TCP_USER_TIMEOUT`, tcp(7)), even after a
    /// close and after the end of the process. A peer that reads very slowly opens its window in steps, which are 64 to
    /// 128 KiB over loopback. It must read one step within this time: about 2 KB/s at 60 s. On other sockets the system
    /// does not report acknowledged bytes, so a write that the kernel accepts counts as progress.
    pub stall_timeout: Option<Duration>,
    /// The longest duration of a shutdown, in which the server writes the rest of the echo. Default: 5 s. From 0 to 24
    /// days.
    ///
    /// A connection whose peer has sent nothing is closed immediately. A connection whose whole echo is acknowledged is
    /// closed when its peer has sent nothing for 1 s. So a shutdown takes about a second if the peer of one open
    /// connection has sent bytes.
    pub drain_timeout: Duration,
    /// The number of event loops, each on a thread of its own with its own listeners, table and buffers. The kernel
    /// distributes the clients of each TCP address over them (`SO_REUSEPORT`, socket(7)). A Unix-domain address has one
    /// loop: the i-th Unix-domain address belongs to loop i modulo `threads`, both counted from 0. The limits
    /// `max_connections` and `memory` are for all loops together. Default: 1. More than 1 only on Unix; 0 counts as 1.
    pub threads: usize,
    /// Binds each loop to a processor: loop i to the i-th processor of those that the process may use, and again from
    /// the first one if there are fewer. The first loop runs on the thread that calls
    /// [`Server::run`](crate::Server::run), which stays bound. Only on Linux. Default: false.
    pub pin: bool,
    /// Lets several processes listen on the same port. The kernel distributes the clients over them (`SO_REUSEPORT`,
    /// socket(7)). Only for TCP on Unix. Default: false.
    pub reuse_port: bool,
    /// The permissions of each Unix-domain socket's file. They are set before the first client can connect. A client
    /// needs write permission (unix(7)). Default: 0o777 without the bits of the process's umask. From 0 to 0o777;
    /// higher bits are ignored.
    pub unix_mode: Option<u32>,
    /// Polls without sleeping for this time after each event. An echo then leaves some tens of microseconds earlier,
    /// and one processor is busy. Default: `None`, which means never. At most 1 s.
    pub busy_poll: Option<Duration>,
    /// The interval at which the server logs its statistics. Default: `None`, which means never. From 1 ms to 24 days.
    pub stats_every: Option<Duration>,
    /// Records how long each turn of a loop takes and how many events it has: see
    /// [`Handle::loop_turns`](crate::Handle::loop_turns). It costs one more reading of the clock in each turn. Default:
    /// false.
    pub turn_histograms: bool,
    /// Descriptors that the program needs besides those of the server: the server leaves this number free. Default: 0.
    /// The server always leaves 32 for itself and for a small program.
    pub spare_descriptors: usize,
    /// Wakes each loop up at this interval even if nothing happens. Then [`Stats::polls`](crate::Stats::polls) of a
    /// running loop grows at least once in this time, and that of a loop that hangs does not. A watchdog can check
    /// that. Default: `None`, which means never: an idle server then sleeps without limit. From 1 ms to 24 days.
    pub heartbeat: Option<Duration>,
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
            threads: 1,
            pin: false,
            reuse_port: false,
            unix_mode: None,
            busy_poll: None,
            stats_every: None,
            turn_histograms: false,
            spare_descriptors: 0,
            heartbeat: None,
        }
    }
}

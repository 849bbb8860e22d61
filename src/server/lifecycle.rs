//! A server from its configuration to its end: bound, running, stopped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use net::address::{Address, Port};
use net::poller::MioPoller;
use net::socket::ListenOptions;

use super::bind::BindError;
use super::bind::listen;
use super::config::Config;
use super::control::Control;
use super::control::Handle;
use super::event_loop::EventLoop;
use super::limits::Limits;
use super::stats::Stats;

/// An echo server: bound, listening, and served by whichever thread calls [`run`](Server::run).
///
/// Clients that connect before that wait in the backlog.
pub struct Server {
    /// The loop, with its listeners.
    event_loop: EventLoop<MioPoller>,
    /// Where it listens, with the ports that the system chose.
    addresses: Vec<Address>,
    /// For the final statistics.
    control: Arc<Control>,
    /// For other threads.
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
        Server::bind_with_limits(config, Limits::of(config))
    }

    /// The same without a budget for a turn, to measure what the budget is good for.
    #[cfg(feature = "bench_support")]
    pub(crate) fn bind_without_budget(config: &Config) -> Result<Server, BindError> {
        let (mut limits, worst_case) = Limits::of(config);
        limits.turn = usize::MAX;
        Server::bind_with_limits(config, (limits, worst_case))
    }

    fn bind_with_limits(
        config: &Config,
        (limits, worst_case): (Limits, usize),
    ) -> Result<Server, BindError> {
        if config.addresses.is_empty() {
            return Err(BindError::without_address());
        }
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
            // Not earlier than the loop, which finds a stall after at most twice the timeout.
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
            if !auto
                && !config.reuse_port
                && config
                    .addresses
                    .iter()
                    .take(n)
                    .any(|other| other == address)
            {
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

    /// The first TCP address that it listens on, with the port that the system chose.
    ///
    /// # Errors
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if it listens on Unix-domain paths alone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses
            .iter()
            .find_map(Address::socket_addr)
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
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

    /// Runs a server on a thread of its own, on a free port of 127.0.0.1: an echo server for a test.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let server = mio_echo::Server::spawn()?;
    /// let mut client = std::net::TcpStream::connect(server.local_addr())?;
    /// client.write_all(b"hello")?;
    /// let mut echo = [0; 5];
    /// client.read_exact(&mut echo)?;
    /// assert_eq!(&echo, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`bind`](Server::bind), and if the system has no thread more.
    pub fn spawn() -> Result<RunningServer, BindError> {
        Server::spawn_with(&Config {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            ..Config::default()
        })
    }

    /// Runs a server with this configuration on a thread of its own.
    ///
    /// # Errors
    /// As [`bind`](Server::bind), and if the system has no thread more.
    pub fn spawn_with(config: &Config) -> Result<RunningServer, BindError> {
        Server::bind(config)?
            .start()
            .map_err(BindError::without_thread)
    }

    /// Runs this server on a thread of its own.
    ///
    /// # Errors
    /// If the system has no thread more.
    pub fn start(self) -> io::Result<RunningServer> {
        RunningServer::start(self)
    }
}

/// A server on a thread of its own, until it is stopped or dropped.
///
/// [`stop`](RunningServer::stop) drains as [`Handle::shutdown`] does and returns the statistics. Dropping it, as a failed
/// assertion does, ends the server at once with every connection ([`Handle::abort`]), and waits for its thread.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct RunningServer {
    /// Where it listens, with the ports that the system chose.
    addresses: Vec<Address>,
    /// For other threads.
    handle: Handle,
    /// `None` once it was joined.
    thread: Option<JoinHandle<io::Result<Stats>>>,
}

impl RunningServer {
    pub(super) fn start(server: Server) -> io::Result<RunningServer> {
        let addresses = server.local_addresses().to_vec();
        let handle = server.handle();
        let thread = thread::Builder::new()
            .name("mio-echo".to_owned())
            .spawn(|| server.run())?;
        Ok(RunningServer {
            addresses,
            handle,
            thread: Some(thread),
        })
    }

    /// The first TCP address that it listens on.
    ///
    /// # Panics
    /// If it listens on Unix-domain paths alone: see [`local_addresses`](RunningServer::local_addresses).
    pub fn local_addr(&self) -> SocketAddr {
        let address = self.addresses.iter().find_map(Address::socket_addr);
        #[allow(
            clippy::expect_used,
            reason = "documented: the caller has configured Unix-domain paths alone"
        )]
        address.expect("the server listens on a TCP address")
    }

    /// Where it listens, in the order of the configuration, with the ports that the system chose.
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A way to reach it from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What the server has done so far: see [`Handle::stats`].
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Waits until the statistics are as wanted: see [`Handle::wait_for`].
    ///
    /// # Errors
    /// The statistics at the end of the time.
    pub fn wait_for(
        &self,
        at_most: Duration,
        wanted: impl FnMut(&Stats) -> bool,
    ) -> Result<Stats, Box<Stats>> {
        self.handle.wait_for(at_most, wanted)
    }

    /// Drains, waits for the end, and returns the final statistics.
    ///
    /// # Errors
    /// Only if the poll itself failed, which no peer can bring about.
    pub fn stop(mut self) -> io::Result<Stats> {
        self.handle.shutdown();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            // The server's thread panicked: the panic is the caller's.
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(self.handle.stats()),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.abort();
            // A panic of the server's thread has been printed by the panic hook. This may be a panic already.
            let _ = thread.join();
        }
    }
}

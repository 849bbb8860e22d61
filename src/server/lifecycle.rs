//! The life of a server: it is bound, runs, and is stopped.

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

/// An echo server that listens on its addresses. The thread that calls [`run`](Server::run) serves the clients.
///
/// Clients that connect before this call wait in the backlog.
pub struct Server {
    /// The event loop, which has the listeners.
    event_loop: EventLoop<MioPoller>,
    /// The addresses that the server listens on, with the ports that the system chose.
    addresses: Vec<Address>,
    /// The counters, for the final statistics.
    control: Arc<Control>,
    /// The handle. Other threads get clones of it.
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
    /// Creates a server that listens on every address of the configuration.
    ///
    /// # Errors
    /// The configuration has no address, or the server cannot listen on one of them. The [`BindError`] names the first
    /// such address and the cause. After an error, no address has a listener.
    pub fn bind(config: &Config) -> Result<Server, BindError> {
        Server::bind_with_limits(config, Limits::of(config))
    }

    /// As [`bind`](Server::bind), but a connection has no budget in a turn. The benches use it to measure the effect of
    /// the budget.
    #[cfg(feature = "bench_support")]
    pub(crate) fn bind_without_budget(config: &Config) -> Result<Server, BindError> {
        let (mut limits, worst_case) = Limits::of(config);
        limits.turn_budget = usize::MAX;
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
            // The loop finds a stalled connection after at most twice the timeout. The kernel must not act earlier.
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
                return Err(wrong(io::Error::other("the address is given twice")));
            }
            let listener = listen(address, options).map_err(wrong)?;
            addresses.push(listener.local_address().map_err(wrong)?);
            event_loop.listen(listener).map_err(wrong)?;
        }
        log::info!(
            "room for {capacity} connection{}; memory if every connection stalls: {} MiB",
            if capacity == 1 { "" } else { "s" },
            worst_case.div_ceil(1024 * 1024)
        );
        Ok(Server {
            event_loop,
            addresses,
            control,
            handle,
        })
    }

    /// Returns the addresses that the server listens on, in the order of the configuration, with the ports that the
    /// system chose.
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns the first TCP address that the server listens on, with the port that the system chose.
    ///
    /// # Errors
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if the server listens only on Unix-domain paths.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses
            .iter()
            .find_map(Address::socket_addr)
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Returns a handle, which stops the running server and reads its statistics.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Installs signal handlers: SIGINT and SIGTERM shut the server down, as [`Handle::shutdown`] does. SIGUSR1 logs
    /// its statistics.
    ///
    /// Signal handlers belong to the whole process. Do not call this in a program that handles these signals itself.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    #[cfg(unix)]
    pub fn catch_signals(&mut self) -> io::Result<()> {
        self.event_loop.poller_mut().catch_signals()
    }

    /// Serves clients until the server is told to stop, and returns the final statistics.
    ///
    /// # Errors
    /// Those of the poll call. No peer can cause one.
    pub fn run(mut self) -> io::Result<Stats> {
        self.event_loop.run()?;
        Ok(self.control.counters().snapshot())
    }

    /// Runs a server with the default configuration on its own thread and on a free port of 127.0.0.1, for tests.
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
    /// Those of [`bind`](Server::bind), and the system's error if it cannot start a thread.
    pub fn spawn() -> Result<RunningServer, BindError> {
        Server::spawn_with(&Config {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            ..Config::default()
        })
    }

    /// Runs a server with this configuration on its own thread.
    ///
    /// # Errors
    /// Those of [`bind`](Server::bind), and the system's error if it cannot start a thread.
    pub fn spawn_with(config: &Config) -> Result<RunningServer, BindError> {
        Server::bind(config)?
            .start()
            .map_err(BindError::without_thread)
    }

    /// Runs this server on its own thread.
    ///
    /// # Errors
    /// The system's error if it cannot start a thread.
    pub fn start(self) -> io::Result<RunningServer> {
        RunningServer::start(self)
    }
}

/// A server that runs on its own thread until it is stopped or dropped.
///
/// [`stop`](RunningServer::stop) drains, as [`Handle::shutdown`] does, and returns the statistics. A drop closes every
/// connection immediately, as [`Handle::abort`] does, and waits for the thread. So a test whose assertion fails leaves
/// no running server.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct RunningServer {
    /// The addresses that the server listens on, with the ports that the system chose.
    addresses: Vec<Address>,
    /// The handle of the server.
    handle: Handle,
    /// The thread of the server; `None` after it was joined.
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

    /// Returns the first TCP address that the server listens on, with the port that the system chose.
    ///
    /// # Panics
    /// If the server listens only on Unix-domain paths: use [`local_addresses`](RunningServer::local_addresses)
    /// instead.
    pub fn local_addr(&self) -> SocketAddr {
        let address = self.addresses.iter().find_map(Address::socket_addr);
        #[allow(
            clippy::expect_used,
            reason = "documented: the caller has configured only Unix-domain paths"
        )]
        address.expect("the server should listen on a TCP address")
    }

    /// Returns the addresses that the server listens on, in the order of the configuration, with the ports that the
    /// system chose.
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns a handle for other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the statistics up to now: see [`Handle::stats`].
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Waits until `wanted` returns true for the statistics, and returns these: see [`Handle::wait_for`].
    ///
    /// # Errors
    /// The last statistics, if `wanted` has not returned true within `at_most`.
    pub fn wait_for(
        &self,
        at_most: Duration,
        wanted: impl FnMut(&Stats) -> bool,
    ) -> Result<Stats, Box<Stats>> {
        self.handle.wait_for(at_most, wanted)
    }

    /// Drains the server, waits for its end, and returns the final statistics.
    ///
    /// # Errors
    /// Those of the poll call. No peer can cause one.
    ///
    /// # Panics
    /// If the thread of the server has panicked: the panic goes on in the caller.
    pub fn stop(mut self) -> io::Result<Stats> {
        self.handle.shutdown();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            // The thread of the server panicked. The panic goes on in the caller's thread.
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(self.handle.stats()),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.abort();
            // The panic hook has already printed a panic of the server's thread. This drop must not panic again: it may
            // be part of another panic.
            let _ = thread.join();
        }
    }
}

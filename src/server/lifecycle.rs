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
use net::threads;

use super::bind::{BindError, Passed, adopt, listen};
use super::config::Config;
use super::control::{Control, Handle, LoopHandle};
use super::event_loop::EventLoop;
use super::limits::Limits;
use super::stats::Stats;

/// An echo server that listens on its addresses. The thread that calls [`run`](Server::run) serves the clients. With
/// several loops ([`Config::threads`]) it runs the first one and starts a thread for each of the others.
///
/// Clients that connect before this call wait in the backlog.
pub struct Server {
    /// The first event loop, which has listeners and handles the signals.
    first: EventLoop<MioPoller>,
    /// The other event loops, each with its own listeners.
    others: Vec<EventLoop<MioPoller>>,
    /// The addresses that the server listens on, with the ports that the system chose.
    addresses: Vec<Address>,
    /// Whether each loop is bound to a processor.
    pin: bool,
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
        Server::bind_with(config, Vec::new())
    }

    /// As [`bind`](Server::bind), and the server also accepts from sockets that listen already, for example those that
    /// systemd passes. The configuration may then have no address.
    ///
    /// A passed socket has one loop: socket i belongs to loop i modulo the number of loops. Each keeps its backlog, its
    /// address and its file, and the streams of a TCP socket get the options of this server. At a shutdown the server
    /// leaves the backlog of a passed socket to the next server that gets the socket.
    ///
    /// # Errors
    /// Those of [`bind`](Server::bind). `InvalidInput` if a passed socket does not listen.
    pub fn bind_with(config: &Config, passed: Vec<Passed>) -> Result<Server, BindError> {
        Server::bind_with_limits(config, passed, Limits::of(config))
    }

    /// As [`bind`](Server::bind), but the budget of a connection in a turn is unlimited. The benches use it to measure
    /// the effect of the budget.
    #[cfg(feature = "bench_support")]
    pub(crate) fn bind_without_budget(config: &Config) -> Result<Server, BindError> {
        let (mut limits, worst_case) = Limits::of(config);
        limits.turn_budget = usize::MAX;
        Server::bind_with_limits(config, Vec::new(), (limits, worst_case))
    }

    fn bind_with_limits(
        config: &Config,
        passed: Vec<Passed>,
        (limits, worst_case): (Limits, usize),
    ) -> Result<Server, BindError> {
        if config.addresses.is_empty() && passed.is_empty() {
            return Err(BindError::without_address());
        }
        let (capacity, stall_timeout) = (limits.connections.most(), limits.stall_timeout);
        let no_poll = BindError::without_poll;
        let connections = limits.connections.clone();
        let (mut event_loops, mut handles) = (Vec::new(), Vec::new());
        for n in 0..config.threads.max(1) {
            let control = Arc::new(Control::default());
            let poller = MioPoller::new().map_err(no_poll)?;
            let waker = poller.waker().map_err(no_poll)?;
            let mut limits = limits.clone();
            // The first loop reports for all of them.
            limits.stats_every = limits.stats_every.filter(|_| n == 0);
            event_loops.push(EventLoop::new(poller, limits, control.clone()));
            handles.push(LoopHandle { control, waker });
        }
        let handle = Handle::new(handles, connections);
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
        let mut paths = 0;
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
            // A Unix-domain socket has one owner, so the paths are dealt out to the loops.
            let (first, count) = match address {
                Address::Unix(_) => (paths % event_loops.len(), 1),
                Address::Tcp { .. } => (0, event_loops.len()),
            };
            paths += usize::from(matches!(address, Address::Unix(_)));
            let listeners = listen(address, options, count).map_err(wrong)?;
            for (n, listener) in listeners.into_iter().enumerate() {
                if n == 0 {
                    addresses.push(listener.local_address().map_err(wrong)?);
                }
                if let Some(event_loop) = event_loops.get_mut(first + n) {
                    event_loop.listen(listener).map_err(wrong)?;
                }
            }
        }
        let count = event_loops.len();
        for (n, socket) in passed.into_iter().enumerate() {
            let wrong = |error| BindError::at_passed(n, error);
            let listener = adopt(socket, options.give_up_after).map_err(wrong)?;
            addresses.push(listener.local_address().map_err(wrong)?);
            if let Some(event_loop) = event_loops.get_mut(n % count) {
                event_loop.listen_on_passed(listener).map_err(wrong)?;
            }
        }
        // All listeners listen now. No loop accepts before `run`.
        let mut event_loops = event_loops.into_iter();
        let Some(mut first) = event_loops.next() else {
            return Err(BindError::without_address());
        };
        first.lead(handle.clone());
        log::info!(
            "room for {capacity} connection{}; memory if every connection stalls: {} MiB",
            if capacity == 1 { "" } else { "s" },
            worst_case.div_ceil(1024 * 1024)
        );
        Ok(Server {
            first,
            others: event_loops.collect(),
            addresses,
            pin: config.pin,
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
        self.first.poller_mut().catch_signals()
    }

    /// Serves clients until the server is told to stop, and returns the final statistics.
    ///
    /// If one of several loops ends with an error or panics, the others drain and end too.
    ///
    /// # Errors
    /// Those of the poll call. No peer can cause one. The system's error if it cannot start a thread.
    ///
    /// # Panics
    /// If the thread of a loop has panicked: the panic goes on in the caller.
    pub fn run(self) -> io::Result<Stats> {
        let handle = &self.handle;
        let run = |number: usize, mut event_loop: EventLoop<MioPoller>| {
            let _others = StopTheOthers(handle);
            if self.pin {
                pin(number);
            }
            event_loop.run()
        };
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (n, event_loop) in self.others.into_iter().enumerate() {
                let number = n + 1;
                let name = thread::Builder::new().name(format!("mio-echo-{number}"));
                let run = &run;
                let with_signals_elsewhere = move || {
                    // The first loop handles them.
                    threads::leave_signals_to_others()?;
                    run(number, event_loop)
                };
                match name.spawn_scoped(scope, with_signals_elsewhere) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        // The scope waits for the threads that run already.
                        handle.abort();
                        return Err(error);
                    }
                }
            }
            let mut result = run(0, self.first);
            for thread in threads {
                let other = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                result = result.and(other);
            }
            result
        })?;
        Ok(handle.stats())
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

/// Stops all loops when one of them ends, for any reason. After a stop this changes nothing.
struct StopTheOthers<'a>(&'a Handle);

impl Drop for StopTheOthers<'_> {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Binds this thread to a processor. A loop runs on any processor if the system refuses it.
fn pin(number: usize) {
    match threads::pin_this_thread(number) {
        Ok(processor) => log::info!("loop {number} runs on processor {processor}"),
        Err(error) => log::warn!("cannot bind loop {number} to a processor: {error}"),
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

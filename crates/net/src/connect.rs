//! The kernel interface of a client: the trait [`Connector`], and the sockets that connect.
//!
//! Every socket option of the load generator is set in this module, with its reason.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::clock;
use crate::poller::{Event, MioPoller, Poller};
use crate::stream::Stream;

/// Everything that a client's event loop needs from a kernel in addition to [`Poller`]. A simulated kernel with a
/// virtual clock implements it too.
///
/// A connection takes three steps:
///
/// 1. [`connect`](Connector::connect) starts an attempt.
/// 2. [`register_stream`](Poller::register_stream) registers the stream for events.
/// 3. After an event, [`attempt`](Connector::attempt) returns the state of the attempt.
///
/// The time comes from the kernel too. A loop that reads no other clock behaves the same in virtual time.
pub trait Connector: Poller {
    /// A waker, which ends a [`poll`](Poller::poll) of this kernel from any thread.
    type Waker: Wake + 'static;

    /// Creates a waker of this kernel.
    ///
    /// # Errors
    /// The errors of eventfd(2), or of the corresponding call of another system.
    fn waker(&self) -> io::Result<Self::Waker>;

    /// Starts to connect, from the address `source` if there is one. Does not wait for the connection. Returns the
    /// stream, and the time of the clock right before connect(2).
    ///
    /// # Errors
    /// The errors of socket(2), setsockopt(2), bind(2) and connect(2). `EAGAIN` from a Unix-domain socket means that
    /// the server's backlog is full. Then no attempt is in progress, and no event announces space in the backlog.
    fn connect(
        &mut self,
        target: &Target,
        source: Option<IpAddr>,
        options: &ConnectOptions,
    ) -> io::Result<(Self::Stream, u64)>;

    /// Returns the state of a connection attempt. The caller asks after an event, because an event is only a hint.
    fn attempt(&self, stream: &Self::Stream) -> Attempt;

    /// Waits for events like [`poll`](Poller::poll), but punctually: it returns at the end of `wait` at the latest,
    /// plus the duration of one system call.
    ///
    /// It sleeps only if `wait` is longer than `lead_time`, and only until `lead_time` before the end of `wait`.
    /// Otherwise it polls without sleeping and returns at once. The caller repeats the call until the time has come.
    /// `lead_time` should be longer than the time that the kernel needs to wake a thread up.
    ///
    /// # Errors
    /// The errors of [`poll`](Poller::poll).
    fn poll_punctually(
        &mut self,
        events: &mut Vec<Event>,
        wait: Duration,
        lead_time: Duration,
    ) -> io::Result<()>;

    /// Returns the time in nanoseconds since an unspecified moment. It never decreases. All kernels of a run count from
    /// the same moment.
    fn now_ns(&self) -> u64;

    /// Returns the scheduler's account of the calling thread.
    fn thread_times(&self) -> ThreadTimes;
}

/// The scheduler's account of a thread since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    /// Processor time of the thread; zero if the system does not report it.
    pub running: Duration,
    /// Time in which the thread could run and waited for a processor. `None` if the system does not report it: only
    /// Linux does (proc(5), `schedstat`).
    pub queued: Option<Duration>,
}

/// A waker: it ends a [`poll`](Poller::poll) from any thread.
pub trait Wake: Send + Sync + fmt::Debug {
    /// Makes the current `poll` return. If there is none, the next `poll` returns at once.
    ///
    /// # Errors
    /// The errors of write(2) on an eventfd, or of the corresponding call of another system.
    fn wake(&self) -> io::Result<()>;
}

impl Wake for mio::Waker {
    fn wake(&self) -> io::Result<()> {
        mio::Waker::wake(self)
    }
}

impl Connector for MioPoller {
    type Waker = mio::Waker;

    fn waker(&self) -> io::Result<mio::Waker> {
        MioPoller::waker(self)
    }

    fn connect(
        &mut self,
        target: &Target,
        source: Option<IpAddr>,
        options: &ConnectOptions,
    ) -> io::Result<(Stream, u64)> {
        connect(target, source, options)
    }

    fn attempt(&self, stream: &Stream) -> Attempt {
        attempt(stream)
    }

    /// mio rounds a timeout up to whole milliseconds, so its poll would return late. This function uses
    /// `MioPoller::sleep`, which does not round up. Near the end it polls without waiting, because a thread takes some
    /// time to wake up.
    fn poll_punctually(
        &mut self,
        events: &mut Vec<Event>,
        wait: Duration,
        lead_time: Duration,
    ) -> io::Result<()> {
        match wait.checked_sub(lead_time) {
            Some(asleep) if !asleep.is_zero() => self.sleep(events, asleep),
            _ => self.poll(events, Some(Duration::ZERO)),
        }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    fn thread_times(&self) -> ThreadTimes {
        ThreadTimes {
            running: clock::thread_processor_time(),
            queued: clock::thread_queued_time(),
        }
    }
}

/// The socket options of a connection. The default sets none of them.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Whether a small message is sent at once (`TCP_NODELAY`). Otherwise it waits for the acknowledgement of the last
    /// message.
    pub no_delay: bool,
    /// `SO_SNDBUF`, in bytes. The kernel doubles it, because it also keeps its own data there (socket(7)).
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF`, in bytes. The kernel doubles it too.
    pub receive_buffer: Option<usize>,
}

/// The resolved address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix-domain socket.
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Target::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The state of a connection attempt.
#[derive(Debug)]
pub enum Attempt {
    /// The connection is made.
    Made,
    /// The attempt is in progress. An event reports its end.
    Pending,
    /// The attempt has failed.
    Failed(io::Error),
    /// The socket is connected to itself.
    ///
    /// This can happen if a socket connects to an ephemeral port of its own host and no server listens on that port.
    /// The kernel may choose the same port for the socket. TCP has simultaneous open (RFC 9293, 3.5), so the socket's
    /// own SYN completes its handshake. Such a socket receives its own bytes, which look like a perfect echo.
    ToItself,
}

/// Starts to connect: see [`Connector::connect`].
fn connect(
    target: &Target,
    source: Option<IpAddr>,
    options: &ConnectOptions,
) -> io::Result<(Stream, u64)> {
    match target {
        Target::Tcp(address) => connect_tcp(*address, source, options),
        #[cfg(unix)]
        Target::Unix(path) => connect_unix(path, options),
    }
}

/// Checks that this host can connect from the address `source`: that it is an address of this host.
///
/// # Errors
/// The errors of socket(2) and bind(2). `EADDRNOTAVAIL` means that it is not an address of this host.
pub fn can_connect_from(source: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(source, 0);
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())
}

fn connect_tcp(
    target: SocketAddr,
    source: Option<IpAddr>,
    options: &ConnectOptions,
) -> io::Result<(Stream, u64)> {
    let socket = nonblocking(Domain::for_address(target))?;
    socket.set_tcp_nodelay(options.no_delay)?;
    set_buffers(&socket, options)?;
    if let Some(source) = source {
        choose_the_port_late(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    let began_ns = clock::monotonic_ns();
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    let stream = mio::net::TcpStream::from_std(socket.into());
    Ok((Stream::Tcp(stream), began_ns))
}

#[cfg(unix)]
fn connect_unix(path: &std::path::Path, options: &ConnectOptions) -> io::Result<(Stream, u64)> {
    let socket = nonblocking(Domain::UNIX)?;
    set_buffers(&socket, options)?;
    let began_ns = clock::monotonic_ns();
    socket.connect(&SockAddr::unix(path)?)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    let stream = mio::net::UnixStream::from_std(stream);
    Ok((Stream::Unix(stream), began_ns))
}

/// Creates a nonblocking socket, with one system call where the system can (`SOCK_NONBLOCK`, socket(2)).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn nonblocking(domain: Domain) -> io::Result<RawSocket> {
    RawSocket::new(domain, Type::STREAM.nonblocking(), None)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn nonblocking(domain: Domain) -> io::Result<RawSocket> {
    let socket = RawSocket::new(domain, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets the buffer sizes. This must happen before connect(2): the size of the receive buffer limits the window that the
/// handshake offers (tcp(7)).
fn set_buffers(socket: &RawSocket, options: &ConnectOptions) -> io::Result<()> {
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(())
}

/// Lets the kernel choose the port at connect(2) instead of bind(2) (`IP_BIND_ADDRESS_NO_PORT`, ip(7)).
///
/// At bind(2) the kernel does not know the server yet, so it reserves the port for connections to all servers. Then
/// 28,000 connections would use all ports of a source address. A port that is chosen at connect(2) only has to be free
/// for connections to that server.
#[cfg(target_os = "linux")]
fn choose_the_port_late(socket: &RawSocket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
    Ok(setsockopt(socket, IpBindAddressNoPort, &true)?)
}

#[cfg(not(target_os = "linux"))]
fn choose_the_port_late(_: &RawSocket) -> io::Result<()> {
    Ok(())
}

/// Whether connect(2) returned this error because the attempt is in progress.
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    let in_progress = None;
    // Windows returns WSAEWOULDBLOCK.
    error.raw_os_error() == in_progress
        || cfg!(windows) && error.kind() == io::ErrorKind::WouldBlock
}

/// Returns the state of a connection attempt. The selector may report a stream as writable before the attempt has
/// ended, so this function asks the socket.
fn attempt(stream: &Stream) -> Attempt {
    let stream = match stream {
        Stream::Tcp(stream) => stream,
        // A Unix-domain socket is connected when connect(2) returns.
        #[cfg(unix)]
        Stream::Unix(_) => return Attempt::Made,
    };
    match stream.peer_addr() {
        Ok(peer) if stream.local_addr().is_ok_and(|local| local == peer) => Attempt::ToItself,
        Ok(_) => Attempt::Made,
        // `ENOTCONN`: the attempt is still in progress, or it has failed with the pending error.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => match stream.take_error() {
            Ok(None) => Attempt::Pending,
            Ok(Some(error)) | Err(error) => Attempt::Failed(error),
        },
        Err(error) => Attempt::Failed(error),
    }
}

/// Whether this error means that the client has reached a limit: it has no free port or no free descriptor.
#[must_use]
pub fn is_the_clients_limit(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let limits = [Errno::MFILE, Errno::NFILE];
        is_out_of_ports(error)
            || limits
                .map(|errno| Some(errno.raw_os_error()))
                .contains(&error.raw_os_error())
    }
    #[cfg(not(unix))]
    is_out_of_ports(error)
}

/// Whether this error means that no port of the source address is free for connections to this target.
#[must_use]
pub fn is_out_of_ports(error: &io::Error) -> bool {
    // connect(2) returns EADDRNOTAVAIL. If the port is chosen at bind(2), bind(2) returns EADDRINUSE.
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    /// Starts to connect to `target`, from `source` if there is one.
    fn to(target: SocketAddr, source: Option<IpAddr>) -> Stream {
        let connected = connect(&Target::Tcp(target), source, &ConnectOptions::default());
        connected.unwrap().0
    }

    #[test]
    fn a_socket_that_is_connected_to_itself_is_detected() {
        // The kernel connects a socket to itself only by chance. A socket that is bound to a port and connects to that
        // port does it always.
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        let itself = socket.local_addr().unwrap();
        socket.connect(&itself).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream = Stream::Tcp(mio::net::TcpStream::from_std(socket.into()));
        assert!(matches!(attempt(&stream), Attempt::ToItself));
    }

    #[test]
    fn connections_come_from_the_source_address_to_both_targets() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        for listener in &listeners {
            let source = "127.0.0.77".parse().unwrap();
            let stream = to(listener.local_addr().unwrap(), Some(source));
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), source);
            assert!(matches!(attempt(&stream), Attempt::Made));
        }
    }

    #[test]
    fn a_refused_connection_is_a_failed_attempt() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let target = Target::Tcp(address);
        let error = match connect(&target, None, &ConnectOptions::default()) {
            Err(error) => error,
            Ok((stream, _)) => loop {
                match attempt(&stream) {
                    Attempt::Failed(error) => break error,
                    Attempt::Pending => std::thread::yield_now(),
                    other => panic!("{other:?}"),
                }
            },
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

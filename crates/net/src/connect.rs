//! The client's side of a kernel: the trait [`Connector`], and the sockets that connect.
//!
//! Knows every option that the load generator sets, and why.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::clock;
use crate::poller::{Event, MioPoller, Poller};
use crate::stream::Stream;

/// All that a client's event loop asks of a kernel beyond [`Poller`]. A simulated kernel with a virtual clock
/// implements it too.
///
/// A connection takes three steps: [`connect`](Connector::connect) begins an attempt,
/// [`register_stream`](Poller::register_stream) asks for its events, and [`attempt`](Connector::attempt) says
/// after an event what became of it.
///
/// Time is part of the kernel. A loop that reads no other clock runs the same in virtual time.
pub trait Connector: Poller {
    /// Ends a [`poll`](Poller::poll) of this kernel from any thread.
    type Waker: Wake + 'static;

    /// Makes a waker of this kernel.
    ///
    /// # Errors
    /// Those of eventfd(2) and its kin.
    fn waker(&self) -> io::Result<Self::Waker>;

    /// Begins to connect, from this source address if one is given.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and connect(2). `EAGAIN` from a Unix-domain socket means that the server's backlog is
    /// full: no attempt is under way then, and no event will announce room.
    fn connect(
        &mut self,
        target: &Target,
        source: Option<IpAddr>,
        options: &ConnectOptions,
    ) -> io::Result<Self::Stream>;

    /// What has become of an attempt. Asked after an event, which is only a hint.
    fn attempt(&self, stream: &Self::Stream) -> Attempt;

    /// Waits as [`poll`](Poller::poll) does, but never beyond the end of `wait`, by more than one system call takes.
    ///
    /// It sleeps until `awake` before that end, and returns at once from there on: the caller calls again until the
    /// moment has come. `awake` covers what the kernel takes to wake a thread up.
    ///
    /// # Errors
    /// Those of [`poll`](Poller::poll).
    fn poll_punctually(
        &mut self,
        events: &mut Vec<Event>,
        wait: Duration,
        awake: Duration,
    ) -> io::Result<()>;

    /// The time in nanoseconds since some moment. It never goes back, and all kernels of a run count from the
    /// same moment.
    fn now_ns(&self) -> u64;

    /// The processor time that the calling thread has used; zero where the system does not tell.
    fn thread_processor_time(&self) -> Duration;
}

/// Ends a [`poll`](Poller::poll) that waits, from any thread.
pub trait Wake: Send + Sync + fmt::Debug {
    /// Makes the `poll` under way return, or the next one if none is.
    ///
    /// # Errors
    /// Those of write(2) on an eventfd, and its kin.
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
    ) -> io::Result<Stream> {
        connect(target, source, options)
    }

    fn attempt(&self, stream: &Stream) -> Attempt {
        attempt(stream)
    }

    /// epoll counts in whole milliseconds, and mio rounds up to the next of them: so this sleeps for less, and polls
    /// without waiting at the end.
    fn poll_punctually(
        &mut self,
        events: &mut Vec<Event>,
        wait: Duration,
        awake: Duration,
    ) -> io::Result<()> {
        match wait.checked_sub(awake) {
            Some(asleep) if !asleep.is_zero() => self.sleep(events, asleep),
            _ => self.poll(events, Some(Duration::ZERO)),
        }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    fn thread_processor_time(&self) -> Duration {
        clock::thread_processor_time()
    }
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Whether a small message leaves at once (`TCP_NODELAY`) or waits for the acknowledgement of the last one.
    pub no_delay: bool,
    /// `SO_SNDBUF`, in bytes; the kernel doubles it for its own needs (socket(7)).
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF`, in bytes; doubled too.
    pub receive_buffer: Option<usize>,
}

/// The address to connect to, resolved.
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

/// What has become of a connection attempt.
#[derive(Debug)]
pub enum Attempt {
    /// It is made.
    Made,
    /// It is under way; an event will tell.
    Pending,
    /// It failed.
    Failed(io::Error),
    /// It connected to itself. TCP has simultaneous open (RFC 9293, 3.5): a socket that connects to a port of
    /// the ephemeral range, on its own host, where nothing listens, may be given that same port by the kernel.
    /// Then its own SYN completes its handshake, and it echoes perfectly.
    ToItself,
}

/// Begins to connect: see [`Connector::connect`].
fn connect(
    target: &Target,
    source: Option<IpAddr>,
    options: &ConnectOptions,
) -> io::Result<Stream> {
    match target {
        Target::Tcp(address) => connect_tcp(*address, source, options),
        #[cfg(unix)]
        Target::Unix(path) => connect_unix(path, options),
    }
}

/// Whether this host can connect from an address: whether it is one of its own.
///
/// # Errors
/// Those of bind(2): `EADDRNOTAVAIL` if it is not.
pub fn can_connect_from(source: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(source, 0);
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())
}

fn connect_tcp(
    target: SocketAddr,
    source: Option<IpAddr>,
    options: &ConnectOptions,
) -> io::Result<Stream> {
    let socket = RawSocket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(options.no_delay)?;
    set_buffers(&socket, options)?;
    if let Some(source) = source {
        choose_the_port_late(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(Stream::Tcp(mio::net::TcpStream::from_std(socket.into())))
}

#[cfg(unix)]
fn connect_unix(path: &std::path::Path, options: &ConnectOptions) -> io::Result<Stream> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    set_buffers(&socket, options)?;
    socket.connect(&SockAddr::unix(path)?)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    Ok(Stream::Unix(mio::net::UnixStream::from_std(stream)))
}

/// Before the connection is made: the receive buffer decides on the window that is offered (tcp(7)).
fn set_buffers(socket: &RawSocket, options: &ConnectOptions) -> io::Result<()> {
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(())
}

/// bind(2) would take a port for this source alone, whoever the peer will be, so 28,000 connections would use up an
/// address for all servers together. Chosen at connect(2), a port only has to be free towards that server
/// (`IP_BIND_ADDRESS_NO_PORT`, ip(7)).
#[cfg(target_os = "linux")]
fn choose_the_port_late(socket: &RawSocket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
    Ok(setsockopt(socket, IpBindAddressNoPort, &true)?)
}

#[cfg(not(target_os = "linux"))]
fn choose_the_port_late(_: &RawSocket) -> io::Result<()> {
    Ok(())
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    let in_progress = None;
    // Windows says WSAEWOULDBLOCK.
    error.raw_os_error() == in_progress
        || cfg!(windows) && error.kind() == io::ErrorKind::WouldBlock
}

/// What has become of an attempt. The selector may report a stream as writable before connect(2) is over, so
/// the socket itself is asked.
fn attempt(stream: &Stream) -> Attempt {
    let stream = match stream {
        Stream::Tcp(stream) => stream,
        // Connected when connect(2) returned.
        #[cfg(unix)]
        Stream::Unix(_) => return Attempt::Made,
    };
    match stream.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Attempt::Failed(error),
    }
    match (stream.peer_addr(), stream.local_addr()) {
        (Ok(peer), Ok(local)) if peer == local => Attempt::ToItself,
        (Ok(_), _) => Attempt::Made,
        // `ENOTCONN`: not yet.
        (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => Attempt::Pending,
        (Err(error), _) => Attempt::Failed(error),
    }
}

/// Whether this error is the client's own limit: no port is left to connect from, or no descriptor.
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

/// Whether every port of this source is taken towards this target.
#[must_use]
pub fn is_out_of_ports(error: &io::Error) -> bool {
    // connect(2) says EADDRNOTAVAIL; bind(2), where the port is chosen early, says EADDRINUSE.
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn to(target: SocketAddr, source: Option<IpAddr>) -> Stream {
        connect(&Target::Tcp(target), source, &ConnectOptions::default()).unwrap()
    }

    #[test]
    fn a_socket_that_is_connected_to_itself_is_found_out() {
        // To bring about what the kernel does by chance: bound to a port, connect to that port.
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
    fn the_source_is_kept_and_ports_are_shared_between_targets() {
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
    fn a_refusal_is_an_answer() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let target = Target::Tcp(address);
        let error = match connect(&target, None, &ConnectOptions::default()) {
            Err(error) => error,
            Ok(stream) => loop {
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

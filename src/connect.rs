//! Client sockets: how to make one, and what became of it.
//!
//! Knows every option that the load generator sets, and why. Performs no registration and waits for nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::stream::Stream;

/// How to connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectOptions {
    /// Whether a small message leaves at once (`TCP_NODELAY`) or waits for the acknowledgement of the last one.
    pub(crate) no_delay: bool,
    /// `SO_SNDBUF`, in bytes; the kernel doubles it for its own needs (socket(7)).
    pub(crate) send_buffer: Option<usize>,
    /// `SO_RCVBUF`, in bytes; doubled too.
    pub(crate) receive_buffer: Option<usize>,
}

/// Whom to connect to, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(SocketAddr),
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
pub(crate) enum Attempt {
    /// It is made.
    Made,
    /// It is under way; an event will tell.
    Pending,
    /// It failed.
    Failed(io::Error),
    /// It connected to itself: see [`attempt`].
    ToItself,
}

/// Begins to connect, from this address if one is given.
///
/// # Errors
/// Those of socket(2), bind(2) and connect(2). `EAGAIN` from a Unix-domain socket means that the server's backlog is
/// full: no attempt is under way then, and no event will tell when there is room.
pub(crate) fn connect(
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
pub(crate) fn can_connect_from(source: IpAddr) -> io::Result<()> {
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

/// What has become of an attempt, asked after an event, which is only a hint: connect(2) says that it is writable when
/// it is over, and the selector may say so earlier.
///
/// TCP has simultaneous open (RFC 9293, 3.5): a socket that connects to a port of the ephemeral range, on its own host,
/// where nobody listens, may be given that same port by the kernel, and then its own SYN completes its handshake. It is
/// connected to itself, and echoes perfectly.
pub(crate) fn attempt(stream: &Stream) -> Attempt {
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
pub(crate) fn is_the_clients_limit(error: &io::Error) -> bool {
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
pub(crate) fn is_out_of_ports(error: &io::Error) -> bool {
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

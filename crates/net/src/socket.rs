//! Listening sockets, TCP and Unix-domain.
//!
//! This module sets the options of listening sockets, each with its reason. `stream.rs` sets the options that change
//! while a connection is open. All sockets are nonblocking, and this module registers none of them.
//!
//! The options are set on the *listening* socket, not on each stream. Linux and the BSDs copy them to each accepted
//! stream (for example `TCP_NODELAY`, `SO_KEEPALIVE` and `SO_OOBINLINE`). This saves three system calls for each
//! client.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use mio::event::Source;
use socket2::{Domain, SockRef, Socket as RawSocket, Type};

use crate::delivery;
#[cfg(unix)]
use crate::socket_file::{self, PathLock, SocketFile};
use crate::stream::Stream;

/// The options of a listening socket. See [`listen_tcp`] and [`listen_unix`].
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// The number of connections that may wait in the backlog. The kernel silently reduces it to its own maximum
    /// (listen(2)).
    pub backlog: i32,
    /// Whether other processes may listen on the same port. Then the kernel distributes the clients among them
    /// (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// The time after which the kernel ends a connection whose peer acknowledges nothing (`TCP_USER_TIMEOUT`, Linux
    /// only); `None` is the system's default.
    pub give_up_after: Option<Duration>,
    /// The permissions of a Unix-domain socket's file, 0 to 0o777; `None` is 0o777 without the bits of umask(2)
    /// (unix(7)).
    pub unix_mode: Option<u32>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// The socket listens on a TCP address.
    Tcp(mio::net::TcpListener),
    /// The socket listens on a path. The drop order is important: the socket is closed, its file is removed, and then
    /// the lock is released, so that another server can own the path. `None` if another process owns the file.
    #[cfg(unix)]
    Unix(mio::net::UnixListener, Option<SocketFile>),
}

/// The address of a peer, for the log.
#[derive(Debug)]
pub enum PeerAddress {
    /// The address of a TCP client.
    Tcp(SocketAddr),
    #[cfg(unix)]
    /// The address of a Unix-domain client. Most such clients have no name.
    Unix(Box<std_unix::SocketAddr>),
}

#[cfg(unix)]
use std::os::unix::net as std_unix;

/// Listens on a TCP address.
///
/// # Errors
/// The unchanged errors of socket(2), setsockopt(2), bind(2) and listen(2). `Unsupported` if `reuse_port` is set on a
/// system without it.
pub fn listen_tcp(address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Without this option, bind(2) fails with "address in use" for a minute after a restart, because connections of the
    // last run are still in TIME_WAIT. On Windows the option is not needed: TIME_WAIT does not block bind there. It
    // would also let any other program take over the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
    if options.reuse_port {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // Without this option, a socket on `[::]:7007` also listens on `:7007` on some systems, but not on others.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    set_stream_options(SockRef::from(&socket), options.give_up_after)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // mio's own `bind` would set a backlog of 128. Then, if thousands of clients connect at once, many hang in
    // SYN_SENT.
    socket.listen(options.backlog)?;
    Ok(Listener::Tcp(mio::net::TcpListener::from_std(
        socket.into(),
    )))
}

/// Sets the options that each accepted stream inherits from its TCP listener.
fn set_stream_options(socket: SockRef<'_>, give_up_after: Option<Duration>) -> io::Result<()> {
    // The server writes all bytes of a read at once. Nagle's algorithm (RFC 896) would only delay them.
    socket.set_tcp_nodelay(true)?;
    // If a peer disappears without closing, the kernel ends the connection after the system's keep-alive time, even if
    // no idle timeout is set.
    socket.set_keepalive(true)?;
    // With this option, an urgent byte (`MSG_OOB`) stays at its place in the stream. Otherwise it would be missing from
    // the echo.
    socket.set_out_of_band_inline(true)?;
    // The kernel keeps unacknowledged bytes, even after a close and after the end of the process. With this option
    // (tcp(7), RFC 5482), the kernel ends a connection whose peer acknowledges nothing for so long, and frees its
    // bytes. Our side gets `ETIMEDOUT`. The kernel sends nothing to the peer then, and resets it when the peer next
    // sends or opens its window.
    //
    // This is only a second line of defence. The loop's own sweeps come first, because the kernel is less exact: if a
    // peer reads slowly with a small window, Linux may count from the first probe of a closed window
    // (`icsk_probes_tstamp`), although the peer has acknowledged bytes since then. The loop postpones the kernel's
    // timeout for such peers.
    delivery::give_up_after(&socket, give_up_after)
}

/// Takes over a TCP socket that listens already, for example one that systemd passes. Sets the options of
/// [`listen_tcp`] that streams inherit. The owner of the socket chose its backlog and its address.
///
/// # Errors
/// `InvalidInput` if the socket does not listen. The errors of setsockopt(2) and fcntl(2).
pub fn adopt_tcp(
    listener: std::net::TcpListener,
    give_up_after: Option<Duration>,
) -> io::Result<Listener> {
    must_listen(SockRef::from(&listener))?;
    set_stream_options(SockRef::from(&listener), give_up_after)?;
    // systemd passes blocking sockets.
    listener.set_nonblocking(true)?;
    Ok(Listener::Tcp(mio::net::TcpListener::from_std(listener)))
}

/// Takes over a Unix-domain socket that listens already. Its file belongs to the owner of the socket, so it is never
/// removed here.
///
/// # Errors
/// `InvalidInput` if the socket does not listen. The errors of fcntl(2).
#[cfg(unix)]
pub fn adopt_unix(listener: std_unix::UnixListener) -> io::Result<Listener> {
    must_listen(SockRef::from(&listener))?;
    listener.set_nonblocking(true)?;
    let listener = mio::net::UnixListener::from_std(listener);
    Ok(Listener::Unix(listener, None))
}

/// Fails if a socket does not listen (SO_ACCEPTCONN, socket(7)): `Accept=yes` in a unit of systemd passes a connection.
fn must_listen(socket: SockRef<'_>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if !socket.is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it does not listen; a socket unit needs Accept=no",
        ));
    }
    let _ = socket;
    Ok(())
}

/// Checks that no other socket is bound to a TCP address, with or without `SO_REUSEPORT`.
///
/// # Errors
/// `AddrInUse`, and the other errors of socket(2), setsockopt(2) and bind(2).
pub fn check_address_is_free(address: SocketAddr) -> io::Result<()> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of an earlier run may be in TIME_WAIT: see `listen_tcp`.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// Listens on a path. If a server that no longer runs has left its socket file there, this function replaces the file.
///
/// # Errors
/// `AddrInUse` if another server owns the path or answers on it. `AlreadyExists` if the path names a file that is not a
/// socket. `InvalidInput` if the path is too long. The errors of open(2), flock(2), socket(2), bind(2), chmod(2) and
/// listen(2).
#[cfg(unix)]
pub fn listen_unix(path: &Path, options: ListenOptions) -> io::Result<Listener> {
    let address = socket2::SockAddr::unix(path)?;
    let lock = PathLock::acquire(path)?;
    socket_file::remove_if_stale(path, &address)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::remember(path, lock)?;
    // The mode is set before listen(2). Until then connect(2) fails with ECONNREFUSED, so no client can connect while
    // the file has other permissions.
    if let Some(mode) = options.unix_mode {
        file.set_mode(mode)?;
    }
    socket.listen(options.backlog)?;
    let listener = std_unix::UnixListener::from(socket);
    Ok(Listener::Unix(
        mio::net::UnixListener::from_std(listener),
        Some(file),
    ))
}

impl Listener {
    /// Takes one connection from the backlog.
    ///
    /// # Errors
    /// The errors of accept(2). The server's `acceptor.rs` says what each of them requires.
    pub fn accept(&self) -> io::Result<(Stream, PeerAddress)> {
        match self {
            Listener::Tcp(listener) => listener
                .accept()
                .map(|(stream, peer)| (Stream::Tcp(stream), PeerAddress::Tcp(peer))),
            #[cfg(unix)]
            Listener::Unix(listener, _) => listener.accept().map(|(stream, peer)| {
                // A Unix-domain stream does not inherit this option. Older kernels have no urgent bytes on Unix-domain
                // sockets, so there a failure does not matter.
                let _ = SockRef::from(&stream).set_out_of_band_inline(true);
                (Stream::Unix(stream), PeerAddress::Unix(Box::new(peer)))
            }),
        }
    }

    /// Returns the number of connections in the backlog; `None` if the system does not report it. Linux reports it for
    /// TCP.
    pub fn backlog_length(&self) -> Option<usize> {
        match self {
            Listener::Tcp(listener) => delivery::backlog_length(listener),
            #[cfg(unix)]
            Listener::Unix(..) => None,
        }
    }

    /// Returns the address on which the socket listens, with the port that the system chose.
    ///
    /// # Errors
    /// The errors of getsockname(2).
    pub fn local_address(&self) -> io::Result<crate::address::Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(crate::address::Address::from),
            #[cfg(unix)]
            Listener::Unix(_, Some(file)) => {
                Ok(crate::address::Address::Unix(file.path().to_owned()))
            }
            #[cfg(unix)]
            Listener::Unix(listener, None) => {
                let address = listener.local_addr()?;
                // A socket without a path has a name in the abstract namespace (unix(7)).
                let path = address.as_pathname().unwrap_or(Path::new("@"));
                Ok(crate::address::Address::Unix(path.to_owned()))
            }
        }
    }

    /// Returns the source that a selector registers.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp(listener) => listener,
            #[cfg(unix)]
            Listener::Unix(listener, _) => listener,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Tcp(address) => address.fmt(f),
            // The peer chooses the path, so it may contain control characters. `Debug` formatting escapes them.
            #[cfg(unix)]
            PeerAddress::Unix(address) => match address.as_pathname() {
                Some(path) => write!(f, "{path:?}"),
                None => f.write_str("an unnamed Unix-domain socket"),
            },
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const OPTIONS: ListenOptions = ListenOptions {
        backlog: 16,
        reuse_port: false,
        give_up_after: Some(Duration::from_secs(60)),
        unix_mode: None,
    };

    /// Accepts a stream of a listener, and checks the options that it inherits.
    #[track_caller]
    fn assert_that_streams_have_the_options(listener: &Listener) {
        let crate::address::Address::Tcp { port, .. } = listener.local_address().unwrap() else {
            panic!("not a TCP address");
        };
        // `connect` blocks until the connection is made, so the backlog holds it now.
        let _client = TcpStream::connect(("127.0.0.1", port.number())).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let Stream::Tcp(stream) = stream else {
            panic!("not a TCP stream");
        };
        let options = SockRef::from(&stream);
        assert!(options.tcp_nodelay().unwrap());
        assert!(options.keepalive().unwrap());
        assert!(options.out_of_band_inline().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(options.tcp_user_timeout().unwrap(), OPTIONS.give_up_after);
    }

    #[test]
    fn accepted_streams_inherit_the_listeners_options() {
        let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), OPTIONS).unwrap();
        assert_that_streams_have_the_options(&listener);
    }

    /// A passed socket is blocking, and has none of the options.
    #[test]
    fn a_passed_socket_gets_the_same_options() {
        let passed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let same = passed.try_clone().unwrap();
        let listener = adopt_tcp(passed, OPTIONS.give_up_after).unwrap();
        assert!(SockRef::from(&same).nonblocking().unwrap());
        assert_that_streams_have_the_options(&listener);
    }

    /// The files in a folder, sorted.
    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Returns the kind of the error of a failed [`listen_unix`].
    fn error_of_listen(path: &Path) -> io::ErrorKind {
        listen_unix(path, OPTIONS).unwrap_err().kind()
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        drop(std_unix::UnixListener::bind(&path).unwrap());
        assert!(
            path.exists(),
            "std does not remove the file, so it is stale now"
        );

        let listener = listen_unix(&path, OPTIONS).unwrap();
        assert_eq!(error_of_listen(&path), io::ErrorKind::AddrInUse);
        assert_eq!(files(folder.path()), ["echo.sock", "echo.sock.lock"]);

        drop(listener);
        assert_eq!(
            files(folder.path()),
            [""; 0],
            "dropping the listener removes both files"
        );
    }

    /// Between its bind(2) and its listen(2), the socket file of another server looks like a stale one.
    #[test]
    fn the_owner_of_the_lock_keeps_the_path_before_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let lock = PathLock::acquire(&path).unwrap();
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        assert_eq!(error_of_listen(&path), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(lock);
        listen_unix(&path, OPTIONS).unwrap();
    }

    #[test]
    fn a_server_that_takes_no_lock_keeps_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let _other = std_unix::UnixListener::bind(&path).unwrap();
        assert_eq!(error_of_listen(&path), io::ErrorKind::AddrInUse);
        assert_eq!(files(folder.path()), ["echo.sock"]);
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious.txt");
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(error_of_listen(&path), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(files(folder.path()), ["precious.txt"]);
    }

    #[test]
    fn a_path_whose_socket_file_was_removed_is_still_owned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let _first = listen_unix(&path, OPTIONS).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(error_of_listen(&path), io::ErrorKind::AddrInUse);
    }

    /// A user has removed both files. So another server can own the path although the first one still runs.
    #[test]
    fn the_files_of_the_next_server_are_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let first = listen_unix(&path, OPTIONS).unwrap();
        for name in files(folder.path()) {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let _second = listen_unix(&path, OPTIONS).unwrap();
        drop(first);
        assert_eq!(files(folder.path()), ["echo.sock", "echo.sock.lock"]);
    }

    #[test]
    fn a_listener_that_fails_leaves_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no").join("echo.sock");
        assert_eq!(error_of_listen(&path), io::ErrorKind::NotFound);
        let path = folder.path().join("long".repeat(30));
        assert_eq!(error_of_listen(&path), io::ErrorKind::InvalidInput);
        assert_eq!(files(folder.path()), [""; 0]);
    }

    #[test]
    fn the_socket_file_has_the_mode_of_the_options() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        for mode in [0, 0o600, 0o660, 0o777] {
            let options = ListenOptions {
                unix_mode: Some(mode),
                ..OPTIONS
            };
            let _listener = listen_unix(&path, options).unwrap();
            let found = path.metadata().unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode, "{mode:o}");
        }
    }
}

//! Listening sockets, TCP and Unix-domain alike.
//!
//! Knows every socket option that the project sets, and why. Performs no registration and waits for nothing: all
//! sockets made here are nonblocking.
//!
//! Options are set on the *listening* socket only. Linux and the BSDs copy them to each accepted stream
//! (`TCP_NODELAY`, `SO_KEEPALIVE` and `SO_OOBINLINE` among them), which saves three system calls a client.

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

/// How to listen. See [`listen_tcp`] and [`listen_unix`].
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections that may wait for `accept`; the kernel lowers it to its own maximum in silence.
    pub backlog: i32,
    /// Whether other processes may listen on the same port, the kernel spreading clients over them.
    pub reuse_port: bool,
    /// For how long the kernel goes on with a peer that takes nothing, of itself (TCP on Linux).
    pub give_up_after: Option<Duration>,
    /// Permissions of a Unix-domain socket's file, 0 to 0o777; `None` is 0o777 without the bits
    /// of umask(2) (unix(7)).
    pub unix_mode: Option<u32>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// Listens on a TCP address.
    Tcp(mio::net::TcpListener),
    /// Dropped in this order: the listener is closed, its file is removed, and then another server may own the path.
    #[cfg(unix)]
    Unix(mio::net::UnixListener, SocketFile),
}

/// Who is at the other end, for the log.
#[derive(Debug)]
pub enum PeerAddress {
    /// Of a TCP client.
    Tcp(SocketAddr),
    #[cfg(unix)]
    /// Of a Unix-domain client, most often without a name.
    Unix(Box<mio_unix::SocketAddr>),
}

#[cfg(unix)]
use std::os::unix::net as mio_unix;

/// Listens on a TCP address.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2), as they are.
pub fn listen_tcp(address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Without it, "address in use" for a minute after a restart: connections of the last run linger in TIME_WAIT.
    // On Windows the same name means that anybody may take the port over, and TIME_WAIT does not hinder anyway.
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
    // Otherwise `[::]:7007` would take `:7007` along on some systems and not on others.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // An echo is written whole: there is nothing for Nagle's algorithm (RFC 896) to wait for.
    socket.set_tcp_nodelay(true)?;
    // A peer that vanished in silence is found in the system's time, even when no idle timeout is set.
    socket.set_keepalive(true)?;
    // An urgent byte (`MSG_OOB`) stays where it was in the stream. Otherwise it would be missing from the echo.
    socket.set_out_of_band_inline(true)?;
    // What is written and not acknowledged lies in the kernel, also after a close and after the process has ended. With this
    // option (tcp(7), RFC 5482) the kernel gives up on a peer that acknowledges nothing for so long, and frees what it holds.
    // Our side ends with `ETIMEDOUT`; the peer is sent nothing, and is reset when it next sends or opens its window.
    //
    // It is a second line behind the loop's own sweeps, as the kernel is less exact: while a peer reads slowly with a small
    // window, it may count from the first probe of a closed window (Linux, `icsk_probes_tstamp`) although bytes are
    // acknowledged meanwhile. For such peers the loop puts it off.
    delivery::give_up_after(&socket, options.give_up_after)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // mio's own bind would fix a backlog of 128, at which thousands that connect at once hang in SYN_SENT.
    socket.listen(options.backlog)?;
    Ok(Listener::Tcp(mio::net::TcpListener::from_std(
        socket.into(),
    )))
}

/// Listens on a path, replacing the socket file that a server left there which no longer runs.
///
/// # Errors
/// `AddrInUse` when another server owns the path or answers on it, `AlreadyExists` when something else than a socket
/// lies there, and those of open(2), flock(2), socket(2), bind(2), chmod(2) and listen(2).
#[cfg(unix)]
pub fn listen_unix(path: &Path, options: ListenOptions) -> io::Result<Listener> {
    let address = socket2::SockAddr::unix(path)?;
    let lock = PathLock::acquire(path)?;
    socket_file::remove_if_stale(path, &address)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::remember(path, lock)?;
    // Before listen(2): until then connect(2) fails with ECONNREFUSED, so no client connects with other permissions.
    if let Some(mode) = options.unix_mode {
        file.set_mode(mode)?;
    }
    socket.listen(options.backlog)?;
    let listener = mio_unix::UnixListener::from(socket);
    Ok(Listener::Unix(
        mio::net::UnixListener::from_std(listener),
        file,
    ))
}

impl Listener {
    /// Takes one waiting connection out of the backlog.
    ///
    /// # Errors
    /// Those of accept(2): see the acceptor for what each of them asks for.
    pub fn accept(&self) -> io::Result<(Stream, PeerAddress)> {
        match self {
            Listener::Tcp(listener) => listener
                .accept()
                .map(|(stream, peer)| (Stream::Tcp(stream), PeerAddress::Tcp(peer))),
            #[cfg(unix)]
            Listener::Unix(listener, _) => listener.accept().map(|(stream, peer)| {
                // Not inherited here. Older kernels know no urgent bytes on Unix-domain sockets, and need it not.
                let _ = SockRef::from(&stream).set_out_of_band_inline(true);
                (Stream::Unix(stream), PeerAddress::Unix(Box::new(peer)))
            }),
        }
    }

    /// How many connections wait in the backlog; `None` where the system does not tell: it does for TCP on Linux.
    pub fn backlog_length(&self) -> Option<usize> {
        match self {
            Listener::Tcp(listener) => delivery::backlog_length(listener),
            #[cfg(unix)]
            Listener::Unix(..) => None,
        }
    }

    /// The address that it really has, with the port that the system chose.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_address(&self) -> io::Result<crate::address::Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(crate::address::Address::from),
            #[cfg(unix)]
            Listener::Unix(_, file) => Ok(crate::address::Address::Unix(file.path().to_owned())),
        }
    }

    /// What a selector registers.
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
            // The path is the peer's own choice: Debug formatting escapes the control characters in it.
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

    #[test]
    fn accepted_streams_inherit_the_listeners_options() {
        let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), OPTIONS).unwrap();
        let crate::address::Address::Tcp { port, .. } = listener.local_address().unwrap() else {
            panic!("not a TCP address");
        };
        // Blocking, so it has connected when it returns, and the backlog holds it.
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

    /// The files in a folder, sorted.
    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn refusal(path: &Path) -> io::ErrorKind {
        listen_unix(path, OPTIONS).unwrap_err().kind()
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        drop(mio_unix::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves its file behind: that is stale");

        let listener = listen_unix(&path, OPTIONS).unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AddrInUse);
        assert_eq!(files(folder.path()), ["echo.sock", "echo.sock.lock"]);

        drop(listener);
        assert_eq!(
            files(folder.path()),
            [""; 0],
            "both files go with the listener"
        );
    }

    /// The socket of another server between bind(2) and listen(2) looks like a stale one.
    #[test]
    fn the_owner_of_the_lock_keeps_the_path_before_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let lock = PathLock::acquire(&path).unwrap();
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(lock);
        listen_unix(&path, OPTIONS).unwrap();
    }

    #[test]
    fn a_server_of_another_program_which_takes_no_lock_keeps_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let _other = mio_unix::UnixListener::bind(&path).unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AddrInUse);
        assert_eq!(files(folder.path()), ["echo.sock"]);
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious.txt");
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(files(folder.path()), ["precious.txt"]);
    }

    #[test]
    fn a_path_whose_socket_file_was_removed_is_still_owned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let _first = listen_unix(&path, OPTIONS).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AddrInUse);
    }

    /// A person has removed both files, and so taken the path from its owner.
    #[test]
    fn a_successors_files_are_not_removed() {
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
        assert_eq!(refusal(&path), io::ErrorKind::NotFound);
        let path = folder.path().join("long".repeat(30));
        assert_eq!(refusal(&path), io::ErrorKind::InvalidInput);
        assert_eq!(files(folder.path()), [""; 0]);
    }

    #[test]
    fn the_mode_is_that_of_the_options() {
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

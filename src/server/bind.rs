//! Opens the listening socket of an address. The error of a failure names the cause and a remedy.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use net::address::{Address, Host};
use net::socket::{self, ListenOptions, Listener};

/// Opens `count` listeners of an address: one for each loop. For a hostname, this is the first address that it resolves
/// to, and a warning is logged. A Unix-domain path has one listener.
///
/// # Errors
/// Those of the name resolution and of the listening sockets.
pub(super) fn listen(
    address: &Address,
    options: ListenOptions,
    count: usize,
) -> io::Result<Vec<Listener>> {
    match address {
        #[cfg(unix)]
        Address::Unix(path) => Ok(vec![socket::listen_unix(path, options)?]),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        Address::Tcp { host, .. } => {
            let resolved = address.resolve()?;
            let Some(first) = resolved.first() else {
                return Err(io::ErrorKind::NotFound.into());
            };
            if matches!(host, Host::Name(_)) {
                let all: Vec<_> = resolved.iter().map(ToString::to_string).collect();
                log::warn!(
                    "{address} resolved to {}; listening on the first, {first}; only a numeric address is \
                     deterministic",
                    all.join(", ")
                );
            }
            // `[::ffff:127.0.0.1]` is the IPv4 address 127.0.0.1, written as an IPv6 address (RFC 4291, 2.5.5.2). An
            // IPv6-only socket cannot bind it (IPV6_V6ONLY, ipv6(7)), so the server listens on the IPv4 address.
            let first = SocketAddr::new(first.ip().to_canonical(), first.port());
            listen_tcp(first, options, count)
        }
    }
}

fn listen_tcp(
    address: SocketAddr,
    options: ListenOptions,
    count: usize,
) -> io::Result<Vec<Listener>> {
    if count == 1 {
        return Ok(vec![socket::listen_tcp(address, options)?]);
    }
    if !options.reuse_port {
        // With SO_REUSEPORT, a second server of the same user would listen too, and take a part of the clients.
        socket::check_address_is_free(address)?;
    }
    let shared = ListenOptions {
        reuse_port: true,
        ..options
    };
    let first = socket::listen_tcp(address, shared)?;
    // The system may have chosen the port.
    let chosen = first.local_address()?.socket_addr().unwrap_or(address);
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(socket::listen_tcp(chosen, shared)?);
    }
    Ok(listeners)
}

/// A socket that listens already: see [`Server::bind_with`](crate::Server::bind_with).
#[derive(Debug)]
pub enum Passed {
    /// A TCP socket.
    Tcp(std::net::TcpListener),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

/// Takes over a passed socket.
///
/// # Errors
/// Those of setting the options. `InvalidInput` if the socket does not listen.
pub(super) fn adopt(passed: Passed, give_up_after: Option<Duration>) -> io::Result<Listener> {
    match passed {
        Passed::Tcp(listener) => socket::adopt_tcp(listener, give_up_after),
        #[cfg(unix)]
        Passed::Unix(listener) => socket::adopt_unix(listener),
    }
}

/// The error of a server that cannot be bound or started.
///
/// Its message is one line. It names the address, the cause, and usually a remedy.
#[derive(Debug)]
pub struct BindError {
    /// The step that failed.
    stage: Stage,
    /// The system's error.
    source: io::Error,
}

/// The step that failed.
#[derive(Debug)]
enum Stage {
    /// The configuration has no address.
    Configure,
    /// The selector or its waker could not be created.
    Poll,
    /// The thread of the server could not be started.
    Thread,
    /// The server could not listen on this address.
    Listen(Address),
    /// The server could not take over the passed socket with this index.
    Adopt(usize),
}

impl BindError {
    pub(super) fn without_address() -> BindError {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "no address is configured");
        BindError {
            stage: Stage::Configure,
            source,
        }
    }

    pub(super) fn without_poll(source: io::Error) -> BindError {
        BindError {
            stage: Stage::Poll,
            source,
        }
    }

    pub(super) fn without_thread(source: io::Error) -> BindError {
        BindError {
            stage: Stage::Thread,
            source,
        }
    }

    pub(super) fn at(address: Address, source: io::Error) -> BindError {
        BindError {
            stage: Stage::Listen(address),
            source,
        }
    }

    pub(super) fn at_passed(index: usize, source: io::Error) -> BindError {
        BindError {
            stage: Stage::Adopt(index),
            source,
        }
    }

    /// Returns the kind of the system's error; `InvalidInput` if the configuration has no address.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Returns the cause and a remedy, for the errors of listening that have a known remedy.
    fn advice(&self) -> Option<&'static str> {
        use io::ErrorKind as Kind;
        let unix = matches!(self.stage, Stage::Listen(Address::Unix(_)));
        Some(match self.source.kind() {
            Kind::PermissionDenied if unix => {
                "permission denied (use a path in a directory with write permission)"
            }
            Kind::PermissionDenied => {
                "permission denied (ports below 1024 need privileges: use a higher port, or auto)"
            }
            Kind::AddrInUse if unix => {
                "another server owns this path (stop it, or use another path)"
            }
            Kind::AddrInUse => {
                "the port is in use (stop the process that has it, use another port, or auto for a free one)"
            }
            Kind::AddrNotAvailable => {
                "not an address of this machine (use one of its addresses, or omit the host for every IPv4 interface)"
            }
            Kind::AlreadyExists => {
                "the path is a file that is not a socket (remove it, or use another path)"
            }
            Kind::NotFound if unix => "no such directory (create it, or use another path)",
            Kind::InvalidInput if unix => {
                "the path is too long for a socket (use one of at most 100 bytes)"
            }
            Kind::Unsupported if !unix => {
                "this system cannot share a port (omit --reuse-port and --threads)"
            }
            Kind::Unsupported => "this system has no Unix-domain sockets (use HOST:PORT)",
            _ => return None,
        })
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.stage {
            Stage::Configure => {
                return f.write_str(
                    "there is no address to listen on: configure at least one, such as 127.0.0.1:7007",
                );
            }
            Stage::Poll => return write!(f, "cannot create the selector: {}", self.source),
            Stage::Thread => return write!(f, "cannot start a thread: {}", self.source),
            Stage::Adopt(n) => return write!(f, "cannot use passed socket {n}: {}", self.source),
            Stage::Listen(address) => address,
        };
        write!(f, "cannot listen on {address}: ")?;
        let named = matches!(
            address,
            Address::Tcp {
                host: Host::Name(_),
                ..
            }
        );
        match self.advice() {
            Some(advice) => f.write_str(advice),
            None if named => write!(
                f,
                "{} (is the name spelled right? a numeric address needs no name resolution)",
                self.source
            ),
            None => write!(f, "{}", self.source),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

//! From an address as a person wrote it to a listening socket, or to an error that says what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use net::address::{Address, Host};
use net::socket::{self, ListenOptions, Listener};

/// Listens on an address as a person wrote it. Of a hostname the first address is taken, and a warning says so.
pub(super) fn listen(address: &Address, options: ListenOptions) -> io::Result<Listener> {
    match address {
        #[cfg(unix)]
        Address::Unix(path) => socket::listen_unix(path, options),
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
                    "{address} resolved to {}; listening on the first, {first}; a numeric address would be \
                     deterministic",
                    all.join(", ")
                );
            }
            // `[::ffff:127.0.0.1]` is the IPv4 address 127.0.0.1 written as IPv6 (RFC 4291, 2.5.5.2). A socket for IPv6 alone
            // cannot bind it, so listen on the IPv4 address.
            let first = SocketAddr::new(first.ip().to_canonical(), first.port());
            socket::listen_tcp(first, options)
        }
    }
}

/// Why a server cannot be bound. The message names the address, the cause and a cure, in one line.
#[derive(Debug)]
pub struct BindError {
    /// What could not be done.
    stage: Stage,
    /// The system's error.
    source: io::Error,
}

/// What could not be done.
#[derive(Debug)]
enum Stage {
    /// To find an address in the configuration.
    Configure,
    /// To make a poll.
    Poll,
    /// To start a thread.
    Thread,
    /// To listen on this address.
    Listen(Address),
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

    /// The kind of the system's error; `InvalidInput` if no address was configured.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    fn advice(&self) -> Option<&'static str> {
        use io::ErrorKind as Kind;
        let unix = matches!(self.stage, Stage::Listen(Address::Unix(_)));
        Some(match self.source.kind() {
            Kind::PermissionDenied if unix => {
                "permission denied (name a path in a directory that you may write to)"
            }
            Kind::PermissionDenied => {
                "permission denied (ports below 1024 need privileges: name a higher one, or auto)"
            }
            Kind::AddrInUse if unix => {
                "another server owns this path (stop it, or name another path)"
            }
            Kind::AddrInUse => {
                "the port is in use (stop whoever has it, name another, or auto for a free one)"
            }
            Kind::AddrNotAvailable => {
                "not an address of this machine (name one of its own, or no host for every IPv4 interface)"
            }
            Kind::AlreadyExists => {
                "there is a file that is not a socket (remove it, or name another path)"
            }
            Kind::NotFound if unix => "no such directory (make it, or name another path)",
            Kind::InvalidInput if unix => {
                "the path is too long for a socket (name one of at most 100 bytes)"
            }
            Kind::Unsupported if !unix => {
                "this system cannot share a port (leave --reuse-port out)"
            }
            Kind::Unsupported => "this system has no Unix-domain sockets (name HOST:PORT)",
            _ => return None,
        })
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.stage {
            Stage::Configure => {
                return f.write_str(
                    "there is no address to listen on: name at least one, such as 127.0.0.1:7007",
                );
            }
            Stage::Poll => return write!(f, "cannot make a poll: {}", self.source),
            Stage::Thread => return write!(f, "cannot start a thread: {}", self.source),
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
                "{} (is the name spelled right? a numeric address needs no resolving)",
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

//! The address of a server.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{Domain, SockAddr, Socket, Type};

/// The address of a server under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix-domain stream socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether the server is on this machine for certain: a loopback address or a Unix-domain socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Endpoint::Tcp(address) => address.ip().is_loopback(),
            Endpoint::Unix(_) => true,
        }
    }

    /// Whether the server is reached over TCP.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        matches!(self, Endpoint::Tcp(_))
    }

    /// Makes a socket of this address family, and the address to connect it to.
    pub(crate) fn socket(&self) -> std::io::Result<(Socket, SockAddr)> {
        let (domain, address) = match self {
            Endpoint::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Endpoint::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        Ok((Socket::new(domain, Type::STREAM, None)?, address))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

//! Addresses as text (`HOST:PORT` or `unix:PATH`): parsing, printing and resolving.
//!
//! This module opens no socket.
//!
//! The rules are those of `bind` on the tutorial page that this project is based on:
//!
//! - The host is an address, a hostname or empty. An empty host means every IPv4 interface.
//! - The port is 1 to 65535, "as 0 is reserved".
//! - A hostname stands for its first address. So only a numeric address is deterministic.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on or to connect to, as a user writes it.
///
/// | written | means |
/// |---|---|
/// | `127.0.0.1:7007` | an IPv4 address and a port |
/// | `[::1]:7007` | an IPv6 address and a port |
/// | `localhost:7007` | a hostname; its first address is used |
/// | `:7007` | every IPv4 interface |
/// | `127.0.0.1:auto`, `127.0.0.1:0` | a free port that the system chooses |
/// | `unix:/run/echo.sock` | a Unix-domain stream socket |
///
/// ```
/// let address: mio_echo_net::address::Address = "[::1]:7007".parse()?;
/// assert_eq!(address.to_string(), "[::1]:7007");
/// let any: mio_echo_net::address::Address = "127.0.0.1:0".parse()?;
/// assert_eq!(any.to_string(), "127.0.0.1:auto");
/// # Ok::<(), mio_echo_net::address::ParseAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp {
        /// The host: an address, a hostname, or nothing.
        host: Host,
        /// The port.
        port: Port,
    },
    /// The path of a Unix-domain stream socket.
    Unix(PathBuf),
}

/// The host part of a TCP [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The empty host: every IPv4 interface when listening, the loopback interface when connecting.
    Empty,
    /// A numeric address.
    Ip(IpAddr),
    /// A hostname. It is resolved each time it is used, not when it is parsed.
    Name(String),
}

/// The port part of a TCP [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// The system chooses a free port.
    Auto,
    /// This port, 1 to 65535.
    Number(NonZeroU16),
}

impl Port {
    /// Returns the port number for bind(2), which is the reserved 0 for [`Port::Auto`].
    pub fn number(self) -> u16 {
        match self {
            Port::Auto => 0,
            Port::Number(number) => number.get(),
        }
    }
}

impl Address {
    /// Returns the socket address of a numeric TCP address, and `None` for any other. Port 0 stands for
    /// [`Port::Auto`].
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp {
                host: Host::Ip(ip),
                port,
            } => Some(SocketAddr::new(*ip, port.number())),
            _ => None,
        }
    }

    /// Resolves this address: returns its socket addresses, in the resolver's order.
    ///
    /// The list is empty for a Unix-domain path, which needs no resolving.
    ///
    /// # Errors
    /// The resolver's error if the hostname is unknown, and [`io::ErrorKind::NotFound`] if the name has no address.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = match self {
            Address::Unix(_) => return Ok(Vec::new()),
            Address::Tcp { host, port } => (host, port.number()),
        };
        let found = match host {
            Host::Empty => vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))],
            Host::Ip(ip) => vec![SocketAddr::from((*ip, port))],
            Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.collect(),
        };
        if found.is_empty() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        Ok(found)
    }
}

impl Default for Address {
    /// Returns `127.0.0.1:7007`: the loopback interface, and a port that resembles the echo service's port 7 but needs
    /// no privilege.
    fn default() -> Self {
        Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))
    }
}

impl From<SocketAddr> for Address {
    /// Converts a socket address. Port 0 becomes [`Port::Auto`], because bind(2) chooses a free port for 0.
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            // A link-local address needs its zone: without it, the interface is not known (RFC 4007).
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                Host::Name(format!("{}%{}", v6.ip(), v6.scope_id()))
            }
            _ => Host::Ip(address.ip()),
        };
        Address::Tcp {
            host,
            port: NonZeroU16::new(address.port()).map_or(Port::Auto, Port::Number),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", escaped(&path.to_string_lossy())),
            Address::Tcp { host, port } => {
                match host {
                    Host::Empty => {}
                    Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
                    Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}")?,
                    Host::Name(name) if name.contains(':') => write!(f, "[{}]", escaped(name))?,
                    Host::Name(name) => write!(f, "{}", escaped(name))?,
                }
                match port {
                    Port::Auto => f.write_str(":auto"),
                    Port::Number(number) => write!(f, ":{number}"),
                }
            }
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use ParseAddressError as Wrong;
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(Wrong::NoPath),
                path => Ok(Address::Unix(PathBuf::from(path))),
            };
        }
        if text.contains("://") || text.starts_with("tcp:") {
            return Err(Wrong::Scheme(text.to_owned()));
        }
        if text.starts_with(['/', '.']) {
            return Err(Wrong::Path(text.to_owned()));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(Wrong::NoPort(text.to_owned()));
        };
        if text.starts_with('[') && text.ends_with(']') {
            return Err(Wrong::NoPort(text.to_owned()));
        }
        let host = if let Some(inner) = host.strip_prefix('[') {
            let inner = inner
                .strip_suffix(']')
                .ok_or_else(|| Wrong::Brackets(text.to_owned()))?;
            parse_bracketed(inner)?
        } else if host.contains(':') || host.ends_with(']') {
            return Err(Wrong::Brackets(text.to_owned()));
        } else {
            parse_host(host)?
        };
        Ok(Address::Tcp {
            host,
            port: parse_port(port)?,
        })
    }
}

/// Returns `text` with its control characters escaped, so that a log line stays one line.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

fn parse_host(host: &str) -> Result<Host, ParseAddressError> {
    if host.is_empty() {
        return Ok(Host::Empty);
    }
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip(ip));
    }
    // Digits and dots that are not a complete IPv4 address are a mistake, not a hostname. getaddrinfo(3) would accept
    // them: it reads "127.1" as 127.0.0.1 and "1.2.3" as 1.2.0.3 (the old short forms of inet_aton(3)).
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(ParseAddressError::NotIpv4(host.to_owned()));
    }
    if host
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '*')
    {
        return Err(ParseAddressError::NotAHost(host.to_owned()));
    }
    Ok(Host::Name(host.to_owned()))
}

fn parse_bracketed(inner: &str) -> Result<Host, ParseAddressError> {
    match inner.parse() {
        Ok(ip) => Ok(Host::Ip(IpAddr::V6(ip))),
        // An address with a zone ("fe80::1%eth0") goes to the resolver, which finds the number of the interface.
        Err(_) if inner.contains('%') => Ok(Host::Name(inner.to_owned())),
        Err(_) => Err(ParseAddressError::NotIpv6(inner.to_owned())),
    }
}

fn parse_port(port: &str) -> Result<Port, ParseAddressError> {
    use ParseAddressError as Wrong;
    if port == "auto" {
        return Ok(Port::Auto);
    }
    // The parser of `u16` would also accept "+80".
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::NotAPort(port.to_owned()));
    }
    let number: u16 = port
        .parse()
        .map_err(|_| Wrong::PortTooLarge(port.to_owned()))?;
    Ok(NonZeroU16::new(number).map_or(Port::Auto, Port::Number))
}

/// The reason why a text is not an [`Address`]. Most messages say what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseAddressError {
    /// The text does not end with `:PORT`.
    NoPort(String),
    /// The port is above 65535.
    PortTooLarge(String),
    /// The port is neither a number nor `auto`.
    NotAPort(String),
    /// An IPv6 address has no brackets, or the brackets do not match.
    Brackets(String),
    /// The host consists of digits and dots, but is not an IPv4 address.
    NotIpv4(String),
    /// The text in brackets is not an IPv6 address.
    NotIpv6(String),
    /// The host contains white space, a control character or `*`.
    NotAHost(String),
    /// The text has `scheme://` or `tcp:` before the address.
    Scheme(String),
    /// The text is a path without `unix:` before it.
    Path(String),
    /// The text is `unix:` without a path.
    NoPath,
}

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                write!(
                    f,
                    "{text} is a port without a host: write 127.0.0.1:{text}, or :{text} for every IPv4 interface"
                )
            }
            Self::NoPort(text) if text == "auto" => {
                f.write_str("auto is a port without a host: write 127.0.0.1:auto, or :auto for every IPv4 interface")
            }
            Self::NoPort(text) => write!(
                f,
                "{text:?} has no port: write HOST:PORT, such as 127.0.0.1:{DEFAULT_PORT}"
            ),
            Self::PortTooLarge(port) => write!(
                f,
                "{port} is not a port: write a number from 1 to 65535, or auto for a free port"
            ),
            Self::NotAPort(port) => write!(
                f,
                "{port:?} is not a port: write a number from 1 to 65535, or auto for a free port"
            ),
            Self::Brackets(text) => write!(
                f,
                "{text:?} is not an address: write an IPv6 address in brackets, such as [::1]:{DEFAULT_PORT}"
            ),
            Self::NotIpv4(host) => write!(
                f,
                "{host} is not an IPv4 address: write four numbers from 0 to 255 with dots between, such as 127.0.0.1"
            ),
            Self::NotIpv6(host) => write!(f, "{host:?} is not an IPv6 address"),
            Self::NotAHost(host) if host == "*" => {
                f.write_str("* is not a hostname: for every IPv4 interface, leave the host out, such as :7007")
            }
            Self::NotAHost(host) => write!(f, "{host:?} is not a hostname"),
            Self::Scheme(text) => write!(
                f,
                "{text:?} starts with a scheme: write only HOST:PORT, such as 127.0.0.1:{DEFAULT_PORT}"
            ),
            Self::Path(text) => write!(f, "{text:?} is a path: write unix:{text}"),
            Self::NoPath => f.write_str("unix: needs a path, such as unix:/tmp/echo.sock"),
        }
    }
}

impl std::error::Error for ParseAddressError {}

/// The port of [`Address::default`]. The echo service has port 7 (RFC 862); a port above 1023 needs no privilege.
const DEFAULT_PORT: u16 = 7007;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error message for a text that is not an address.
    fn wrong(text: &str) -> String {
        text.parse::<Address>().unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_printed_as_they_were_written() {
        for text in [
            "127.0.0.1:7007",
            "[::1]:7007",
            ":7007",
            ":auto",
            "localhost:auto",
            "[fe80::1%lo]:7007",
            "unix:/tmp/with space.sock",
        ] {
            let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn the_empty_host_is_every_ipv4_interface() {
        let address: Address = ":7007".parse().unwrap();
        assert_eq!(
            address.resolve().unwrap(),
            ["0.0.0.0:7007".parse().unwrap()]
        );
    }

    #[test]
    fn port_zero_means_auto_as_in_a_socket_address() {
        let text = "127.0.0.1:0";
        let socket: SocketAddr = text.parse().unwrap();
        assert_eq!(text.parse(), Ok(Address::from(socket)));
        assert_eq!(text.parse(), "127.0.0.1:auto".parse::<Address>());
    }

    #[test]
    fn a_wrong_address_gets_a_hint() {
        for (text, hint) in [
            ("7007", ":7007 for every"),
            ("localhost", "127.0.0.1:7007"),
            ("localhost:", "1 to 65535"),
            ("localhost:http", "1 to 65535"),
            ("localhost:+80", "1 to 65535"),
            ("localhost:65536", "1 to 65535"),
            ("::1:7007", "brackets"),
            ("[::1:7007", "brackets"),
            ("::1]:7007", "brackets"),
            ("[::g]:7007", "not an IPv6"),
            ("127.1:7007", "four numbers"),
            ("127.0.0.256:7007", "four numbers"),
            ("my host:7007", "not a hostname"),
            ("unix:", "needs a path"),
            ("http://127.0.0.1:80", "only HOST:PORT"),
            ("/tmp/echo.sock", "unix:/tmp/echo.sock"),
            ("*:7007", "such as :7007"),
            ("[::1]", "no port"),
            ("auto", "127.0.0.1:auto"),
            ("", "no port"),
        ] {
            let message = wrong(text);
            assert!(message.contains(hint), "{text:?}: {message:?}");
        }
    }

    #[test]
    fn control_characters_are_escaped_when_shown() {
        let address: Address = "unix:/tmp/a\u{1b}[31m\nb".parse().unwrap();
        assert_eq!(address.to_string(), "unix:/tmp/a\\u{1b}[31m\\nb");
    }
}

//! The four queues of a loopback connection: what the kernel holds, so that the rest is what the process holds.
//!
//! A byte that the client has sent and has not read again is in one of five places: the client's send queue, the
//! server's receive queue, the server's process, the server's send queue, or the client's receive queue. The kernel
//! tells the length of the four queues in `/proc/net/tcp` (`tx_queue` and `rx_queue`: proc_pid_net(5)), one line for
//! each end of the connection. How many bytes the kernel takes says nothing about the process, because the kernel lets
//! its buffers grow to several megabytes.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The queues of all TCP connections of this machine, at one moment.
#[derive(Debug)]
pub(crate) struct Queues(HashMap<(SocketAddr, SocketAddr), End>);

/// The queues of one end of a connection, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    send: u64,
    receive: u64,
    /// Whether this end has sent its FIN.
    has_ended: bool,
}

impl Queues {
    /// Reads them; `None` if the system does not say.
    pub(crate) fn read() -> Option<Queues> {
        let v4 = fs::read_to_string("/proc/net/tcp").ok()?;
        let v6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
        let lines = v4.lines().chain(v6.lines());
        Some(Queues(lines.filter_map(line).collect()))
    }

    /// Returns how many bytes the kernel holds for a connection of this machine with itself; `None` if one end is not
    /// there.
    ///
    /// A byte that has arrived and is not acknowledged yet is in two queues, so the sum may be a little too large.
    pub(crate) fn of(&self, client: SocketAddr, server: SocketAddr) -> Option<u64> {
        let ours = self.0.get(&(client, server))?;
        let theirs = self.0.get(&(server, client))?;
        Some(ours.send + ours.receive + theirs.send + theirs.receive)
    }

    /// Returns how many bytes of a client the kernel of the server has not acknowledged. The end of the stream counts
    /// as one byte.
    pub(crate) fn unacknowledged(&self, client: SocketAddr, server: SocketAddr) -> Option<u64> {
        Some(self.0.get(&(client, server))?.send)
    }

    /// Returns true if the server has ended its stream of this connection, or has no such connection any more.
    pub(crate) fn server_has_ended(&self, client: SocketAddr, server: SocketAddr) -> bool {
        self.0
            .get(&(server, client))
            .is_none_or(|end| end.has_ended)
    }
}

/// The states of an end that has sent its FIN: TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE, TCP_LAST_ACK and
/// TCP_CLOSING (include/net/tcp_states.h).
const ENDED: [&str; 6] = ["04", "05", "06", "07", "09", "0B"];

/// Whether a TCP socket of this machine listens on this port, on any address; `None` if the system does not say.
pub(crate) fn is_listening(port: u16) -> Option<bool> {
    let v4 = fs::read_to_string("/proc/net/tcp").ok()?;
    let v6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let listens = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(address);
        let state = fields.nth(1);
        // 0A is TCP_LISTEN (include/net/tcp_states.h).
        local.is_some_and(|local| local.port() == port) && state == Some("0A")
    };
    Some(v4.lines().chain(v6.lines()).any(listens))
}

/// Parses a line: both addresses, and the queues of its end.
fn line(line: &str) -> Option<((SocketAddr, SocketAddr), End)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, peer) = (address(fields.next()?)?, address(fields.next()?)?);
    let (state, queues) = (fields.next()?, fields.next()?);
    let (tx, rx) = queues.split_once(':')?;
    let bytes = |hex| u64::from_str_radix(hex, 16).ok();
    let end = End {
        send: bytes(tx)?,
        receive: bytes(rx)?,
        has_ended: ENDED.contains(&state),
    };
    Some(((local, peer), end))
}

/// Parses an address: words of 32 bits in hexadecimal, each in the byte order of the machine, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<u8> = (0..ip.len() / 8)
        .filter_map(|n| u32::from_str_radix(ip.get(8 * n..8 * n + 8)?, 16).ok())
        .flat_map(u32::to_ne_bytes)
        .collect();
    let ip = match words.as_slice() {
        [a, b, c, d] => IpAddr::from(Ipv4Addr::new(*a, *b, *c, *d)),
        words => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)),
    };
    // A socket of both protocols has its IPv4 peers as IPv6 addresses.
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_has_two_addresses_and_two_queues() {
        let text = "  5: 0100007F:1B5F 0100007F:C350 01 00000010:00000A00 00:00000000 00000000     0 0 1 1";
        let (pair, end) = line(text).unwrap();
        assert_eq!(pair.0, "127.0.0.1:7007".parse().unwrap());
        assert_eq!(pair.1, "127.0.0.1:50000".parse().unwrap());
        assert_eq!((end.send, end.receive), (0x10, 0xa00));
        assert!(!end.has_ended);
        let (_, end) = line(&text.replace(" 01 ", " 09 ")).unwrap();
        assert!(end.has_ended);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_ipv4_address_of_a_dual_socket_is_an_ipv4_address() {
        let mapped = "0000000000000000FFFF00000100007F:1B5F";
        assert_eq!(address(mapped), "127.0.0.1:7007".parse().ok());
        let loopback = "00000000000000000000000001000000:1B5F";
        assert_eq!(address(loopback), "[::1]:7007".parse().ok());
    }
}

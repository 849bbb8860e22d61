//! What went wrong with an echo: from bytes that are not those expected to a name, a place and a sentence.
//!
//! Slow and thorough, as it is asked once a fault. Knows the payload, and no socket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::payload::{Origin, Payload};
use crate::names::UnknownName;

/// The kinds of errors, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Bytes came back changed.
    Corrupt,
    /// Bytes came back that were never sent, or came back twice.
    Surplus,
    /// The bytes of another connection came back.
    Foreign,
    /// Bytes are missing: the stream ended within a message, or went on without them.
    Short,
    /// Nothing came back in time.
    Timeout,
    /// The server reset the connection.
    Reset,
    /// The server ended the connection in good order, between two messages or before the first byte of one.
    Closed,
    /// A connection could not be made.
    Connect,
    /// The kernel connected the client to itself, as nobody listens and it chose the very port that it connects to.
    SelfConnect,
    /// The client has no port left to connect from, or no descriptor: its own limit, not the server's.
    ClientLimit,
    /// Any other error of the socket.
    Socket,
}

impl FaultKind {
    /// All kinds, worst first.
    pub const ALL: [FaultKind; 11] = [
        FaultKind::Corrupt,
        FaultKind::Surplus,
        FaultKind::Foreign,
        FaultKind::Short,
        FaultKind::Timeout,
        FaultKind::Reset,
        FaultKind::Closed,
        FaultKind::Connect,
        FaultKind::SelfConnect,
        FaultKind::ClientLimit,
        FaultKind::Socket,
    ];

    /// Whether the server is wrong as an echo server, not only slow or gone.
    #[must_use]
    pub fn is_a_wrong_echo(self) -> bool {
        use FaultKind::*;
        matches!(self, Corrupt | Surplus | Foreign | Short)
    }
}

/// As in the JSON report.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Corrupt => "corrupt",
            FaultKind::Surplus => "surplus",
            FaultKind::Foreign => "foreign",
            FaultKind::Short => "short",
            FaultKind::Timeout => "timeout",
            FaultKind::Reset => "reset",
            FaultKind::Closed => "closed",
            FaultKind::Connect => "connect",
            FaultKind::SelfConnect => "self_connect",
            FaultKind::ClientLimit => "client_limit",
            FaultKind::Socket => "socket",
        })
    }
}

impl FromStr for FaultKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<FaultKind, UnknownName> {
        UnknownName::find(FaultKind::ALL, text)
    }
}

/// One error, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// In bytes from the start of the connection's stream; `None` where no stream was.
    pub(crate) offset: Option<u64>,
    /// What was seen.
    pub(crate) detail: String,
}

/// What a connection knows when it receives what it did not expect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) payload: Payload,
    pub(crate) connection: u32,
    /// How many connections there have been so far.
    pub(crate) connections: u32,
    /// Where in the stream the first unexpected byte stands.
    pub(crate) offset: u64,
    /// How many bytes of the stream are owed from there on.
    pub(crate) owed: u64,
}

impl Scene {
    /// Names what came instead of what was owed.
    pub(crate) fn diagnose(&self, came: &[u8]) -> Fault {
        let (kind, detail) = self
            .by_origin(came)
            .or_else(|| self.as_insertion(came))
            .unwrap_or_else(|| self.as_corruption(came));
        Fault {
            kind,
            offset: Some(self.offset),
            detail,
        }
    }

    /// The bytes belong somewhere else: to another connection, or further ahead or back in this one.
    fn by_origin(&self, came: &[u8]) -> Option<(FaultKind, String)> {
        let Origin { connection, offset } = self.payload.origin(came, self.connections)?;
        if connection != self.connection {
            return Some((
                FaultKind::Foreign,
                format!("the bytes of connection {connection} at offset {offset} came back"),
            ));
        }
        if offset < self.offset {
            return Some((
                FaultKind::Surplus,
                format!("the bytes of offset {offset} came back again"),
            ));
        }
        let missing = offset - self.offset;
        Some((
            FaultKind::Short,
            format!("{missing} bytes are missing: those of offset {offset} came instead"),
        ))
    }

    /// The stream goes on as it should behind something that does not belong to it.
    fn as_insertion(&self, came: &[u8]) -> Option<(FaultKind, String)> {
        if self.owed == 0 {
            let n = came.len();
            return Some((
                FaultKind::Surplus,
                format!("{n} bytes came that were never sent, behind all that was"),
            ));
        }
        let owed = usize::try_from(self.owed).unwrap_or(usize::MAX);
        let resumes = |from: &usize| {
            let (_, rest) = came.split_at(*from);
            let (rest, _) = rest.split_at(rest.len().min(owed));
            rest.len() >= ENOUGH_TO_RESUME
                && self.payload.matching(self.connection, self.offset, rest) >= ENOUGH_TO_RESUME
        };
        let inserted = (1..came.len()).find(resumes)?;
        Some((
            FaultKind::Surplus,
            format!("{inserted} bytes came that were never sent, before those that were"),
        ))
    }

    fn as_corruption(&self, came: &[u8]) -> (FaultKind, String) {
        let n = came
            .len()
            .min(usize::try_from(self.owed).unwrap_or(usize::MAX));
        let mut expected = vec![0; n];
        self.payload
            .fill(self.connection, self.offset, &mut expected);
        let wrong = expected.iter().zip(came).filter(|(a, b)| a != b).count();
        let detail = match (expected.first(), came.first()) {
            (Some(expected), Some(came)) => format!(
                "0x{came:02x} came instead of 0x{expected:02x}; of the {n} bytes from there on {wrong} are wrong"
            ),
            _ => "nothing came".to_owned(),
        };
        (FaultKind::Corrupt, detail)
    }
}

/// So many right bytes in a row are no accident: once in four thousand million.
const ENOUGH_TO_RESUME: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Connection 3 of 10 has received 128 bytes, and 64 are owed.
    const OFFSET: u64 = 128;
    const OWED: u64 = 64;

    fn payload() -> Payload {
        Payload::new(1)
    }

    fn bytes(connection: u32, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        payload().fill(connection, offset, &mut bytes);
        bytes
    }

    fn diagnose(owed: u64, came: &[u8]) -> Fault {
        let scene = Scene {
            payload: payload(),
            connection: 3,
            connections: 10,
            offset: OFFSET,
            owed,
        };
        let fault = scene.diagnose(came);
        assert_eq!(fault.offset, Some(OFFSET));
        fault
    }

    #[test]
    fn a_changed_byte_is_corruption() {
        let mut came = bytes(3, OFFSET, 64);
        came[0] ^= 0x20;
        let fault = diagnose(OWED, &came);
        assert_eq!(fault.kind, FaultKind::Corrupt);
        assert!(
            fault.detail.contains("64 bytes from there on 1 "),
            "{fault:?}"
        );
    }

    #[test]
    fn another_connections_bytes_tell_their_place() {
        let fault = diagnose(OWED, &bytes(7, 4096, 64));
        assert_eq!(fault.kind, FaultKind::Foreign);
        assert!(
            fault.detail.contains("connection 7 at offset 4096"),
            "{fault:?}"
        );
        // Also when nothing is owed.
        assert_eq!(diagnose(0, &bytes(7, 4096, 64)).kind, FaultKind::Foreign);
    }

    #[test]
    fn an_echo_given_twice_is_surplus() {
        let fault = diagnose(OWED, &bytes(3, OFFSET - 64, 64));
        assert_eq!(fault.kind, FaultKind::Surplus);
        assert!(
            fault.detail.contains("offset 64 came back again"),
            "{fault:?}"
        );
    }

    #[test]
    fn bytes_put_in_between_are_surplus() {
        let came = [b"!!!".as_slice(), &bytes(3, OFFSET, 61)].concat();
        let fault = diagnose(OWED, &came);
        assert_eq!(fault.kind, FaultKind::Surplus);
        assert!(fault.detail.starts_with("3 bytes"), "{fault:?}");
        assert_eq!(diagnose(0, b"!").kind, FaultKind::Surplus);
    }

    #[test]
    fn bytes_left_out_are_missing() {
        let fault = diagnose(OWED, &bytes(3, OFFSET + 10, 54));
        assert_eq!(fault.kind, FaultKind::Short);
        assert!(
            fault.detail.starts_with("10 bytes are missing"),
            "{fault:?}"
        );
    }
}

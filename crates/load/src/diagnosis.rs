//! Classifies a wrong echo: gives unexpected bytes a kind of error, an offset and a sentence for the report.
//!
//! The module is slow and thorough, because it runs once for each fault. It knows the payload, and no socket.

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
    /// A byte of the echo differs from the byte that was sent.
    Corrupt,
    /// The server sent bytes that the client never sent, or the same bytes twice.
    Surplus,
    /// The server sent bytes that belong to another connection.
    Foreign,
    /// Bytes are missing: the stream ended within a message, or continued without them.
    Short,
    /// No byte came for 1 s, or for 10 % of the measured time if that is longer, while a message was under way. The
    /// connection stays open, and the message stays under way.
    Silent,
    /// The echo of a message was not complete before the timeout.
    Timeout,
    /// The server reset the connection.
    Reset,
    /// The server ended the stream without a reset, before the first byte of an echo or while no message was under way.
    Closed,
    /// A connection could not be made.
    Connect,
    /// The kernel connected the client's socket to itself: no server listens, and the kernel chose the target's port
    /// as the client's port (simultaneous open: RFC 9293, 3.5).
    SelfConnect,
    /// The client has no free port or no free descriptor. This is a limit of the client, not of the server.
    ClientLimit,
    /// Any other error of the socket.
    Socket,
}

impl FaultKind {
    /// All kinds, worst first.
    pub const ALL: [FaultKind; 12] = [
        FaultKind::Corrupt,
        FaultKind::Surplus,
        FaultKind::Foreign,
        FaultKind::Short,
        FaultKind::Silent,
        FaultKind::Timeout,
        FaultKind::Reset,
        FaultKind::Closed,
        FaultKind::Connect,
        FaultKind::SelfConnect,
        FaultKind::ClientLimit,
        FaultKind::Socket,
    ];

    /// Whether the echo itself is wrong. False for a server that is slow, closes connections or cannot be reached.
    #[must_use]
    pub fn is_a_wrong_echo(self) -> bool {
        use FaultKind::*;
        matches!(self, Corrupt | Surplus | Foreign | Short)
    }
}

/// Writes the name as in the JSON report.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Corrupt => "corrupt",
            FaultKind::Surplus => "surplus",
            FaultKind::Foreign => "foreign",
            FaultKind::Short => "short",
            FaultKind::Silent => "silent",
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
    /// The kind of error.
    pub(crate) kind: FaultKind,
    /// Where it happened, in bytes from the start of the connection's stream; `None` if the connection never opened.
    pub(crate) offset: Option<u64>,
    /// A sentence that describes it.
    pub(crate) detail: String,
}

/// What a connection expected at the first unexpected byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The bytes of all streams.
    pub(crate) payload: Payload,
    /// The connection's number.
    pub(crate) connection: u32,
    /// How many connections the run has made so far.
    pub(crate) connections: u32,
    /// The offset of the first unexpected byte in the stream.
    pub(crate) offset: u64,
    /// How many bytes were sent from that offset on, and have not come back.
    pub(crate) owed: u64,
}

impl Expected {
    /// Classifies the bytes that came instead of the expected ones.
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

    /// Recognises bytes of another connection, or of a later or earlier offset of this one.
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
            format!("{missing} bytes are missing: the bytes of offset {offset} came instead"),
        ))
    }

    /// Recognises inserted bytes: the right stream continues after them.
    fn as_insertion(&self, came: &[u8]) -> Option<(FaultKind, String)> {
        if self.owed == 0 {
            let n = came.len();
            return Some((
                FaultKind::Surplus,
                format!("{n} bytes that were never sent came after all bytes that were sent"),
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
            format!("{inserted} bytes that were never sent came before the bytes that were sent"),
        ))
    }

    /// Describes changed bytes: the remaining case.
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
                "0x{came:02x} came instead of 0x{expected:02x}; wrong bytes from there on: {wrong} of {n}"
            ),
            _ => "nothing came".to_owned(),
        };
        (FaultKind::Corrupt, detail)
    }
}

/// After inserted bytes, this many right bytes in a row show that the stream continues. By chance they occur once in
/// 4 × 10⁹.
const ENOUGH_TO_RESUME: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Connection 3 of 10 has received 128 bytes and expects 64 more.
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
        let expected = Expected {
            payload: payload(),
            connection: 3,
            connections: 10,
            offset: OFFSET,
            owed,
        };
        let fault = expected.diagnose(came);
        assert_eq!(fault.offset, Some(OFFSET));
        fault
    }

    #[test]
    fn a_changed_byte_is_corruption() {
        let mut came = bytes(3, OFFSET, 64);
        came[0] ^= 0x20;
        let fault = diagnose(OWED, &came);
        assert_eq!(fault.kind, FaultKind::Corrupt);
        assert!(fault.detail.contains("from there on: 1 of 64"), "{fault:?}");
    }

    #[test]
    fn bytes_of_another_connection_are_foreign() {
        let fault = diagnose(OWED, &bytes(7, 4096, 64));
        assert_eq!(fault.kind, FaultKind::Foreign);
        assert!(
            fault.detail.contains("connection 7 at offset 4096"),
            "{fault:?}"
        );
        // The same if no byte is expected.
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
    fn inserted_bytes_are_surplus() {
        let came = [b"!!!".as_slice(), &bytes(3, OFFSET, 61)].concat();
        let fault = diagnose(OWED, &came);
        assert_eq!(fault.kind, FaultKind::Surplus);
        assert!(fault.detail.starts_with("3 bytes"), "{fault:?}");
        assert_eq!(diagnose(0, b"!").kind, FaultKind::Surplus);
    }

    #[test]
    fn omitted_bytes_are_short() {
        let fault = diagnose(OWED, &bytes(3, OFFSET + 10, 54));
        assert_eq!(fault.kind, FaultKind::Short);
        assert!(
            fault.detail.starts_with("10 bytes are missing"),
            "{fault:?}"
        );
    }
}

//! The errors of a stream's calls, one name each: the only place where they are interpreted, for server and client.

use std::io;

/// Why a read or a write moved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not an error: the kernel has no bytes, or no room, for us now.
    WouldBlock,
    /// Not an error either: a signal handler ran before anything moved. Try again.
    Interrupted,
    /// The peer has reset the connection, or is gone.
    Reset,
    /// Anything else.
    Failed(io::ErrorKind),
}

/// The name of an error.
#[cold]
pub(crate) fn refusal_of(error: &io::Error) -> Refusal {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::WouldBlock => Refusal::WouldBlock,
        Kind::Interrupted => Refusal::Interrupted,
        // After a reset the first call gets ECONNRESET, later writes get EPIPE, and a shutdown ENOTCONN.
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            Refusal::Reset
        }
        kind => Refusal::Failed(kind),
    }
}

//! The result of a read, a write or a splice: one name for each kind of result.

use std::io;

/// The result of one call on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoOutcome {
    /// This many bytes moved. For a read, 0 is the end of the stream.
    Moved(usize),
    /// Not an error: the kernel now has no bytes to read, or no space for more bytes.
    WouldBlock,
    /// The call failed: the connection is broken.
    Failed(IoFailure),
}

/// The reason why a connection is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoFailure {
    /// The peer has reset or closed the connection.
    Reset,
    /// Any other error.
    Other(io::ErrorKind),
}

/// Makes a call, repeats it for as long as it is interrupted (`EINTR`), and returns its result as an [`IoOutcome`].
///
/// This function is inlined, like every function between the event loop and its system calls. A non-inlined return
/// after a system call is usually mispredicted, which costs a small message 8 to 10 % more processor time.
#[inline(always)]
pub fn attempt(mut call: impl FnMut() -> io::Result<usize>) -> IoOutcome {
    loop {
        match call() {
            Ok(n) => return IoOutcome::Moved(n),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return IoOutcome::WouldBlock,
                // A signal handler ran before the call moved any byte (signal(7)).
                io::ErrorKind::Interrupted => {}
                _ => return IoOutcome::Failed(failure_of(&error)),
            },
        }
    }
}

/// Classifies an error other than `WouldBlock` and `Interrupted`.
#[cold]
pub fn failure_of(error: &io::Error) -> IoFailure {
    use io::ErrorKind as Kind;
    match error.kind() {
        // After a reset, the first call returns ECONNRESET, later writes return EPIPE, and shutdown(2) ENOTCONN.
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            IoFailure::Reset
        }
        kind => IoFailure::Other(kind),
    }
}

//! Echo of bulk through a pipe in the kernel: from the socket into the pipe, and back into the socket (splice(2),
//! Linux). The bytes do not enter this process.
//!
//! The pipe saves the two copies of a read and a write. It can make the peer's reads slower. If the peer is on the same
//! machine, it reads the same pages that it has sent, and they are no longer in the processor's cache. The connection
//! decides when to use the pipe (`Connection::choose_transport`). `cargo bench --bench splice` measures both.
//!
//! The loop has one pipe, which is empty between any two passes. The bytes that the kernel does not accept in a pass
//! are read from the pipe and become an ordinary pending write. So the rest of the loop does not depend on the pipe.

use std::io::ErrorKind;

use net::outcome::{IoFailure, IoOutcome, attempt, failure_of};
use net::stream::Socket;

use super::calls::WRITE_ZERO;
use crate::server::buffers::{Buffers, PendingWrite};
use crate::server::trace::{Reason, TraceEvent, Tracer};

/// The result of one pass through the pipe.
pub(super) enum Spliced {
    /// This many bytes were echoed.
    Moved(usize),
    /// `moved` bytes were received, and the kernel did not accept the last of them, `rest`.
    Pending {
        moved: usize,
        rest: Box<PendingWrite>,
    },
    /// The receive queue is empty, or starts with an urgent byte.
    WouldBlock,
    /// The stream has ended, the socket cannot be spliced, or there is no pipe. A read must follow, because it tells
    /// these apart.
    Unclear,
    /// The connection has ended, for this reason.
    Failed(Reason),
}

/// Runs one pass through the pipe, and adds the number of bytes that the kernel accepted to `echoed`.
// Inlined into its only caller, which is not inlined.
#[inline(always)]
pub(super) fn echo<S: Socket>(
    socket: &mut S,
    buffers: &mut Buffers<S::Pipe>,
    echoed: &mut u64,
    tracer: &mut impl Tracer,
) -> Spliced {
    let Some(pipe) = &mut buffers.pipe else {
        return Spliced::Unclear;
    };
    let most = buffers.scratch.len();
    let n = match attempt(|| socket.splice_in(pipe, most)) {
        // 0 does not prove the end of the stream: see `Socket::splice_in`.
        IoOutcome::Moved(0) => return Spliced::Unclear,
        IoOutcome::Moved(n) => n,
        IoOutcome::WouldBlock => {
            tracer.record(TraceEvent::NothingToRead);
            return Spliced::WouldBlock;
        }
        IoOutcome::Failed(failure) if says_that_it_cannot_be_spliced(failure) => {
            return Spliced::Unclear;
        }
        // splice(2) has consumed the socket's error (`SO_ERROR`). A later read would see the end of the stream instead.
        IoOutcome::Failed(failure) => return Spliced::Failed(failure.into()),
    };
    tracer.record(TraceEvent::SplicedIn(n));
    let mut left = n;
    while left > 0 {
        let outcome = match attempt(|| socket.splice_out(pipe, left)) {
            IoOutcome::Moved(0) => WRITE_ZERO,
            outcome => outcome,
        };
        match outcome {
            IoOutcome::Moved(taken) => {
                tracer.record(TraceEvent::SplicedOut {
                    taken,
                    offered: left,
                });
                *echoed += taken as u64;
                left -= taken;
            }
            IoOutcome::WouldBlock => {
                tracer.record(TraceEvent::NoRoomToWrite);
                tracer.record(TraceEvent::WritePending(left));
                return match buffers.take_from_pipe(left) {
                    Ok(rest) => Spliced::Pending { moved: n, rest },
                    Err(error) => {
                        log::warn!("splicing is off, because the pipe cannot be emptied: {error}");
                        Spliced::Failed(failure_of(&error).into())
                    }
                };
            }
            IoOutcome::Failed(failure) => {
                // Bytes of this connection that stay in the pipe would be sent to the next connection that uses it.
                if let Err(error) = buffers.empty_the_pipe(left) {
                    log::warn!("splicing is off, because the pipe cannot be emptied: {error}");
                }
                return Spliced::Failed(failure.into());
            }
        }
    }
    Spliced::Moved(n)
}

/// Returns true for the errors with which splice(2) itself fails: it does not support the file, a system call filter
/// forbids it, or it has no memory for its lists. None of these is an error of the socket.
fn says_that_it_cannot_be_spliced(failure: IoFailure) -> bool {
    use ErrorKind::{InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    matches!(
        failure,
        IoFailure::Other(InvalidInput | OutOfMemory | PermissionDenied | Unsupported)
    )
}

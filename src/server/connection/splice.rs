//! Bulk through a pipe in the kernel, from the socket back to it, instead of through this process (splice(2), Linux).
//!
//! The pipe saves this process the two copies of a read and a write, and can cost the peer more: on one machine the peer's
//! reads find the pages as the sender left them, long out of the processor's cache. The connection decides when to use it
//! (`Connection::choose_transport`); `cargo bench --bench splice` measures both.
//!
//! The loop has one pipe, which is empty between any two rounds: what the kernel does not take of a round is read out of the
//! pipe and becomes an ordinary pending write. So nothing else in the loop knows of the pipe.

use std::io::ErrorKind;

use net::outcome::{IoFailure, IoOutcome, attempt, failure_of};
use net::stream::Socket;

use super::calls::WRITE_ZERO;
use crate::server::buffers::{Buffers, PendingWrite};
use crate::server::trace::{Reason, TraceEvent, Tracer};

/// What one round through the pipe came to.
pub(super) enum Spliced {
    /// This many bytes were echoed.
    Moved(usize),
    /// `moved` bytes came, and the kernel did not take `rest`.
    Pending {
        moved: usize,
        rest: Box<PendingWrite>,
    },
    /// The receive queue is empty, or starts with an urgent byte.
    WouldBlock,
    /// The end of the stream, a socket that cannot be spliced, or no pipe: a read tells.
    Unclear,
    /// The connection is broken.
    Failed(Reason),
}

/// Moves bytes into the pipe and out of it once, and adds to `echoed` what the kernel took.
// Inlined into its one caller, which is not.
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
        // No proof of an end: see `Socket::splice_in`.
        IoOutcome::Moved(0) => return Spliced::Unclear,
        IoOutcome::Moved(n) => n,
        IoOutcome::WouldBlock => {
            tracer.record(TraceEvent::NothingToRead);
            return Spliced::WouldBlock;
        }
        IoOutcome::Failed(failure) if says_that_it_cannot_be_spliced(failure) => {
            return Spliced::Unclear;
        }
        // splice(2) consumed the socket's error (`SO_ERROR`); a read after it would see the end of the stream.
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
                return match buffers.drain_the_pipe(left) {
                    Ok(rest) => Spliced::Pending { moved: n, rest },
                    Err(error) => {
                        log::warn!("the pipe is given up, as it cannot be emptied: {error}");
                        Spliced::Failed(failure_of(&error).into())
                    }
                };
            }
            IoOutcome::Failed(failure) => {
                // What is left was this peer's, and the next bytes in the pipe will be another's.
                if let Err(error) = buffers.empty_the_pipe(left) {
                    log::warn!("the pipe is given up, as it cannot be emptied: {error}");
                }
                return Spliced::Failed(failure.into());
            }
        }
    }
    Spliced::Moved(n)
}

/// What splice(2) says of files that it does not know, of filters that do not know it, and when it has no memory for its own
/// lists. None of these is the socket's error.
fn says_that_it_cannot_be_spliced(failure: IoFailure) -> bool {
    use ErrorKind::{InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    matches!(
        failure,
        IoFailure::Other(InvalidInput | OutOfMemory | PermissionDenied | Unsupported)
    )
}

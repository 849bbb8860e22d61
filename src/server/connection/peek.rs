//! Echo without memory for a pending write: read without consuming (`MSG_PEEK`, recv(2)), write, consume what the kernel took.
//!
//! The rest stays in the receive queue, and TCP stops the sender. It costs one system call more a message, and a peer that reads
//! is served however many others do not.

#![allow(
    clippy::indexing_slicing,
    reason = "a call moves at most the bytes that it was offered"
)]

use net::outcome::{IoOutcome, attempt};
use net::stream::Socket;

use super::calls::{read, write};
use crate::server::trace::{Reason, TraceEvent, Tracer};

/// What one round came to.
pub(super) enum Peeked {
    /// The peer has ended its stream.
    EndOfStream,
    /// The receive queue is empty.
    NothingToRead,
    /// The kernel takes nothing now.
    NoRoom,
    /// `seen` bytes were in the receive queue; the kernel took `taken` of them, and these are consumed.
    Echoed { seen: usize, taken: usize },
    /// The connection has ended.
    Failed(Reason),
}

/// Echoes once, and adds to `echoed` what the kernel took.
// Inlined into its one caller, which is not.
#[inline(always)]
pub(super) fn echo<S: Socket>(
    socket: &mut S,
    buffer: &mut [u8],
    echoed: &mut u64,
    tracer: &mut impl Tracer,
) -> Peeked {
    let seen = match attempt(|| socket.peek(buffer)) {
        IoOutcome::Moved(0) => {
            tracer.record(TraceEvent::EndOfStream);
            return Peeked::EndOfStream;
        }
        IoOutcome::Moved(seen) => seen,
        IoOutcome::WouldBlock => {
            tracer.record(TraceEvent::NothingToRead);
            return Peeked::NothingToRead;
        }
        IoOutcome::Failed(failure) => return Peeked::Failed(failure.into()),
    };
    tracer.record(TraceEvent::Peeked(&buffer[..seen]));
    let taken = match write(socket, &buffer[..seen], tracer) {
        IoOutcome::Moved(taken) => taken,
        IoOutcome::WouldBlock => return Peeked::NoRoom,
        IoOutcome::Failed(failure) => return Peeked::Failed(failure.into()),
    };
    *echoed += taken as u64;
    let mut left = taken;
    while left > 0 {
        match read(socket, &mut buffer[..left], tracer) {
            // They were there a moment ago, and only this process reads them: a reset has taken them away.
            IoOutcome::Moved(0) | IoOutcome::WouldBlock => return Peeked::Failed(Reason::Reset),
            IoOutcome::Moved(n) => left -= n,
            IoOutcome::Failed(failure) => return Peeked::Failed(failure.into()),
        }
    }
    Peeked::Echoed { seen, taken }
}

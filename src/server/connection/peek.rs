//! Echo without memory for a pending write: peek (`MSG_PEEK`, recv(2)), write, then consume the bytes that the kernel
//! accepted.
//!
//! The other bytes stay in the receive queue, and TCP stops the sender. This costs one more system call for each
//! message. A peer that reads its echo is served even if the pending writes of other peers use up the memory budget.

#![allow(
    clippy::indexing_slicing,
    reason = "a call moves at most as many bytes as it was offered"
)]

use net::outcome::{IoOutcome, attempt};
use net::stream::Socket;

use super::calls::{read, write};
use crate::server::trace::{Reason, TraceEvent, Tracer};

/// The result of one pass.
pub(super) enum Peeked {
    /// The peer has ended its stream.
    EndOfStream,
    /// The receive queue is empty.
    NothingToRead,
    /// The send buffer is full.
    NoRoom,
    /// The peek returned `seen` bytes. The kernel accepted `taken` of them, and these are consumed.
    Echoed { seen: usize, taken: usize },
    /// The connection has ended, for this reason.
    Failed(Reason),
}

/// Runs one pass, and adds the number of bytes that the kernel accepted to `echoed`.
// Inlined into its only caller, which is not inlined.
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
            // The peek has returned these bytes, and only this process reads them. So a reset has discarded them.
            IoOutcome::Moved(0) | IoOutcome::WouldBlock => return Peeked::Failed(Reason::Reset),
            IoOutcome::Moved(n) => left -= n,
            IoOutcome::Failed(failure) => return Peeked::Failed(failure.into()),
        }
    }
    Peeked::Echoed { seen, taken }
}

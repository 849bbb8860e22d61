//! The calls for reading, writing and ending the stream. Each returns a classified result and records a trace event.

#![allow(
    clippy::indexing_slicing,
    reason = "a read returns at most the bytes that it was asked for"
)]

use std::io;

use net::outcome::{IoFailure, IoOutcome, attempt, failure_of};
use net::stream::Socket;

use crate::server::trace::{Reason, TraceEvent, Tracer};

/// Reads once. A call that a signal interrupted is repeated.
#[inline(always)]
pub(super) fn read<S: Socket>(
    socket: &mut S,
    buffer: &mut [u8],
    tracer: &mut impl Tracer,
) -> IoOutcome {
    let outcome = attempt(|| socket.read(buffer));
    match outcome {
        IoOutcome::Moved(0) => tracer.record(TraceEvent::EndOfStream),
        IoOutcome::Moved(n) => tracer.record(TraceEvent::Read(&buffer[..n])),
        IoOutcome::WouldBlock => tracer.record(TraceEvent::NothingToRead),
        IoOutcome::Failed(_) => {}
    }
    outcome
}

/// Writes once. `bytes` must not be empty. A write that accepts 0 bytes is a failure. A call that a signal interrupted
/// is repeated.
#[inline(always)]
pub(super) fn write<S: Socket>(
    socket: &mut S,
    bytes: &[u8],
    tracer: &mut impl Tracer,
) -> IoOutcome {
    let outcome = attempt(|| socket.write(bytes));
    match outcome {
        // A stream socket never returns 0 for a write of one byte or more. If one did, the loop would never end.
        IoOutcome::Moved(0) => return WRITE_ZERO,
        IoOutcome::Moved(taken) => tracer.record(TraceEvent::Wrote {
            taken,
            offered: bytes.len(),
        }),
        IoOutcome::WouldBlock => tracer.record(TraceEvent::NoRoomToWrite),
        IoOutcome::Failed(_) => {}
    }
    outcome
}

/// Ends our stream to the peer (shutdown(2), `SHUT_WR`).
///
/// # Errors
/// The reason why the connection has ended.
pub(super) fn end_stream<S: Socket>(
    socket: &mut S,
    tracer: &mut impl Tracer,
) -> Result<(), Reason> {
    socket
        .shut_down_writing()
        .map_err(|error| Reason::from(failure_of(&error)))?;
    tracer.record(TraceEvent::ShutDownWriting);
    Ok(())
}

/// The outcome of a write that returned 0 without an error.
pub(super) const WRITE_ZERO: IoOutcome =
    IoOutcome::Failed(IoFailure::Other(io::ErrorKind::WriteZero));

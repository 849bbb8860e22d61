//! The events of a turn: everything that can happen to the loop or to one connection.
//!
//! Each event changes counters and has a line for the log of `serve -vv`. Tests collect the same events. This module
//! uses no socket and reads no clock.

use std::fmt;
use std::io;
use std::time::Duration;

use log::Level;

use net::outcome::IoFailure;

use super::stats::Counters;

/// One event of one connection, or of the loop.
///
/// [`record`] counts and logs it. An event that is not logged costs only the change of its counters: the compiler
/// inlines the counting at each call and removes the construction of the event.
#[derive(Debug)]
pub(crate) enum TraceEvent<'a> {
    /// The poll returned.
    Polled {
        /// The number of events that it returned.
        events: usize,
        /// The longest time that it was allowed to wait; `None` means without limit.
        timeout: Option<Duration>,
        /// Whether it did not wait because the last event was recent (`--busy-poll`).
        busy_polling: bool,
    },
    /// An event was ignored, because the connection waits for the other direction.
    NotAwaited,
    /// A connection was accepted, and the table has a free entry for it.
    Accepted {
        /// The address of the peer.
        peer: fmt::Arguments<'a>,
    },
    /// A connection was accepted and closed at once, because the table is full.
    TurnedAway {
        /// The address of the peer.
        peer: fmt::Arguments<'a>,
    },
    /// These bytes were read.
    Read(&'a [u8]),
    /// These bytes were peeked: read and not consumed, because the memory budget does not allow a pending write.
    Peeked(&'a [u8]),
    /// These bytes were read and discarded, because our stream has ended.
    Discarded(&'a [u8]),
    /// A write: the kernel accepted `taken` of `offered` bytes.
    Wrote {
        /// The number of bytes that the kernel accepted.
        taken: usize,
        /// The number of bytes that the server offered to the kernel.
        offered: usize,
    },
    /// This many bytes were moved from the socket into the pipe.
    SplicedIn(usize),
    /// A splice from the pipe into the socket: the kernel accepted `taken` of `offered` bytes.
    SplicedOut {
        /// The number of bytes that the kernel accepted.
        taken: usize,
        /// The number of bytes that the pipe held.
        offered: usize,
    },
    /// A read returned `WouldBlock`.
    NothingToRead,
    /// A write returned `WouldBlock`.
    NoRoomToWrite,
    /// The kernel did not accept this many bytes. They are the pending write of the connection now.
    WritePending(usize),
    /// The connection has used up its budget for this turn.
    Yielded,
    /// The peer has ended its stream.
    EndOfStream,
    /// The server has ended its stream of this connection.
    ShutDownWriting,
    /// The connection is closed.
    Closed {
        /// The reason of the close.
        reason: Reason,
        /// The number of bytes of the echo that the kernel had accepted by then.
        echoed: u64,
    },
}

/// Receives the events of one connection. The server counts and logs them; a test collects them.
pub(crate) trait Tracer {
    /// Records an event that has just happened.
    fn record(&mut self, event: TraceEvent<'_>);
}

/// Counts and logs the events of one connection. Borrows only the counters, so the loop can lend its other parts to the
/// connection.
pub(crate) struct PeerTracer<'a> {
    /// The counters of the server.
    pub(crate) counters: &'a Counters,
    /// The key of the connection.
    pub(crate) key: usize,
}

impl Tracer for PeerTracer<'_> {
    #[inline(always)]
    fn record(&mut self, event: TraceEvent<'_>) {
        record(self.counters, Some(self.key), event);
    }
}

/// Counts an event, and logs it if its level is enabled. `key` is the key of the connection; `None` for an event of the
/// loop.
#[inline(always)]
pub(crate) fn record(counters: &Counters, key: Option<usize>, event: TraceEvent<'_>) {
    counters.count(&event);
    if event.level() <= log::max_level() {
        log_event(key, event);
    }
}

/// Logs an event. Not inlined: without this code, the counting is small enough to be inlined at each event.
#[cold]
#[inline(never)]
fn log_event(key: Option<usize>, event: TraceEvent<'_>) {
    let level = event.level();
    match key {
        Some(key) => log::log!(target: LOG_TARGET, level, "#{key} {event}"),
        None => log::log!(target: LOG_TARGET, level, "{event}"),
    }
}

/// The target of all log lines of this module, for filters such as `RUST_LOG=mio_echo=trace`.
const LOG_TARGET: &str = "mio_echo";

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The peer ended its stream, and the kernel has accepted the whole echo.
    EndOfStream,
    /// The peer reset the connection.
    Reset,
    /// A read or a write failed with another error.
    Failed(io::ErrorKind),
    /// No byte moved for the idle timeout.
    Idle,
    /// The peer's kernel acknowledged nothing for the stall timeout.
    Stalled,
    /// The server is shutting down, and the peer has its whole echo.
    Drained,
    /// The server is shutting down, and the drain timeout passed or the server was aborted before the connection ended.
    Abandoned,
    /// The selector did not register the connection.
    Unregistered(io::ErrorKind),
}

impl From<IoFailure> for Reason {
    fn from(failure: IoFailure) -> Reason {
        match failure {
            IoFailure::Reset => Reason::Reset,
            IoFailure::Other(kind) => Reason::Failed(kind),
        }
    }
}

impl TraceEvent<'_> {
    /// Returns the log level: `Debug` for the start and the end of a connection, `Trace` for all other events.
    #[inline]
    pub(crate) fn level(&self) -> Level {
        match self {
            TraceEvent::Accepted { .. }
            | TraceEvent::TurnedAway { .. }
            | TraceEvent::Closed { .. } => Level::Debug,
            _ => Level::Trace,
        }
    }
}

impl Counters {
    /// Counts an event. The match has no wildcard, so a new event does not compile before it states its counters here.
    #[inline(always)]
    pub(crate) fn count(&self, event: &TraceEvent<'_>) {
        match *event {
            TraceEvent::Polled { events, .. } => {
                self.polls.add(1);
                self.events.add(events as u64);
            }
            TraceEvent::Accepted { .. } => self.accepted.add(1),
            TraceEvent::TurnedAway { .. } => {
                self.accepted.add(1);
                self.rejected.add(1);
            }
            TraceEvent::Read(bytes) => {
                self.reads.add(1);
                self.bytes_in.add(bytes.len() as u64);
            }
            TraceEvent::Discarded(bytes) => {
                self.reads.add(1);
                self.bytes_discarded.add(bytes.len() as u64);
            }
            TraceEvent::Peeked(_) => self.peeks.add(1),
            TraceEvent::Wrote { taken, .. } => {
                self.writes.add(1);
                self.bytes_out.add(taken as u64);
            }
            TraceEvent::SplicedIn(bytes) => {
                self.reads.add(1);
                self.bytes_in.add(bytes as u64);
                self.bytes_spliced.add(bytes as u64);
            }
            TraceEvent::SplicedOut { taken, .. } => {
                self.writes.add(1);
                self.bytes_out.add(taken as u64);
            }
            TraceEvent::NothingToRead | TraceEvent::NoRoomToWrite => self.would_blocks.add(1),
            TraceEvent::WritePending(_) => self.spills.add(1),
            TraceEvent::Yielded => self.yields.add(1),
            TraceEvent::EndOfStream => self.reads.add(1),
            TraceEvent::NotAwaited | TraceEvent::ShutDownWriting => {}
            TraceEvent::Closed { reason, .. } => match reason {
                Reason::EndOfStream => self.closed.end_of_stream.add(1),
                Reason::Reset => self.closed.reset.add(1),
                Reason::Failed(_) => self.closed.failed.add(1),
                Reason::Idle => self.closed.idle.add(1),
                Reason::Stalled => self.closed.stalled.add(1),
                Reason::Drained => self.closed.drained.add(1),
                Reason::Abandoned => self.closed.abandoned.add(1),
                Reason::Unregistered(_) => self.closed.unregistered.add(1),
            },
        }
    }
}

impl fmt::Display for TraceEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceEvent::Polled {
                events,
                timeout,
                busy_polling,
            } => {
                write!(f, "poll → {}", plural(*events, "event"))?;
                match (events, timeout) {
                    (_, Some(Duration::ZERO)) if *busy_polling => f.write_str(", busy polling"),
                    (_, Some(Duration::ZERO)) => {
                        f.write_str(", without waiting: the loop has more work")
                    }
                    (0, None) => f.write_str(": woken by a signal or a handle"),
                    (0, Some(_)) => f.write_str(": woken by a timer, a signal or a handle"),
                    _ => Ok(()),
                }
            }
            TraceEvent::NotAwaited => {
                f.write_str("event ignored: the connection waits for the other direction")
            }
            TraceEvent::Accepted { peer } => write!(f, "accepted, from {peer}"),
            TraceEvent::TurnedAway { peer } => {
                write!(f, "turned away, from {peer}: the table is full")
            }
            TraceEvent::Read(bytes) => write!(f, "read {}", Preview(bytes)),
            TraceEvent::Peeked(bytes) => {
                let shown = Preview(bytes);
                write!(f, "peeked at {shown}: the memory budget is used up")
            }
            TraceEvent::Discarded(bytes) => {
                let shown = Preview(bytes);
                write!(f, "discarded {shown}: the server has ended its stream")
            }
            TraceEvent::Wrote { taken, offered } => {
                write!(f, "wrote {taken} of {}", plural(*offered, "byte"))
            }
            TraceEvent::SplicedIn(bytes) => {
                write!(f, "spliced {} into the pipe", plural(*bytes, "byte"))
            }
            TraceEvent::SplicedOut { taken, offered } => {
                let offered = plural(*offered, "byte");
                write!(f, "spliced {taken} of {offered} out of the pipe")
            }
            TraceEvent::NothingToRead => f.write_str("read would block: nothing to read now"),
            TraceEvent::NoRoomToWrite => {
                f.write_str("write would block: the kernel's send buffer is full")
            }
            TraceEvent::WritePending(bytes) => {
                let bytes = plural(*bytes, "byte");
                write!(f, "pending write: {bytes}; no read before they are written")
            }
            TraceEvent::Yielded => f.write_str("yielded: the budget for this turn is used up"),
            TraceEvent::EndOfStream => f.write_str("read the end of the stream"),
            TraceEvent::ShutDownWriting => f.write_str("shut down writing: no more bytes follow"),
            TraceEvent::Closed { reason, echoed } => {
                write!(f, "closed after {}: {reason}", plural(*echoed, "byte"))
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::EndOfStream => {
                f.write_str("the peer ended its stream and its echo is complete")
            }
            Reason::Reset => f.write_str("the peer reset the connection"),
            Reason::Failed(kind) => write!(f, "{kind}"),
            Reason::Idle => f.write_str("idle timeout"),
            Reason::Stalled => f.write_str("stall timeout: the peer acknowledged nothing"),
            Reason::Drained => f.write_str("drained: the server is shutting down"),
            Reason::Abandoned => {
                f.write_str("abandoned: the drain timeout passed, or the server was aborted")
            }
            Reason::Unregistered(kind) => write!(f, "the selector did not register it: {kind}"),
        }
    }
}

/// Formats bytes as their number and the first few of them. They are escaped, because the peer chooses them and a
/// terminal may show the log.
struct Preview<'a>(&'a [u8]);

impl fmt::Display for Preview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..PREVIEW).unwrap_or(self.0);
        let more = if shown.len() < self.0.len() {
            "…"
        } else {
            ""
        };
        let count = plural(self.0.len(), "byte");
        write!(f, "{count} \"{}\"{more}", shown.escape_ascii())
    }
}

/// Formats a count with its noun: `1 byte`, `2 bytes`.
pub(super) fn plural<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// The number of bytes that a preview shows: enough to recognise a message, and short enough for one line.
const PREVIEW: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_escaped_and_cut() {
        let line = TraceEvent::Read(b"\x1b[2J\r\nINFO all is well\x07 and on it goes").to_string();
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(line.contains(r"\x1b[2J\r\n"), "{line}");
        assert!(line.ends_with("\"…"), "{line}");
    }

    #[test]
    fn a_count_of_one_has_a_singular_noun() {
        assert_eq!(TraceEvent::Read(b"a").to_string(), "read 1 byte \"a\"");
        assert_eq!(TraceEvent::Read(b"ab").to_string(), "read 2 bytes \"ab\"");
    }
}

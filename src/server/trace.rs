//! Everything that can happen in a turn, each with its counter and its sentence for the log.
//!
//! The same events are counted, logged for `serve -vv` and collected by tests. Knows no socket and no clock.

use std::fmt;
use std::io;
use std::time::Duration;

use log::Level;

use net::outcome::IoFailure;

use super::stats::Counters;

/// One thing that happened to one peer, or to the loop.
///
/// [`record`] counts and logs it. An event that is only counted is never put together: the compiler sees at each call which
/// counters it changes, and the rest of it disappears.
#[derive(Debug)]
pub(crate) enum TraceEvent<'a> {
    /// The poll returned.
    Polled {
        /// How many events.
        events: usize,
        /// The longest that it might have waited; `None` is without limit.
        timeout: Option<Duration>,
        /// Whether it did not wait because an event had just come (`--busy-poll`).
        busy_polling: bool,
    },
    /// An event was about the direction that its peer does not wait for.
    NotAwaited,
    /// A new peer has a place in the table.
    Accepted {
        /// Its address.
        peer: fmt::Arguments<'a>,
    },
    /// A new peer was closed at once: the table is full.
    TurnedAway {
        /// Its address.
        peer: fmt::Arguments<'a>,
    },
    /// These bytes were read.
    Read(&'a [u8]),
    /// These bytes were read and not consumed: the memory budget has no room for what the kernel may not take.
    Peeked(&'a [u8]),
    /// These bytes were read and thrown away, after our own end of stream.
    Discarded(&'a [u8]),
    /// The kernel took `taken` of `offered` bytes.
    Wrote {
        /// How many it took.
        taken: usize,
        /// How many it was offered.
        offered: usize,
    },
    /// This many bytes were moved from the socket into the pipe.
    SplicedIn(usize),
    /// The kernel took `taken` of the `offered` bytes in the pipe.
    SplicedOut {
        /// How many it took.
        taken: usize,
        /// How many there were.
        offered: usize,
    },
    /// A read found nothing.
    NothingToRead,
    /// A write found no room.
    NoRoomToWrite,
    /// The kernel did not take this many bytes: they are the connection's pending write now.
    WritePending(usize),
    /// The budget of the turn is used up.
    Yielded,
    /// The peer has ended its stream.
    EndOfStream,
    /// We have ended our stream.
    ShutDownWriting,
    /// The connection is closed.
    Closed {
        /// Why.
        reason: Reason,
        /// How many bytes the kernel had taken of its echo by then.
        echoed: u64,
    },
}

/// What the events of one peer are recorded with: the server counts and logs them, a test collects them.
pub(crate) trait Tracer {
    /// This has just happened.
    fn record(&mut self, event: TraceEvent<'_>);
}

/// Counts and logs the events of one peer, while other parts of the loop are borrowed.
pub(crate) struct PeerTracer<'a> {
    /// What its events are counted in.
    pub(crate) counters: &'a Counters,
    /// The peer's key.
    pub(crate) key: usize,
}

impl Tracer for PeerTracer<'_> {
    #[inline(always)]
    fn record(&mut self, event: TraceEvent<'_>) {
        record(self.counters, Some(self.key), event);
    }
}

/// Counts an event, and logs it if its level is wanted. An event without a key is the loop's.
#[inline(always)]
pub(crate) fn record(counters: &Counters, key: Option<usize>, event: TraceEvent<'_>) {
    counters.count(&event);
    if event.level() <= log::max_level() {
        log_event(key, event);
    }
}

/// Not inlined, so that counting alone is small enough to be inlined at each event.
#[cold]
#[inline(never)]
fn log_event(key: Option<usize>, event: TraceEvent<'_>) {
    let level = event.level();
    match key {
        Some(key) => log::log!(target: LOG_TARGET, level, "#{key} {event}"),
        None => log::log!(target: LOG_TARGET, level, "{event}"),
    }
}

const LOG_TARGET: &str = "mio_echo";

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The peer ended its stream and everything was written out.
    EndOfStream,
    /// The peer reset the connection.
    Reset,
    /// A read or a write failed otherwise.
    Failed(io::ErrorKind),
    /// Nothing moved for the idle timeout.
    Idle,
    /// The peer took nothing for the stall timeout.
    Stalled,
    /// The server is shutting down, and the peer has everything.
    Drained,
    /// The server's drain timeout came first.
    Abandoned,
    /// The selector would not take it.
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
    /// Connections come and go at `Debug`, everything else happens at `Trace`.
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
    /// Counts an event. The match is exhaustive, so that a new event must say here which counters it changes.
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
                    (_, Some(Duration::ZERO)) if *busy_polling => f.write_str(", busy-polling"),
                    (_, Some(Duration::ZERO)) => {
                        f.write_str(", without waiting: somebody has more to do")
                    }
                    (0, None) => f.write_str(": a signal or a handle"),
                    (0, Some(_)) => f.write_str(": a timer, a signal or a handle"),
                    _ => Ok(()),
                }
            }
            TraceEvent::NotAwaited => f.write_str("event ignored: not what this peer waits for"),
            TraceEvent::Accepted { peer } => write!(f, "accepted, from {peer}"),
            TraceEvent::TurnedAway { peer } => {
                write!(f, "turned away, from {peer}: the table is full")
            }
            TraceEvent::Read(bytes) => write!(f, "read {}", Preview(bytes)),
            TraceEvent::Peeked(bytes) => {
                let shown = Preview(bytes);
                write!(f, "peeked at {shown}: no memory left to keep any of them")
            }
            TraceEvent::Discarded(bytes) => {
                let shown = Preview(bytes);
                write!(f, "discarded {shown}: we have said our last")
            }
            TraceEvent::Wrote { taken, offered } => write!(f, "wrote {taken} of {offered}"),
            TraceEvent::SplicedIn(bytes) => {
                write!(f, "spliced {} into the pipe", plural(*bytes, "byte"))
            }
            TraceEvent::SplicedOut { taken, offered } => {
                write!(f, "spliced {taken} of {offered} out of the pipe")
            }
            TraceEvent::NothingToRead => {
                f.write_str("read would block: drained until the next edge")
            }
            TraceEvent::NoRoomToWrite => f.write_str(
                "write would block: the kernel's send buffer is full until the next edge",
            ),
            TraceEvent::WritePending(bytes) => {
                let bytes = plural(*bytes, "byte");
                write!(f, "spilled {bytes}: not read again until they are out")
            }
            TraceEvent::Yielded => f.write_str("yielded: its turn is over, and it queues again"),
            TraceEvent::EndOfStream => f.write_str("read the end of the stream"),
            TraceEvent::ShutDownWriting => f.write_str("shut down writing: that was all"),
            TraceEvent::Closed { reason, echoed } => {
                write!(f, "closed after {}: {reason}", plural(*echoed, "byte"))
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::EndOfStream => f.write_str("the peer ended its stream and has everything"),
            Reason::Reset => f.write_str("the peer reset the connection"),
            Reason::Failed(kind) => write!(f, "{kind}"),
            Reason::Idle => f.write_str("idle timeout"),
            Reason::Stalled => f.write_str("stall timeout: the peer took nothing of its output"),
            Reason::Drained => f.write_str("drained, the server is shutting down"),
            Reason::Abandoned => f.write_str("drain timeout: the server is shutting down"),
            Reason::Unregistered(kind) => write!(f, "the selector would not take it: {kind}"),
        }
    }
}

/// A count and the first few of the bytes, escaped: they are the peer's choice, and the log is a terminal's.
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

pub(super) fn plural<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// Enough to recognise a message by, short enough for a line.
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
    fn one_is_not_a_plural() {
        assert_eq!(TraceEvent::Read(b"a").to_string(), "read 1 byte \"a\"");
        assert_eq!(TraceEvent::Read(b"ab").to_string(), "read 2 bytes \"ab\"");
    }
}

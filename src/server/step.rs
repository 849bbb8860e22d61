//! The vocabulary of the server: everything that can happen in a turn, once, with its sentence for the log.
//!
//! The same steps are counted, logged for `serve -vv` and checked by tests. Knows no socket and no clock.

use std::fmt;
use std::io;
use std::time::Duration;

use log::Level;

use super::stats::Counters;

/// One thing that happened to one peer, or to the loop.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// The poll returned so many events, after waiting at most so long.
    Polled {
        /// How many events.
        events: usize,
        /// The longest that it might have waited; `None` is for ever.
        timeout: Option<Duration>,
        /// Whether that was so short because an event had just come (`--busy-poll`).
        awake: bool,
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
    /// These bytes were looked at, not consumed: the memory budget has no room for what might not go out.
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
    /// So many bytes were moved into the pipe: bulk goes back without coming here.
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
    /// So many bytes that the kernel would not take were put into the peer's spill buffer.
    Spilled(usize),
    /// The budget of the turn is used up.
    Yielded,
    /// The peer has ended its stream.
    EndOfStream,
    /// We have ended ours: the server is shutting down.
    ShutDownWriting,
    /// The connection is closed.
    Closed {
        /// Why.
        reason: Reason,
        /// How many bytes the kernel had taken of its echo by then.
        echoed: u64,
    },
}

/// Whoever is told of each step of a peer: the server counts and logs them, a test collects them.
pub(crate) trait Witness {
    /// This has just happened.
    fn note(&mut self, step: Step<'_>);
}

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

impl Step<'_> {
    /// Connections come and go at `Debug`, everything else happens at `Trace`.
    #[inline]
    pub(crate) fn level(&self) -> Level {
        match self {
            Step::Accepted { .. } | Step::TurnedAway { .. } | Step::Closed { .. } => Level::Debug,
            _ => Level::Trace,
        }
    }
}

impl Counters {
    /// Counts a step. Whoever adds a step is made to say here what it counts as.
    #[inline(always)]
    pub(crate) fn count(&self, step: &Step<'_>) {
        match *step {
            Step::Polled { events, .. } => {
                self.polls.add(1);
                self.events.add(events as u64);
            }
            Step::Accepted { .. } => self.accepted.add(1),
            Step::TurnedAway { .. } => {
                self.accepted.add(1);
                self.rejected.add(1);
            }
            Step::Read(bytes) => {
                self.reads.add(1);
                self.bytes_in.add(bytes.len() as u64);
            }
            Step::Discarded(bytes) => {
                self.reads.add(1);
                self.bytes_discarded.add(bytes.len() as u64);
            }
            Step::Peeked(_) => self.peeks.add(1),
            Step::Wrote { taken, .. } => {
                planted!(CountWhatWasOffered => if let Step::Wrote { offered, .. } = step {
                    self.bytes_out.add((offered - taken) as u64);
                });
                self.writes.add(1);
                self.bytes_out.add(taken as u64);
            }
            Step::SplicedIn(bytes) => {
                self.reads.add(1);
                self.bytes_in.add(bytes as u64);
                self.bytes_spliced.add(bytes as u64);
            }
            Step::SplicedOut { taken, .. } => {
                self.writes.add(1);
                self.bytes_out.add(taken as u64);
            }
            Step::NothingToRead | Step::NoRoomToWrite => self.would_blocks.add(1),
            Step::Spilled(_) => self.spills.add(1),
            Step::Yielded => self.yields.add(1),
            Step::EndOfStream => self.reads.add(1),
            Step::NotAwaited | Step::ShutDownWriting => {}
            Step::Closed { reason, .. } => match reason {
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

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Polled {
                events,
                timeout,
                awake,
            } => {
                write!(f, "poll → {}", plural(*events, "event"))?;
                match (events, timeout) {
                    (_, Some(Duration::ZERO)) if *awake => f.write_str(", busy-polling"),
                    (_, Some(Duration::ZERO)) => {
                        f.write_str(", without waiting: somebody has more to do")
                    }
                    (0, None) => f.write_str(": a signal or a handle"),
                    (0, Some(_)) => f.write_str(": a timer, a signal or a handle"),
                    _ => Ok(()),
                }
            }
            Step::NotAwaited => f.write_str("event ignored: not what this peer waits for"),
            Step::Accepted { peer } => write!(f, "accepted, from {peer}"),
            Step::TurnedAway { peer } => {
                write!(f, "turned away, from {peer}: the table is full")
            }
            Step::Read(bytes) => write!(f, "read {}", Preview(bytes)),
            Step::Peeked(bytes) => {
                let shown = Preview(bytes);
                write!(f, "peeked at {shown}: no memory left to keep any of them")
            }
            Step::Discarded(bytes) => {
                let shown = Preview(bytes);
                write!(f, "discarded {shown}: we have said our last")
            }
            Step::Wrote { taken, offered } => write!(f, "wrote {taken} of {offered}"),
            Step::SplicedIn(bytes) => {
                write!(f, "spliced {} into the pipe", plural(*bytes, "byte"))
            }
            Step::SplicedOut { taken, offered } => {
                write!(f, "spliced {taken} of {offered} out of the pipe")
            }
            Step::NothingToRead => f.write_str("read would block: drained until the next edge"),
            Step::NoRoomToWrite => f.write_str(
                "write would block: the kernel's send buffer is full until the next edge",
            ),
            Step::Spilled(bytes) => {
                let bytes = plural(*bytes, "byte");
                write!(f, "spilled {bytes}: not read again until they are out")
            }
            Step::Yielded => f.write_str("yielded: its turn is over, and it queues again"),
            Step::EndOfStream => f.write_str("read the end of the stream"),
            Step::ShutDownWriting => f.write_str("shut down writing: that was all"),
            Step::Closed { reason, echoed } => {
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
        let shown = &self.0[..self.0.len().min(PREVIEW)];
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
        let line = Step::Read(b"\x1b[2J\r\nINFO all is well\x07 and on it goes").to_string();
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(line.contains(r"\x1b[2J\r\n"), "{line}");
        assert!(line.ends_with("\"…"), "{line}");
    }

    #[test]
    fn one_is_not_a_plural() {
        assert_eq!(Step::Read(b"a").to_string(), "read 1 byte \"a\"");
        assert_eq!(Step::Read(b"ab").to_string(), "read 2 bytes \"ab\"");
    }
}

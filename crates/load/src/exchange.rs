//! One client connection as a state machine: send, await the echo, verify.
//!
//! Bytes and times go in, verified echoes and faults come out. Performs no read and no write, knows neither mio nor
//! clocks; the driver does what it says.
//!
//! The stream of a connection is one row of bytes, and messages are places at which it is cut. So several messages
//! leave in one write if the kernel takes them, and several come back in one read.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use super::diagnosis::{Fault, FaultKind, Scene};
use super::payload::{Payload, Rng};
use crate::names::UnknownName;

/// One connection's conversation. Begin messages, write what [`unsent`](Exchange::unsent) hands out and say what was
/// [`accepted`](Exchange::accepted); give what was read to [`received`](Exchange::received), and
/// [diagnose](Exchange::diagnose) when it says so.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: u32,
    /// For the sizes of messages.
    rng: Rng,
    /// The end of the last message that was begun, as an offset in the stream.
    begun: u64,
    /// How many bytes of the stream the kernel has accepted.
    sent: u64,
    /// How many bytes of the stream came back right.
    received: u64,
    outstanding: VecDeque<Message>,
    messages: u64,
    /// How many bytes to offer the kernel at once: those that it does not accept would be made in vain.
    offer: usize,
    /// The bytes that came instead of the expected ones.
    evidence: Vec<u8>,
}

/// A message under way.
#[derive(Clone, Copy, Debug)]
struct Message {
    start: u64,
    end: u64,
    intended_ns: u64,
    begun_ns: u64,
    /// `u64::MAX` until it came.
    first_byte_ns: u64,
}

/// A message that came back whole and right, and its times in nanoseconds of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    /// When the schedule wanted it sent.
    pub(crate) intended_ns: u64,
    /// When its first byte was offered to the kernel.
    pub(crate) begun_ns: u64,
    /// When the first byte of the echo was read.
    pub(crate) first_byte_ns: u64,
    /// When the last byte of the echo was read.
    pub(crate) last_byte_ns: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

/// What is checked of an echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Every byte.
    #[default]
    Full,
    /// Its length.
    Off,
}

/// As on the command line: `full`, `off`.
impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verify::Full => "full",
            Verify::Off => "off",
        })
    }
}

impl FromStr for Verify {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Verify, UnknownName> {
        UnknownName::find([Verify::Full, Verify::Off], text)
    }
}

/// What received bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Received {
    /// What was expected.
    Right,
    /// Not what was expected, and there may be more to see: read on, but not for long, then diagnose.
    Doubtful,
    /// Not what was expected, and nothing further is owed: diagnose.
    Wrong,
}

impl Exchange {
    pub(crate) fn new(connection: u32, seed: u64, pipeline: usize) -> Exchange {
        Exchange {
            connection,
            rng: Rng::new(seed, u64::from(connection) | SIZES),
            begun: 0,
            sent: 0,
            received: 0,
            outstanding: VecDeque::with_capacity(pipeline.min(MOST_RESERVED)),
            messages: 0,
            offer: usize::MAX,
            evidence: Vec::new(),
        }
    }

    /// The connection's number, which no other connection of the run has.
    pub(crate) fn connection(&self) -> u32 {
        self.connection
    }

    /// The random numbers for the sizes of messages.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Adds a message to the stream.
    #[inline]
    pub(crate) fn begin(&mut self, size: u32, intended_ns: u64, now_ns: u64) {
        let start = self.begun;
        self.begun += u64::from(size);
        self.messages += 1;
        self.outstanding.push_back(Message {
            start,
            end: self.begun,
            intended_ns,
            begun_ns: now_ns,
            first_byte_ns: u64::MAX,
        });
    }

    /// How many bytes are begun and not accepted.
    #[inline]
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.begun - self.sent
    }

    /// How many messages are under way.
    #[inline]
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// How many messages were begun on this connection.
    #[inline]
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// When each message under way was due, and when it was begun.
    pub(crate) fn under_way_ns(&self) -> impl Iterator<Item = (u64, u64)> {
        let messages = self.outstanding.iter();
        messages.map(|message| (message.intended_ns, message.begun_ns))
    }

    /// When the oldest message under way was begun.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        self.outstanding.front().map(|message| message.begun_ns)
    }

    /// Fills the front of `buffer` with what is to be written next, and returns it: empty once all is accepted.
    #[inline]
    #[must_use]
    pub(crate) fn unsent<'a>(&self, payload: Payload, buffer: &'a mut [u8]) -> &'a [u8] {
        let unsent = usize::try_from(self.begun - self.sent).unwrap_or(usize::MAX);
        let n = unsent.min(buffer.len()).min(self.offer);
        let (bytes, _) = buffer.split_at_mut(n);
        payload.fill(self.connection, self.sent, bytes);
        bytes
    }

    /// The kernel has accepted so many bytes of the `offered` ones.
    #[inline]
    pub(crate) fn accepted(&mut self, n: usize, offered: usize) {
        self.sent += n as u64;
        self.offer = match n < offered {
            true => n.max(SMALLEST_OFFER),
            false => self.offer.saturating_mul(2),
        };
    }

    /// Takes what was read at `now_ns`, and hands out each message that it completes.
    #[inline]
    pub(crate) fn received(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        (payload, verify): (Payload, Verify),
        mut done: impl FnMut(Echo),
    ) -> Received {
        if !self.evidence.is_empty() {
            return self.suspect(bytes);
        }
        let owed = usize::try_from(self.sent - self.received).unwrap_or(usize::MAX);
        let (expected, _) = bytes.split_at(bytes.len().min(owed));
        let right = match verify {
            Verify::Full => payload.matching(self.connection, self.received, expected),
            Verify::Off => expected.len(),
        };
        self.received += right as u64;
        while let Some(message) = self.outstanding.front_mut() {
            if self.received > message.start {
                message.first_byte_ns = message.first_byte_ns.min(now_ns);
            }
            if self.received < message.end {
                break;
            }
            let message = *message;
            self.outstanding.pop_front();
            done(Echo {
                intended_ns: message.intended_ns,
                begun_ns: message.begun_ns,
                first_byte_ns: message.first_byte_ns,
                last_byte_ns: now_ns,
                bytes: message.end - message.start,
            });
        }
        if right == bytes.len() {
            Received::Right
        } else {
            self.suspect(bytes.get(right..).unwrap_or_default())
        }
    }

    #[cold]
    fn suspect(&mut self, bytes: &[u8]) -> Received {
        let room = MOST_EVIDENCE - self.evidence.len();
        self.evidence.extend(bytes.iter().take(room));
        let owed = self.sent - self.received;
        if self.evidence.len() as u64 >= owed.min(MOST_EVIDENCE as u64) {
            Received::Wrong
        } else {
            Received::Doubtful
        }
    }

    /// Whether something unexpected has come that is not diagnosed yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.evidence.is_empty()
    }

    /// Names what came that was not expected, `connections` being how many there have been.
    pub(crate) fn diagnose(&self, payload: Payload, connections: u32) -> Fault {
        let scene = Scene {
            payload,
            connection: self.connection,
            connections,
            offset: self.received,
            owed: self.sent - self.received,
        };
        scene.diagnose(&self.evidence)
    }

    /// Names the end of the stream, or a reset, at this point of the conversation.
    pub(crate) fn ended(&self, kind: FaultKind) -> Fault {
        let kind_and_detail = match self.outstanding.front() {
            Some(message) if self.received > message.start && kind == FaultKind::Closed => {
                let (back, size) = (self.received - message.start, message.end - message.start);
                let detail = format!("the stream ended {back} bytes into a message of {size}");
                (FaultKind::Short, detail)
            }
            Some(_) => {
                let n = self.outstanding.len();
                (kind, format!("{n} messages were under way"))
            }
            None => (kind, "nothing was under way".to_owned()),
        };
        Fault {
            kind: kind_and_detail.0,
            offset: Some(self.received),
            detail: kind_and_detail.1,
        }
    }
}

/// Keeps the random numbers for sizes apart from those for anything else of the same connection.
const SIZES: u64 = 1 << 40;

/// A page: less would cost more in calls than it saves in bytes.
const SMALLEST_OFFER: usize = 4096;

/// A deeper pipeline grows its queue when it comes to that.
const MOST_RESERVED: usize = 64;

/// Enough to see whether a stream goes on behind what does not belong to it.
const MOST_EVIDENCE: usize = 4096;

#[cfg(test)]
mod tests;

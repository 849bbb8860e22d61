//! The state machine of one client connection: send messages, wait for the echo, verify it.
//!
//! Its input is bytes and times; its output is verified echoes and faults. The module does not read, write or look at a
//! clock. The driver does that.
//!
//! The stream of a connection is one sequence of bytes. A message is a range of it. So one write can send several
//! messages, and one read can return several echoes.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use super::diagnosis::{Expected, Fault, FaultKind};
use super::payload::{Payload, Rng};
use crate::names::UnknownName;

/// The messages and echoes of one connection. The caller begins messages with [`begin`](Exchange::begin), writes the
/// bytes of [`unsent`](Exchange::unsent) and passes the number of written bytes to [`accepted`](Exchange::accepted).
/// It passes the bytes that it reads to [`received`](Exchange::received), and calls [`diagnose`](Exchange::diagnose)
/// when the answer asks for it.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The connection's number in the run.
    connection: u32,
    /// The random numbers for the sizes of messages.
    rng: Rng,
    /// The end of the last message that was begun, as an offset in the stream.
    begun: u64,
    /// How many bytes of the stream the kernel has accepted.
    sent: u64,
    /// How many bytes of the stream came back right.
    received: u64,
    /// The messages under way, oldest first.
    outstanding: VecDeque<Message>,
    /// How many messages have begun.
    messages: u64,
    /// How many bytes to offer the kernel in one write. Bytes that it does not accept are generated again for the next
    /// write, which wastes time.
    offer: usize,
    /// When the last byte was read; 0 before the first one.
    last_byte_ns: u64,
    /// The received bytes from the first unexpected one on; empty if all bytes were right.
    unexpected: Vec<u8>,
}

/// A message under way.
#[derive(Clone, Copy, Debug)]
struct Message {
    /// The offset of its first byte in the stream.
    start: u64,
    /// The offset after its last byte.
    end: u64,
    /// When it was due.
    intended_ns: u64,
    /// When its first byte was offered to the kernel.
    begun_ns: u64,
    /// When the first byte of the echo was read; `u64::MAX` before that.
    first_byte_ns: u64,
}

/// A message that came back complete and right, with its times in nanoseconds of the driver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    /// When the message was due.
    pub(crate) intended_ns: u64,
    /// When its first byte was offered to the kernel.
    pub(crate) begun_ns: u64,
    /// When the first byte of the echo was read.
    pub(crate) first_byte_ns: u64,
    /// When the last byte of the echo was read.
    pub(crate) last_byte_ns: u64,
    /// The length of the message.
    pub(crate) bytes: u64,
}

/// A message that has begun and has not come back complete, with its times in nanoseconds of the driver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// When the message was due.
    pub(crate) intended_ns: u64,
    /// When its first byte was offered to the kernel.
    pub(crate) begun_ns: u64,
    /// When the first byte of the echo was read; `None` before that.
    pub(crate) first_byte_ns: Option<u64>,
    /// The length of the message.
    pub(crate) bytes: u64,
}

/// What the run checks of each echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Every byte.
    #[default]
    Full,
    /// Only the length.
    Off,
}

/// Writes the name as on the command line: `full`, `off`.
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

/// The result of checking received bytes, and what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Received {
    /// All bytes are as expected: read on.
    Right,
    /// A byte is unexpected. More bytes can make the diagnosis more exact: read on for a short time, then diagnose.
    Doubtful,
    /// A byte is unexpected, and enough bytes for the diagnosis have come: diagnose now.
    Wrong,
}

impl Exchange {
    /// Makes the exchange of a new connection.
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
            last_byte_ns: 0,
            unexpected: Vec::new(),
        }
    }

    /// Returns the connection's number, which is unique in the run.
    pub(crate) fn connection(&self) -> u32 {
        self.connection
    }

    /// Returns the random numbers for the sizes of messages.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Begins a message of `size` bytes at the end of the stream.
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

    /// Returns how many bytes have begun and are not accepted by the kernel yet.
    #[inline]
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.begun - self.sent
    }

    /// Returns how many messages are under way.
    #[inline]
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Returns how many messages have begun on this connection.
    #[inline]
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns the messages under way, oldest first.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = UnderWay> {
        self.outstanding.iter().map(|message| UnderWay {
            intended_ns: message.intended_ns,
            begun_ns: message.begun_ns,
            first_byte_ns: (message.first_byte_ns != u64::MAX).then_some(message.first_byte_ns),
            bytes: message.end - message.start,
        })
    }

    /// Returns since when a message is under way and no byte has come; `None` if no message is under way.
    pub(crate) fn silent_since_ns(&self) -> Option<u64> {
        let oldest_ns = self.oldest_ns()?;
        Some(oldest_ns.max(self.last_byte_ns))
    }

    /// Returns when the last byte was read; 0 before the first one.
    pub(crate) fn last_byte_ns(&self) -> u64 {
        self.last_byte_ns
    }

    /// Returns how many bytes of the stream came back right.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Returns how many bytes the kernel has accepted that have not come back.
    pub(crate) fn missing_bytes(&self) -> u64 {
        self.sent - self.received
    }

    /// Whether a part of an echo has come back, and the rest has not.
    pub(crate) fn is_within_an_echo(&self) -> bool {
        let oldest = self.outstanding.front();
        oldest.is_some_and(|message| self.received > message.start)
    }

    /// Returns when the oldest message under way began.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        self.outstanding.front().map(|message| message.begun_ns)
    }

    /// Returns how many bytes the next write offers at most, if the caller's buffer has this length.
    #[inline]
    pub(crate) fn next_offer(&self, buffer: usize) -> u64 {
        self.offer.min(buffer) as u64
    }

    /// Fills the front of `buffer` with the bytes to write next, and returns them. Empty: the kernel has accepted all
    /// bytes.
    #[inline]
    #[must_use]
    pub(crate) fn unsent<'a>(&self, payload: Payload, buffer: &'a mut [u8]) -> &'a [u8] {
        let unsent = usize::try_from(self.begun - self.sent).unwrap_or(usize::MAX);
        let n = unsent.min(buffer.len()).min(self.offer);
        let (bytes, _) = buffer.split_at_mut(n);
        payload.fill(self.connection, self.sent, bytes);
        bytes
    }

    /// Records that the kernel has accepted `n` of the `offered` bytes.
    #[inline]
    pub(crate) fn accepted(&mut self, n: usize, offered: usize) {
        self.sent += n as u64;
        self.offer = match n < offered {
            true => n.max(SMALLEST_OFFER),
            false => self.offer.saturating_mul(2),
        };
    }

    /// Checks bytes that were read at `now_ns`, and calls `done` with each echo that they complete.
    #[inline]
    pub(crate) fn received(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        (payload, verify): (Payload, Verify),
        mut done: impl FnMut(Echo),
    ) -> Received {
        self.last_byte_ns = now_ns;
        if !self.unexpected.is_empty() {
            return self.collect_unexpected(bytes);
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
            self.collect_unexpected(bytes.get(right..).unwrap_or_default())
        }
    }

    /// Stores unexpected bytes, up to [`MOST_UNEXPECTED`].
    #[cold]
    fn collect_unexpected(&mut self, bytes: &[u8]) -> Received {
        let room = MOST_UNEXPECTED - self.unexpected.len();
        self.unexpected.extend(bytes.iter().take(room));
        let owed = self.sent - self.received;
        if self.unexpected.len() as u64 >= owed.min(MOST_UNEXPECTED as u64) {
            Received::Wrong
        } else {
            Received::Doubtful
        }
    }

    /// Whether an unexpected byte has come.
    pub(crate) fn has_unexpected_bytes(&self) -> bool {
        !self.unexpected.is_empty()
    }

    /// Classifies the unexpected bytes. `connections` is how many connections the run has made so far.
    pub(crate) fn diagnose(&self, payload: Payload, connections: u32) -> Fault {
        let expected = Expected {
            payload,
            connection: self.connection,
            connections,
            offset: self.received,
            owed: self.sent - self.received,
        };
        expected.diagnose(&self.unexpected)
    }

    /// Makes the fault of a connection that ended now, for this reason. The end of the stream within an echo is
    /// [`FaultKind::Short`].
    pub(crate) fn ended(&self, kind: FaultKind) -> Fault {
        let kind_and_detail = match self.outstanding.front() {
            Some(message) if self.received > message.start && kind == FaultKind::Closed => {
                let (back, size) = (self.received - message.start, message.end - message.start);
                let detail =
                    format!("the stream ended {back} bytes into a message of {size} bytes");
                (FaultKind::Short, detail)
            }
            Some(_) => (kind, format!("{} under way", self.messages_were())),
            None => (kind, "no message was under way".to_owned()),
        };
        Fault {
            kind: kind_and_detail.0,
            offset: Some(self.received),
            detail: kind_and_detail.1,
        }
    }

    /// Makes the fault of a connection on which no byte came for `silent_ns`, while messages are under way.
    pub(crate) fn silent(&self, silent_ns: u64) -> Fault {
        let seconds = silent_ns as f64 / 1e9;
        Fault {
            kind: FaultKind::Silent,
            offset: Some(self.received),
            detail: format!(
                "no byte came for {seconds:.2} s, and {} bytes are missing; {} under way",
                self.begun - self.received,
                self.messages_were()
            ),
        }
    }

    /// Makes the fault of a connection on which a part of an echo came, and then nothing for `silent_ns`.
    pub(crate) fn broken_off(&self, silent_ns: u64) -> Fault {
        let (back, size) = self.outstanding.front().map_or((0, 0), |message| {
            (self.received - message.start, message.end - message.start)
        });
        let seconds = silent_ns as f64 / 1e9;
        Fault {
            kind: FaultKind::Short,
            offset: Some(self.received),
            detail: format!(
                "{back} of {size} bytes of a message came back, and then no byte for {seconds:.2} s"
            ),
        }
    }

    /// Writes how many messages are under way: `1 message was`, `2 messages were`.
    fn messages_were(&self) -> String {
        match self.outstanding.len() {
            1 => "1 message was".to_owned(),
            n => format!("{n} messages were"),
        }
    }
}

/// A bit in the purpose of the [`Rng`] for sizes. It makes these random numbers different from those for arrivals.
const SIZES: u64 = 1 << 40;

/// The smallest offer: one memory page. With smaller offers, the additional system calls cost more than the saved
/// bytes.
const SMALLEST_OFFER: usize = 4096;

/// The most places that a new connection's queue of messages has. For a deeper pipeline the queue grows when needed.
const MOST_RESERVED: usize = 64;

/// The most unexpected bytes that are kept. They suffice to see whether the right stream continues after inserted
/// bytes.
const MOST_UNEXPECTED: usize = 4096;

#[cfg(test)]
mod tests;

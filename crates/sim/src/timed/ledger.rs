//! The ledger: the true times of each message, which a measurement must agree with.

use std::collections::VecDeque;

use super::settings::Injection;

/// The truth about a run. All times are nanoseconds of the network's clock.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The attempts to connect, in order. The n-th one is connection n.
    pub connections: Vec<ConnectionLedger>,
    /// When the client's waker was used.
    pub wakes_ns: Vec<u64>,
    /// The last value of the clock that the client's program has read.
    pub last_reading_ns: u64,
    /// The errors that the server has made on purpose, in order.
    pub injected: Vec<InjectedError>,
    /// The time that the client's program has used, without its waits.
    pub busy_ns: u64,
    /// The time that the client's program has waited in the run queue ([`StallKind::RunQueue`](super::StallKind)).
    pub run_queue_ns: u64,
}

/// An error that the server has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InjectedError {
    /// The error.
    pub injection: Injection,
    /// When the server made it.
    pub at_ns: u64,
    /// How many wrong bytes it sent, or how many it left out.
    pub bytes: usize,
}

/// The truth about one connection.
#[derive(Debug, Default)]
pub struct ConnectionLedger {
    /// The key under which the client's program has registered the connection.
    pub key: Option<usize>,
    /// When the client's program called connect(2).
    pub connect_ns: u64,
    /// When the client's program was told that the connection is made.
    pub made_ns: Option<u64>,
    /// The last value of the clock that the client's program had read when it ended its stream.
    pub shut_down_ns: Option<u64>,
    /// When the client's program deregistered the connection, to close it.
    pub closed_ns: Option<u64>,
    /// The last value of the clock that the client's program had read at that moment.
    pub closed_reading_ns: Option<u64>,
    /// The messages whose first byte was offered to the kernel.
    pub messages: Vec<MessageTimes>,
    /// How many bytes the client's program has written.
    pub written: u64,
    /// How many bytes the client's program has read.
    pub read: u64,
    /// How many of these, from the first one on, are equal to the bytes that were written.
    pub right: u64,
    /// When the first byte was read that differs from the byte that was written at its offset, or that was not written.
    pub wrong_ns: Option<u64>,
    /// When a call of the client's program returned the end of the stream or a reset.
    pub ended_ns: Option<u64>,
    /// When a full send buffer got room, if no write has followed.
    pub unused_room_ns: Option<u64>,
    /// The time since which the receive queue holds bytes or the end of the stream. `None`: it holds neither.
    pub unread_ns: Option<u64>,
    /// The longest time for which the receive queue held bytes or the end of the stream before a read emptied it.
    pub longest_unread_ns: u64,
    /// The bytes that were written and are not compared with the echo yet.
    expected: VecDeque<u8>,
    /// How many bytes the server has echoed.
    served: u64,
    /// How many bytes of the echo have arrived.
    arrived: u64,
    /// How many messages are served, arrived, have their first byte back, and are back.
    cursors: [usize; 4],
}

/// The times of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageTimes {
    /// The time right before the write that offered its first byte to the kernel.
    pub offered_ns: u64,
    /// When the server had echoed its last byte.
    pub served_ns: Option<u64>,
    /// When the last byte of the echo was in the client's receive queue. A stream with wrong bytes is counted as if its
    /// bytes were right.
    pub arrived_ns: Option<u64>,
    /// The return of the read that took the first byte of the echo, if that byte and all bytes before it are right.
    pub first_byte_ns: Option<u64>,
    /// The return of the read that took the last byte of the echo, if it and all bytes before it are right.
    pub back_ns: Option<u64>,
}

impl ConnectionLedger {
    /// Records a write: `offered` bytes at `offered_ns`, of which the kernel accepted these.
    pub(super) fn wrote(&mut self, offered_ns: u64, offered: usize, accepted: &[u8], size: u64) {
        let end = self.written + offered as u64;
        while (self.messages.len() as u64) * size < end {
            self.messages.push(MessageTimes {
                offered_ns,
                ..MessageTimes::default()
            });
        }
        self.written += accepted.len() as u64;
        self.expected.extend(accepted);
    }

    /// Records that the server has echoed `n` more bytes.
    pub(super) fn served(&mut self, at_ns: u64, n: usize, size: u64) {
        self.served += n as u64;
        let served = self.served;
        self.pass(
            0,
            |start| start + size <= served,
            size,
            |message| {
                message.served_ns = Some(at_ns);
            },
        );
    }

    /// Records that `n` more bytes of the echo are in the client's receive queue.
    pub(super) fn arrived(&mut self, at_ns: u64, n: usize, size: u64) {
        self.arrived += n as u64;
        let arrived = self.arrived;
        self.pass(
            1,
            |start| start + size <= arrived,
            size,
            |message| {
                message.arrived_ns = Some(at_ns);
            },
        );
    }

    /// Records a read that began at `at_ns`. `unread_ns` is the time since which there is more to read after it.
    pub(super) fn has_read(&mut self, at_ns: u64, unread_ns: Option<u64>) {
        let before_ns = at_ns - self.unread_ns.unwrap_or(at_ns);
        self.longest_unread_ns = self.longest_unread_ns.max(before_ns);
        self.unread_ns = unread_ns;
    }

    /// Records the bytes of a read that returned at `at_ns`.
    pub(super) fn read(&mut self, at_ns: u64, bytes: &[u8], size: u64) {
        self.read += bytes.len() as u64;
        if self.wrong_ns.is_some() {
            return;
        }
        let n = bytes.len().min(self.expected.len());
        let (front, back) = self.expected.as_slices();
        let first = front.len().min(n);
        let is_right = bytes[..first] == front[..first] && bytes[first..n] == back[..n - first];
        let right = match is_right {
            true => n,
            false => {
                let pairs = bytes.iter().zip(&self.expected);
                pairs
                    .take_while(|(came, expected)| came == expected)
                    .count()
            }
        };
        self.expected.drain(..right);
        self.right += right as u64;
        if right < bytes.len() {
            self.wrong_ns = Some(at_ns);
        }
        let right = self.right;
        self.pass(
            2,
            |start| start < right,
            size,
            |message| {
                message.first_byte_ns = Some(at_ns);
            },
        );
        self.pass(
            3,
            |start| start + size <= right,
            size,
            |message| {
                message.back_ns = Some(at_ns);
            },
        );
    }

    /// Moves a cursor over the messages whose start passes the test, and notes each.
    fn pass(
        &mut self,
        cursor: usize,
        passes: impl Fn(u64) -> bool,
        size: u64,
        note: impl Fn(&mut MessageTimes),
    ) {
        let cursor = &mut self.cursors[cursor];
        while let Some(message) = self.messages.get_mut(*cursor)
            && passes(*cursor as u64 * size)
        {
            note(message);
            *cursor += 1;
        }
    }
}

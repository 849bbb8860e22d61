//! The comparison of `send`: compares the bytes that came back with those that were sent, and decides the outcome.
//!
//! Performs no I/O and reads no clock. Both threads of a session change it, under one lock. Each thread records a fact
//! before the other thread can see its effect, so the outcome does not depend on which thread runs first.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crc32fast::Hasher;

/// Compares the bytes that come back with those that were sent.
///
/// The sending thread calls [`announce`](Comparison::announce) before it sends, [`moved`](Comparison::moved) after each
/// write, and `wait_for_input`, `end` or `fail` after its last system call on the socket.
///
/// The receiving thread calls [`receive`](Comparison::receive) with all bytes that it reads. It calls
/// [`patience`](Comparison::patience) for the limit of its next read, and [`judge`](Comparison::judge) at the end.
pub(super) struct Comparison {
    /// Blocks that have not come back completely, the oldest first. The last one may not have been sent completely.
    blocks: VecDeque<Block>,
    /// Checksum of the part of the first block that has come back, if that block is a checksum.
    partial: Hasher,
    /// Number of bytes that were sent or are being sent.
    sent: u64,
    /// Number of bytes that came back and were right.
    received: u64,
    /// True if the input has no bytes after those counted in `sent`.
    input_ended: bool,
    /// State of the sending thread.
    sending: Sending,
    /// Time at which bytes last moved in either direction, or our stream ended.
    moved: Instant,
}

/// [`BLOCK`] bytes of the stream.
enum Block {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// The checksum of a block that was sent while [`KEPT`] other blocks had not come back. It bounds the memory even
    /// if gigabytes are in flight.
    Checksum(u32),
}

/// State of the sending thread.
enum Sending {
    /// Waits for input.
    Waiting,
    /// Calls send(2) or shutdown(2). The kernel may report the error of the connection to this call.
    Writing,
    /// Has sent every byte and our end of stream.
    Ended,
    /// Could not read the input, and has ended our stream.
    InputFailed(io::Error),
    /// Could not write: send(2) failed.
    Refused(io::Error),
}

/// The event that ended the work of the receiving thread.
pub(super) enum End {
    /// The server ended its stream.
    OfStream,
    /// recv(2) failed.
    Broken(io::Error),
    /// A byte came back that was not sent. The text says which.
    Wrong(String),
    /// An answer was due, and no byte moved for this time.
    TimedOut(Duration),
    /// Every byte was back, and the server did not end its stream within [`LAST_WAIT`].
    StillOpen,
}

/// The receiving thread's next step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Read, and wait at most for this time; `None` is without limit.
    Wait(Option<Duration>),
    /// End with [`End::TimedOut`]: no byte moved for this time.
    TimedOut(Duration),
    /// End with [`End::StillOpen`].
    StillOpen,
}

impl Comparison {
    /// A comparison for an input whose end is not known yet.
    pub(super) fn new(now: Instant) -> Comparison {
        Comparison {
            blocks: VecDeque::new(),
            partial: Hasher::new(),
            sent: 0,
            received: 0,
            input_ended: false,
            sending: Sending::Waiting,
            moved: now,
        }
    }

    /// A comparison for a message that is complete before its first byte is sent.
    pub(super) fn of_message(message: &[u8], now: Instant) -> Comparison {
        let mut comparison = Comparison::new(now);
        comparison.announce(message, now);
        comparison.end_input();
        comparison
    }

    /// Records bytes before they are sent: their echo may be back before send(2) returns.
    pub(super) fn announce(&mut self, mut bytes: &[u8], now: Instant) {
        self.sending = Sending::Writing;
        self.moved = now;
        while !bytes.is_empty() {
            let filled = (self.sent % BLOCK) as usize;
            if filled == 0 {
                let block = Vec::with_capacity(BLOCK as usize);
                self.blocks.push_back(Block::Bytes(block));
            }
            let room = BLOCK as usize - filled;
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            bytes = rest;
            self.sent += part.len() as u64;
            let keeps_bytes = self.blocks.len() <= KEPT;
            if let Some(Block::Bytes(block)) = self.blocks.back_mut() {
                block.extend_from_slice(part);
                if part.len() == room && !keeps_bytes {
                    let checksum = crc32fast::hash(block);
                    self.blocks.pop_back();
                    self.blocks.push_back(Block::Checksum(checksum));
                }
            }
        }
    }

    /// Records that the input has ended. Called before our end of stream is sent, because the server's end of stream
    /// may arrive first.
    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
        self.sending = Sending::Writing;
    }

    /// Records that the kernel accepted bytes.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Records that the kernel accepted all bytes so far, and that the sending thread waits for more input.
    pub(super) fn wait_for_input(&mut self) {
        self.sending = Sending::Waiting;
    }

    /// Records that our stream has ended. `input` is an error if the input could not be read.
    pub(super) fn end(&mut self, input: io::Result<()>, now: Instant) {
        self.sending = match input {
            Ok(()) => Sending::Ended,
            Err(error) => Sending::InputFailed(error),
        };
        self.moved = now;
    }

    /// Records that send(2) failed.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.sending = Sending::Refused(error);
    }

    /// Compares bytes that came back.
    ///
    /// # Errors
    /// The first difference, as a sentence.
    pub(super) fn receive(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), String> {
        self.moved = now;
        while !bytes.is_empty() {
            let start = self.received % BLOCK;
            let comparable = (self.sent - self.received).min(BLOCK - start) as usize;
            if comparable == 0 {
                return Err(format!(
                    "more bytes came back than were sent ({})",
                    self.sent
                ));
            }
            let (part, rest) = bytes.split_at(comparable.min(bytes.len()));
            bytes = rest;
            self.compare(part, start as usize)?;
            self.received += part.len() as u64;
            if self.received.is_multiple_of(BLOCK) {
                self.blocks.pop_front();
            }
        }
        Ok(())
    }

    /// Compares bytes that came back with those of the first block from `start` on.
    fn compare(&mut self, came: &[u8], start: usize) -> Result<(), String> {
        match self.blocks.front() {
            Some(Block::Bytes(block)) => {
                let sent = block.get(start..start + came.len()).unwrap_or_default();
                if came != sent
                    && let Some(n) = came.iter().zip(sent).position(|(came, sent)| came != sent)
                {
                    return Err(format!(
                        "the echo differs from what was sent at offset {}: {:#04x} was sent, {:#04x} came back",
                        self.received + n as u64,
                        sent[n],
                        came[n]
                    ));
                }
            }
            Some(Block::Checksum(sent)) => {
                self.partial.update(came);
                if start + came.len() == BLOCK as usize
                    && std::mem::take(&mut self.partial).finalize() != *sent
                {
                    let from = self.received - start as u64;
                    return Err(format!(
                        "the echo differs from what was sent, somewhere in the bytes from {from} to {}",
                        from + BLOCK
                    ));
                }
            }
            // Not reached: every byte that was sent and is not back is in a block.
            None => {}
        }
        Ok(())
    }

    /// Returns how long the next read may wait. `timeout` is the limit for a due answer.
    ///
    /// An answer is due while a sent byte has not come back, or when the input has ended.
    pub(super) fn patience(&self, now: Instant, timeout: Option<Duration>) -> Patience {
        let still = now.saturating_duration_since(self.moved);
        if self.has_everything() {
            return match LAST_WAIT.checked_sub(still) {
                Some(left) if !left.is_zero() => Patience::Wait(Some(left)),
                _ => Patience::StillOpen,
            };
        }
        let mut wait = None;
        if let Some(timeout) = timeout
            && (self.received < self.sent || self.input_ended)
        {
            if still >= timeout {
                return Patience::TimedOut(timeout);
            }
            wait = Some(timeout - still);
        }
        if self.received == self.sent {
            // While this thread is inside recv(2), the sending thread may send bytes or end the stream. Either starts a
            // wait, of `timeout` or of `LAST_WAIT`, but recv(2) does not notice a new SO_RCVTIMEO. With the shorter of
            // both, the read returns before either wait is over.
            let shorter = timeout.map_or(LAST_WAIT, |timeout| timeout.min(LAST_WAIT));
            wait = Some(wait.map_or(shorter, |left| left.min(shorter)));
        }
        Patience::Wait(wait)
    }

    /// True if the sending thread may still change the outcome: it is inside a system call on the socket, or it waits
    /// for an input that may be at its end.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.sending, Sending::Writing | Sending::Waiting)
    }

    /// Returns the outcome of the session: success, perhaps with a remark.
    ///
    /// The checks have this order: a wrong byte, an unreadable input, a complete echo, and then the end of the
    /// connection. A reset after a complete echo is a success, because every byte is back and was right.
    ///
    /// # Errors
    /// The reason for the failure, as a sentence.
    pub(super) fn judge(&self, end: &End) -> Result<Option<String>, String> {
        if let End::Wrong(why) = end {
            return Err(why.clone());
        }
        if let Sending::InputFailed(error) = &self.sending {
            return Err(format!("cannot read standard input: {error}"));
        }
        let error = match (end, &self.sending) {
            (End::Broken(error), _) => Some(error),
            // When the kernel reports the pending error of a socket, it clears the error (SO_ERROR, socket(7)). If
            // send(2) got ECONNRESET, recv(2) sees an ordinary end of stream. send(2) fails with EPIPE after a reset
            // and after an end of stream, so EPIPE does not tell one from the other.
            (End::OfStream, Sending::Refused(error)) if error.kind() != ErrorKind::BrokenPipe => {
                Some(error)
            }
            _ => None,
        };
        if self.has_everything() {
            let all = match self.sent {
                1 => "the only byte had come back".to_owned(),
                sent => format!("all {sent} bytes had come back"),
            };
            return Ok(match (end, error) {
                (_, Some(error)) => Some(format!("{} after {all}", broken(error))),
                (End::StillOpen, None) => Some(format!(
                    "the server did not end its stream within {} after {all}",
                    humantime::format_duration(LAST_WAIT)
                )),
                _ => None,
            });
        }
        let progress = self.progress();
        Err(match (end, error) {
            (_, Some(error)) => format!("{} {progress}", broken(error)),
            (End::TimedOut(timeout), None) => format!(
                "gave up because no byte moved for {} (--timeout), {progress}",
                humantime::format_duration(*timeout)
            ),
            _ => format!("the server ended its stream {progress}"),
        })
    }

    /// True if every byte was sent, our stream has ended, and every byte is back.
    fn has_everything(&self) -> bool {
        let ended = matches!(self.sending, Sending::Ended | Sending::InputFailed(_));
        ended && self.received == self.sent
    }

    /// The end of a message: how many bytes of how many had come back.
    fn progress(&self) -> String {
        let (received, sent) = (self.received, self.sent);
        let bytes = if sent == 1 { "byte" } else { "bytes" };
        match self.input_ended {
            true => format!("after {received} of {sent} {bytes} had come back"),
            false => format!(
                "before the input had ended: {received} of the {sent} {bytes} sent so far had come back"
            ),
        }
    }
}

/// The beginning of a message about a connection that failed with this error.
fn broken(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "the server reset the connection".to_owned()
        }
        _ => format!("the connection broke ({error})"),
    }
}

/// Longest wait for the server's end of stream after every byte is back. Also the longest wait for the end of the input
/// after the server has ended its stream.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(1);

/// Size of a block in bytes: the unit of the checksums.
const BLOCK: u64 = 64 * 1024;

/// Most blocks that are kept as bytes: 256 blocks, which are 16 MiB. More bytes are in flight if the server stores the
/// stream before it answers, or if the socket buffers are very large.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(10));

    /// Makes a comparison with all of `sent`, in pieces of 10,000 bytes. Then compares `received`, in pieces of 7,777
    /// bytes.
    fn compare(sent: &[u8], received: &[u8]) -> Result<Comparison, String> {
        let now = Instant::now();
        let mut comparison = Comparison::new(now);
        sent.chunks(10_000)
            .for_each(|part| comparison.announce(part, now));
        comparison.end_input();
        comparison.end(Ok(()), now);
        for part in received.chunks(7_777) {
            comparison.receive(part, now)?;
        }
        Ok(comparison)
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n % 251) as u8).collect()
    }

    fn error(kind: ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn an_exact_echo_succeeds_at_every_length() {
        // The last length is more than the comparison keeps as bytes.
        for length in [0, 1, 65_535, 65_536, 65_537, 1_000_000, 20 << 20] {
            let comparison = compare(&bytes(length), &bytes(length)).map_err(|why| (length, why));
            assert_eq!(
                comparison.unwrap().judge(&End::OfStream),
                Ok(None),
                "{length}"
            );
        }
    }

    #[test]
    fn single_bytes_are_compared_while_their_block_is_incomplete() {
        let (now, sent) = (Instant::now(), bytes(200_000));
        let mut comparison = Comparison::new(now);
        for part in sent.chunks(999) {
            comparison.announce(part, now);
            for byte in part {
                comparison.receive(&[*byte], now).unwrap();
            }
        }
        let why = comparison.receive(&[0], now).unwrap_err();
        assert_eq!(why, "more bytes came back than were sent (200000)");
    }

    #[test]
    fn the_first_wrong_byte_is_named_with_its_offset() {
        let sent = bytes(200_000);
        for offset in [0, 65_535, 65_536, 199_999] {
            let mut wrong = sent.clone();
            wrong[offset] ^= 0xff;
            wrong[199_999] ^= 1;
            // The bytes after the wrong one are not needed.
            let why = compare(&sent, &wrong[..=offset]).err().unwrap();
            assert!(why.contains(&format!("at offset {offset}:")), "{why}");
        }
        let why = compare(b"hello", b"hellO").err().unwrap();
        assert!(why.contains("0x6f was sent, 0x4f came back"), "{why}");
    }

    #[test]
    fn a_wrong_byte_in_a_block_kept_as_a_checksum_is_reported_with_its_block() {
        let kept = KEPT * BLOCK as usize;
        let sent = bytes(kept + 100_000);
        for (offset, hint) in [
            (kept - 1, "at offset 16777215:"),
            (kept, "in the bytes from 16777216 to 16842752"),
            (kept + 99_999, "at offset 16877215:"),
        ] {
            let mut wrong = sent.clone();
            wrong[offset] ^= 0xff;
            let why = compare(&sent, &wrong).err().unwrap();
            assert!(why.contains(hint), "{offset}: {why}");
        }
    }

    #[test]
    fn a_message_is_complete_in_either_order_of_echo_and_end_of_stream() {
        let now = Instant::now();
        for end_first in [true, false] {
            let mut comparison = Comparison::of_message(b"hello", now);
            assert!(comparison.may_change());
            if end_first {
                comparison.end(Ok(()), now);
                comparison.receive(b"hello", now).unwrap();
            } else {
                comparison.receive(b"hello", now).unwrap();
                // Here the receiving thread waits for the sending thread.
                assert!(comparison.may_change());
                comparison.end(Ok(()), now);
            }
            assert!(!comparison.may_change());
            assert_eq!(comparison.judge(&End::OfStream), Ok(None));
        }
    }

    #[test]
    fn a_reset_is_reported_if_either_thread_gets_it() {
        let now = Instant::now();
        let reset = "the server reset the connection after 2 of 5 bytes had come back";
        let mut comparison = Comparison::of_message(b"hello", now);
        comparison.receive(b"he", now).unwrap();
        for kind in [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted] {
            let end = End::Broken(error(kind));
            assert_eq!(comparison.judge(&end), Err(reset.to_owned()));
        }
        // recv(2) got the error, and send(2) failed after that.
        comparison.fail(error(ErrorKind::BrokenPipe));
        let end = End::Broken(error(ErrorKind::ConnectionReset));
        assert_eq!(comparison.judge(&end), Err(reset.to_owned()));
        // send(2) got the error, and recv(2) sees an end of stream.
        comparison.fail(error(ErrorKind::ConnectionReset));
        assert_eq!(comparison.judge(&End::OfStream), Err(reset.to_owned()));
        // The server's end of stream came first, and the sending thread wrote more bytes after it.
        comparison.fail(error(ErrorKind::BrokenPipe));
        let why = comparison.judge(&End::OfStream).unwrap_err();
        assert_eq!(
            why,
            "the server ended its stream after 2 of 5 bytes had come back"
        );
        let why = comparison.judge(&End::Broken(error(ErrorKind::TimedOut)));
        assert!(
            why.unwrap_err()
                .starts_with("the connection broke (timed out)")
        );
    }

    #[test]
    fn a_reset_after_the_complete_echo_is_a_success_with_a_remark() {
        let comparison = compare(b"hello", b"hello").unwrap();
        let remark = comparison.judge(&End::Broken(error(ErrorKind::ConnectionReset)));
        let expected = "the server reset the connection after all 5 bytes had come back";
        assert_eq!(remark, Ok(Some(expected.to_owned())));
    }

    #[test]
    fn an_end_of_stream_before_the_inputs_end_is_an_error() {
        let now = Instant::now();
        let mut comparison = Comparison::new(now);
        comparison.announce(b"hello", now);
        comparison.wait_for_input();
        comparison.receive(b"hello", now).unwrap();
        assert!(comparison.may_change(), "the input may be at its end");
        let why = comparison.judge(&End::OfStream).unwrap_err();
        assert!(
            why.contains("before the input had ended: 5 of the 5 bytes"),
            "{why}"
        );
    }

    #[test]
    fn an_unreadable_input_is_reported_before_the_end_of_the_connection() {
        let mut comparison = Comparison::new(Instant::now());
        comparison.end(Err(error(ErrorKind::IsADirectory)), Instant::now());
        for end in [End::OfStream, End::StillOpen] {
            let why = comparison.judge(&end).unwrap_err();
            assert!(why.starts_with("cannot read standard input"), "{why}");
        }
    }

    #[test]
    fn a_due_answer_times_out_when_no_byte_has_moved_for_the_timeout() {
        let start = Instant::now();
        let mut comparison = Comparison::of_message(b"hello", start);
        let patience = |comparison: &Comparison, seconds| {
            comparison.patience(start + seconds * SECOND, TIMEOUT)
        };
        assert_eq!(patience(&comparison, 3), Patience::Wait(Some(7 * SECOND)));
        assert_eq!(
            comparison.patience(start + 99 * SECOND, None),
            Patience::Wait(None)
        );
        comparison.moved(start + 3 * SECOND);
        assert_eq!(patience(&comparison, 10), Patience::Wait(Some(3 * SECOND)));
        comparison.receive(b"he", start + 5 * SECOND).unwrap();
        assert_eq!(patience(&comparison, 14), Patience::Wait(Some(SECOND)));
        assert_eq!(patience(&comparison, 15), Patience::TimedOut(10 * SECOND));
        let why = comparison.judge(&End::TimedOut(10 * SECOND)).unwrap_err();
        assert_eq!(
            why,
            "gave up because no byte moved for 10s (--timeout), after 2 of 5 bytes had come back"
        );
    }

    #[test]
    fn an_idle_session_reads_with_short_waits_so_that_no_deadline_is_missed() {
        let start = Instant::now();
        let mut comparison = Comparison::new(start);
        let hour = start + 3600 * SECOND;
        assert_eq!(
            comparison.patience(hour, TIMEOUT),
            Patience::Wait(Some(LAST_WAIT))
        );
        assert_eq!(
            comparison.patience(hour, None),
            Patience::Wait(Some(LAST_WAIT))
        );
        let short = Duration::from_millis(200);
        assert_eq!(
            comparison.patience(hour, Some(short)),
            Patience::Wait(Some(short))
        );
        // The wait for an answer starts when bytes are sent, not at the last answer.
        comparison.announce(b"hello", hour);
        assert_eq!(comparison.patience(hour, TIMEOUT), Patience::Wait(TIMEOUT));
    }

    #[test]
    fn the_wait_for_the_servers_end_of_stream_is_one_second_with_every_timeout() {
        let comparison = compare(b"hello", b"hello").unwrap();
        let start = comparison.moved;
        for timeout in [None, TIMEOUT, Some(SECOND / 10)] {
            let patience = |after| comparison.patience(start + after, timeout);
            assert_eq!(patience(SECOND / 4), Patience::Wait(Some(SECOND * 3 / 4)));
            assert_eq!(patience(SECOND), Patience::StillOpen);
        }
        let remark = comparison.judge(&End::StillOpen).unwrap().unwrap();
        let expected =
            "the server did not end its stream within 1s after all 5 bytes had come back";
        assert_eq!(remark, expected);
    }
}

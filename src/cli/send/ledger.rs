//! The ledger of `send`: what was sent and what came back.
//!
//! Performs no I/O.

use std::collections::VecDeque;
use std::io;

/// What was sent and what came back, as checksums of blocks: gigabytes may be under way without filling memory, and
/// a difference is still found, to the block.
#[derive(Default)]
pub(super) struct Ledger {
    sent: Blocks,
    received: Blocks,
    /// All that there was to send has been.
    pub(super) finished: bool,
    /// Reading the input has failed.
    pub(super) input_error: Option<io::Error>,
    /// The first block that differs.
    different: Option<u64>,
    /// Blocks compared.
    compared: u64,
}

/// One direction's stream, cut into blocks of [`BLOCK`] bytes.
#[derive(Default)]
struct Blocks {
    bytes: u64,
    current: crc32fast::Hasher,
    complete: VecDeque<u32>,
}

impl Blocks {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (BLOCK - self.bytes % BLOCK) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.current.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(BLOCK) {
                let complete = std::mem::take(&mut self.current).finalize();
                self.complete.push_back(complete);
            }
            bytes = later;
        }
    }
}

impl Ledger {
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.sent.add(bytes);
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.received.add(bytes);
        while let (Some(sent), Some(received)) =
            (self.sent.complete.front(), self.received.complete.front())
        {
            if sent != received && self.different.is_none() {
                self.different = Some(self.compared);
            }
            self.sent.complete.pop_front();
            self.received.complete.pop_front();
            self.compared += 1;
        }
    }

    /// What is wrong with the echo, if anything is. Asked at the end.
    pub(super) fn verdict(&self) -> Option<String> {
        let (sent, received) = (self.sent.bytes, self.received.bytes);
        let last_block_differs = sent == received
            && self.sent.current.clone().finalize() != self.received.current.clone().finalize();
        let different = self
            .different
            .or(last_block_differs.then_some(self.compared));
        if let Some(block) = different {
            let (from, to) = (block * BLOCK, ((block + 1) * BLOCK).min(sent));
            return Some(format!(
                "the echo differs from what was sent, somewhere in the bytes from {from} to {to}"
            ));
        }
        if let Some(error) = &self.input_error {
            return Some(format!("cannot read standard input: {error}"));
        }
        if !self.finished {
            return Some(format!(
                "the server ended the connection before everything was sent: {sent} bytes were, and {received} came back"
            ));
        }
        if received < sent {
            return Some(format!(
                "{sent} bytes were sent and only {received} came back"
            ));
        }
        if received > sent {
            return Some(format!(
                "{sent} bytes were sent and {received} came back: more than were sent"
            ));
        }
        None
    }
}

/// How many bytes share a checksum.
const BLOCK: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(sent: &[u8], received: &[u8]) -> Option<String> {
        let mut ledger = Ledger {
            finished: true,
            ..Ledger::default()
        };
        sent.chunks(10_000).for_each(|chunk| ledger.sent(chunk));
        received
            .chunks(7_777)
            .for_each(|chunk| ledger.received(chunk));
        ledger.verdict()
    }

    #[test]
    fn an_exact_echo_is_right_whatever_its_length_and_its_cuts() {
        for length in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            assert_eq!(verdict(&bytes, &bytes), None, "{length} bytes");
        }
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let sent = vec![7; 200_000];
        let mut wrong = sent.clone();
        wrong[70_000] = 8;
        assert!(verdict(&sent, &wrong).unwrap().contains("65536 to 131072"));
        wrong = sent.clone();
        wrong[199_999] = 8;
        assert!(verdict(&sent, &wrong).unwrap().contains("196608 to 200000"));
        assert!(verdict(&sent, &sent[1..]).unwrap().contains("only 199999"));
        assert!(verdict(&sent[1..], &sent).unwrap().contains("more than"));
    }
}

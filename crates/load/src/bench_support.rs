//! The client's exchange without a socket. The benches measure with it what a verified message costs without the
//! kernel.
//!
//! This module is hidden. It may change in any version.

use crate::exchange::{Exchange, Received, Verify};
use crate::payload::Payload;

/// The exchange of a client with an imaginary server that echoes at once.
#[derive(Debug)]
pub struct Conversation {
    exchange: Exchange,
    payload: Payload,
    buffer: Vec<u8>,
    size: u32,
}

impl Conversation {
    /// Makes a conversation with messages of `size` bytes.
    pub fn new(size: u32) -> Conversation {
        Conversation {
            exchange: Exchange::new(1, 1, 1),
            payload: Payload::new(1),
            buffer: vec![0; size as usize],
            size,
        }
    }

    /// Makes a message, uses its bytes as the echo, and verifies every byte. Returns how many messages came back right.
    pub fn message(&mut self) -> usize {
        self.exchange.begin(self.size, 0, 0);
        let echo = self.exchange.unsent(self.payload, &mut self.buffer);
        self.exchange.accepted(echo.len(), echo.len());
        let mut right = 0;
        let rule = (self.payload, Verify::Full);
        match self.exchange.received(echo, 0, rule, |_| right += 1) {
            Received::Right => right,
            Received::Doubtful | Received::Wrong => 0,
        }
    }
}

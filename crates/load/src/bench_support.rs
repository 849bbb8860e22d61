//! The client's exchange without a socket, for the benches: what a verified message costs without a kernel.
//!
//! Hidden, and no part of what versions promise.

use crate::exchange::{Exchange, Received, Verify};
use crate::payload::Payload;

/// A client's conversation with a server that answers at once.
#[derive(Debug)]
pub struct Conversation {
    exchange: Exchange,
    payload: Payload,
    buffer: Vec<u8>,
    size: u32,
}

impl Conversation {
    /// With messages of `size` bytes.
    pub fn new(size: u32) -> Conversation {
        Conversation {
            exchange: Exchange::new(1, 1, 1),
            payload: Payload::new(1),
            buffer: vec![0; size as usize],
            size,
        }
    }

    /// Makes a message, takes it back as its echo, and verifies every byte. Returns how many messages came back right.
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

//! The two state machines over memory, for the benches: what an echo costs where no kernel is.
//!
//! Hidden, and no part of what versions promise.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use crate::delivery::Delivery;
use crate::load::{Exchange, Payload, Received, Verify};
use crate::pipe::Pipe;
use crate::poller::Readiness;
use crate::server::{Buffers, Connection, Counters, PeerWitness, Progress};
use crate::stream::Socket;
use crate::{BindError, Config, Server};

/// A connection of the server's over a socket that is made of numbers: how many bytes have come, how many it takes at
/// once, for how many it has room. No byte is copied, so what is left is the cost of the state machine.
pub struct Pump {
    connection: Connection,
    socket: Numbers,
    buffers: Buffers<usize>,
    counters: Counters,
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

/// A peer's share of a turn, in bytes.
pub const TURN: usize = crate::server::TURN;

/// A server that does not end a peer's turn before there is nothing left to do for it: to measure what the end is good for.
///
/// # Errors
/// As [`Server::bind`].
pub fn bind_without_budget(config: &Config) -> Result<Server, BindError> {
    Server::bind_with_turn(config, usize::MAX)
}

/// What one pump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing more can be done.
    Blocked,
    /// The turn is over.
    Yielded,
    /// The connection has ended.
    Finished,
}

impl Pump {
    /// With reads of `read` bytes on an edge-triggered selector; bulk goes by a pipe if `splices`.
    pub fn new(read: usize, splices: bool) -> Pump {
        let mut buffers = Buffers::new(read, 1 << 20);
        if splices {
            buffers.use_pipe(0, TURN);
        }
        Pump {
            connection: Connection::new(true),
            socket: Numbers {
                arrived: 0,
                takes: usize::MAX,
                room: 0,
            },
            buffers,
            counters: Counters::default(),
        }
    }

    /// Lets `arrived` bytes come, of whose echo the socket takes `takes` at once and `room` until it is full, and pumps
    /// with this budget.
    pub fn pump(&mut self, arrived: usize, takes: usize, room: usize, budget: usize) -> Pumped {
        self.socket.arrived += arrived;
        self.socket.takes = takes;
        self.socket.room = room;
        self.connection.notice(Readiness {
            readable: true,
            writable: true,
            read_on: false,
        });
        let mut witness = PeerWitness {
            counters: &self.counters,
            key: 0,
        };
        let buffers = &mut self.buffers;
        match self
            .connection
            .pump(&mut self.socket, buffers, budget, &mut witness)
        {
            Progress::Blocked => Pumped::Blocked,
            Progress::Yielded => Pumped::Yielded,
            Progress::Finished(_) => Pumped::Finished,
        }
    }

    /// Bytes that went by the pipe.
    pub fn spliced(&self) -> u64 {
        self.counters.bytes_spliced.get()
    }

    /// Bytes that were echoed.
    pub fn echoed(&self) -> u64 {
        self.counters.bytes_out.get()
    }
}

#[derive(Debug)]
struct Numbers {
    arrived: usize,
    takes: usize,
    room: usize,
}

impl Numbers {
    fn receive(&mut self, most: usize) -> io::Result<usize> {
        let n = self.arrived.min(most);
        self.arrived -= n;
        if n == 0 {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(n)
        }
    }

    fn take(&mut self, offered: usize) -> io::Result<usize> {
        let n = offered.min(self.takes).min(self.room);
        self.room -= n;
        if n == 0 {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(n)
        }
    }
}

impl Read for Numbers {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer.len())
    }
}

impl Write for Numbers {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Numbers {
    type Pipe = usize;

    fn splice_in(&mut self, pipe: &mut usize, most: usize) -> io::Result<usize> {
        let n = self.receive(most)?;
        *pipe += n;
        Ok(n)
    }

    fn splice_out(&mut self, pipe: &mut usize, held: usize) -> io::Result<usize> {
        let n = self.take(held)?;
        *pipe -= n;
        Ok(n)
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.arrived.min(buffer.len()))
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn received(&self) -> u32 {
        0
    }

    fn delivery(&self) -> Option<Delivery> {
        None
    }

    fn shares_our_processor(&self) -> bool {
        false
    }

    fn take_error(&self) -> Option<io::Error> {
        None
    }

    fn give_up_after(&mut self, _: Option<std::time::Duration>) {}

    fn reset_on_close(&mut self) {}
}

/// A pipe that is made of a number.
impl Pipe for usize {
    fn open() -> io::Result<usize> {
        Ok(0)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(*self);
        *self -= n;
        Ok(n)
    }
}

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
        let n = self.exchange.unsent(self.payload, &mut self.buffer);
        self.exchange.accepted(n, n);
        let mut right = 0;
        let rule = (self.payload, Verify::Full);
        let echo = &self.buffer[..n];
        match self.exchange.received(echo, 0, rule, |_| right += 1) {
            Received::Right => right,
            Received::Doubtful | Received::Wrong => 0,
        }
    }
}

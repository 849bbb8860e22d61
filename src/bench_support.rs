//! The server's connection over numbers instead of a socket, for the benches: what an echo costs without a kernel.
//!
//! Hidden, and no part of what versions promise.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use crate::server::{Answer, Buffers, Connection, Counters, PeerTracer, Turn};
use crate::{BindError, Config, Server};
use net::delivery::Delivery;
use net::pipe::Pipe;
use net::poller::Readiness;
use net::stream::Socket;

/// A connection of the server's over a socket that is made of numbers: how many bytes have come, how many it takes at
/// once, for how many it has room. No byte is copied, so what is left is the cost of the state machine.
pub struct Pump {
    connection: Connection,
    socket: Numbers,
    buffers: Buffers<Held>,
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
    Server::bind_without_budget(config)
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
            buffers.use_pipe(Held(0), TURN);
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
        self.connection.on_readiness(Readiness {
            readable: true,
            writable: true,
            read_on: false,
        });
        let mut tracer = PeerTracer {
            counters: &self.counters,
            key: 0,
        };
        let buffers = &mut self.buffers;
        let turn = Turn {
            budget,
            continues: true,
        };
        match self
            .connection
            .pump(&mut self.socket, buffers, turn, &mut tracer)
        {
            Answer::Blocked { .. } => Pumped::Blocked,
            Answer::Yielded => Pumped::Yielded,
            Answer::Finished(_) => Pumped::Finished,
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
    type Pipe = Held;

    fn splice_in(&mut self, pipe: &mut Held, most: usize) -> io::Result<usize> {
        let n = self.receive(most)?;
        pipe.0 += n;
        Ok(n)
    }

    fn splice_out(&mut self, pipe: &mut Held, held: usize) -> io::Result<usize> {
        let n = self.take(held)?;
        pipe.0 -= n;
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

/// A pipe that is made of a number: how many bytes it holds.
#[derive(Debug)]
struct Held(usize);

impl Pipe for Held {
    fn open() -> io::Result<Held> {
        Ok(Held(0))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.0);
        self.0 -= n;
        Ok(n)
    }
}

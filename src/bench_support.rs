//! The server's connection over a simulated socket, for the benches: the cost of an echo without a kernel.
//!
//! Hidden from the documentation. Any version may change it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use crate::server::{
    Answer, Buffers, Connection, Counters, PeerTracer, PumpLimits, Quota, TURN_BUDGET,
};
use crate::{BindError, Config, Server};
use net::delivery::Delivery;
use net::pipe::Pipe;
use net::poller::Readiness;
use net::stream::Socket;

/// A connection of the server over a socket that only counts bytes. No byte is copied, so a bench measures the state
/// machine alone.
pub struct Pump {
    connection: Connection,
    socket: CountingSocket,
    buffers: Buffers<CountingPipe>,
    counters: Counters,
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

/// The budget of a connection for one turn of the event loop, in bytes.
pub const TURN: usize = crate::server::TURN_BUDGET;

/// Binds a server without a budget: each connection runs until it blocks or ends. A bench compares this server with one
/// that has a budget.
///
/// # Errors
/// Those of [`Server::bind`].
pub fn bind_without_budget(config: &Config) -> Result<Server, BindError> {
    Server::bind_without_budget(config)
}

/// The result of one [`Pump::pump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// The connection waits for bytes or for space in the send buffer.
    Blocked,
    /// The budget is used up, and the connection may have more to do.
    Yielded,
    /// The connection has ended.
    Finished,
}

impl Pump {
    /// Creates a connection on an edge-triggered selector. One read returns at most `read` bytes. If `splices` is true,
    /// bulk goes through a pipe.
    pub fn new(read: usize, splices: bool) -> Pump {
        let mut buffers = Buffers::new(read, Arc::new(Quota::new((1 << 20) / read)));
        if splices {
            buffers.use_pipe(CountingPipe(0), TURN_BUDGET);
        }
        Pump {
            connection: Connection::new(true),
            socket: CountingSocket {
                arrived: 0,
                takes: usize::MAX,
                room: 0,
            },
            buffers,
            counters: Counters::default(),
        }
    }

    /// Adds `arrived` bytes to the receive queue and runs the connection with this budget, in bytes. One write accepts
    /// at most `takes` bytes, and the send buffer has space for `room` bytes.
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
        let turn = PumpLimits {
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

    /// Number of bytes that went through the pipe.
    pub fn spliced(&self) -> u64 {
        self.counters.bytes_spliced.get()
    }

    /// Number of bytes that were echoed.
    pub fn echoed(&self) -> u64 {
        self.counters.bytes_out.get()
    }
}

/// A socket that counts bytes and stores none.
#[derive(Debug)]
struct CountingSocket {
    /// The number of bytes in the receive queue.
    arrived: usize,
    /// The largest number of bytes that one write accepts.
    takes: usize,
    /// The number of bytes for which the send buffer has space.
    room: usize,
}

impl CountingSocket {
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

impl Read for CountingSocket {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer.len())
    }
}

impl Write for CountingSocket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for CountingSocket {
    type Pipe = CountingPipe;

    fn splice_in(&mut self, pipe: &mut CountingPipe, most: usize) -> io::Result<usize> {
        let n = self.receive(most)?;
        pipe.0 += n;
        Ok(n)
    }

    fn splice_out(&mut self, pipe: &mut CountingPipe, held: usize) -> io::Result<usize> {
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

/// A pipe that stores no bytes, only their number.
#[derive(Debug)]
struct CountingPipe(usize);

impl Pipe for CountingPipe {
    fn open() -> io::Result<CountingPipe> {
        Ok(CountingPipe(0))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.0);
        self.0 -= n;
        Ok(n)
    }
}

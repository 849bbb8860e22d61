//! The load: eight connections on one thread that send messages and count the bytes that come back.
//!
//! It does not verify the echo and measures no latency.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Connections that send messages of one size. Each sends the next message when the whole echo of the last has come
/// back.
pub(crate) struct Generator {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<Event>,
    /// Bytes to send; every write starts at its first byte.
    outgoing: Vec<u8>,
    /// Buffer for reads.
    incoming: Vec<u8>,
}

/// The bytes that came back in a window.
pub(crate) struct Received {
    pub(crate) bytes: u64,
    /// Length of the window, which may be a little longer than asked for.
    pub(crate) elapsed: Duration,
}

/// One connection and the progress of its message.
struct Connection {
    stream: TcpStream,
    /// Size of each message, in bytes.
    message: u64,
    /// Bytes of this message that the kernel has accepted.
    sent: u64,
    /// Bytes of this message's echo that have come back.
    received: u64,
    /// True if the connection is registered for writable events too.
    writable_events: bool,
}

impl Generator {
    /// Connects. The first call of [`Generator::run`] sends the first messages.
    pub(crate) fn connect(server: SocketAddr, message: u64) -> io::Result<Generator> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for n in 0..CONNECTIONS {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, data(n), READABLE | EventFlags::OUT)?;
            connections.push(Connection {
                stream,
                message,
                sent: 0,
                received: 0,
                writable_events: true,
            });
        }
        Ok(Generator {
            epoll,
            connections,
            events: Vec::with_capacity(CONNECTIONS),
            outgoing: vec![b'#'; LONGEST_WRITE.min(message) as usize],
            incoming: vec![0; LONGEST_READ],
        })
    }

    /// Sends and receives for the length of the window, or longer until the first byte has come back.
    ///
    /// # Errors
    /// If a connection fails or is closed, if more bytes came back than were sent, or if no byte has come back
    /// [`PATIENCE`] after the end of the window.
    pub(crate) fn run(&mut self, window: Duration) -> io::Result<Received> {
        let start = Instant::now();
        let mut bytes = 0;
        loop {
            let elapsed = start.elapsed();
            if elapsed >= window && bytes > 0 {
                return Ok(Received { bytes, elapsed });
            }
            if elapsed >= window + PATIENCE {
                return Err(io::Error::other("no byte came back in time"));
            }
            bytes += self.turn()?;
        }
    }

    /// Waits for events once and handles them, with at most one read and one write for each connection: so neither
    /// direction waits for the other. Returns the number of bytes that came back.
    fn turn(&mut self) -> io::Result<u64> {
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, Some(&LONGEST_WAIT)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = 0;
        for event in &self.events {
            let (n, flags) = (event.data.u64() as usize, event.flags);
            let connection = &mut self.connections[n];
            let mut writes = flags.contains(EventFlags::OUT);
            if flags.intersects(READABLE | EventFlags::HUP | EventFlags::ERR) {
                bytes += connection.read(&mut self.incoming)?;
                writes |= connection.start_next_message();
            }
            if writes {
                connection.write(&self.outgoing)?;
            }
            let is_unsent = connection.sent < connection.message;
            if is_unsent != connection.writable_events {
                let interest = match is_unsent {
                    true => READABLE | EventFlags::OUT,
                    false => READABLE,
                };
                epoll::modify(&self.epoll, &connection.stream, data(n), interest)?;
                connection.writable_events = is_unsent;
            }
        }
        Ok(bytes)
    }
}

impl Connection {
    /// Reads once. Returns the number of bytes, 0 if there are none.
    fn read(&mut self, incoming: &mut [u8]) -> io::Result<u64> {
        let n = match recv(&self.stream, incoming, RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::Error::other("the server closed a connection")),
            Ok((n, _)) => n as u64,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        self.received += n;
        if self.received > self.sent {
            return Err(io::Error::other("more bytes came back than were sent"));
        }
        Ok(n)
    }

    /// Starts the next message if the whole echo has come back, and returns true.
    fn start_next_message(&mut self) -> bool {
        let is_back = self.received == self.message;
        if is_back {
            (self.sent, self.received) = (0, 0);
        }
        is_back
    }

    /// Writes once.
    fn write(&mut self, outgoing: &[u8]) -> io::Result<()> {
        let n = (outgoing.len() as u64).min(self.message - self.sent) as usize;
        match send(&self.stream, &outgoing[..n], SendFlags::NOSIGNAL) {
            Ok(n) => self.sent += n as u64,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn data(n: usize) -> EventData {
    EventData::new_u64(n as u64)
}

/// A message size that no run can send completely: a stream without end.
pub(crate) const WITHOUT_END: u64 = u64::MAX;

pub(crate) const CONNECTIONS: usize = 8;

const READABLE: EventFlags = EventFlags::IN;

/// The most bytes of one send(2). The kernel accepts as many as its send buffer has room for.
const LONGEST_WRITE: u64 = 1024 * 1024;

/// The most bytes of one recv(2). This buffer stays in the processor's cache, so that the speed of the copy depends
/// on its source only.
const LONGEST_READ: usize = 64 * 1024;

/// The most time of one wait: long enough to cost nothing, short enough to end a window on time without events.
const LONGEST_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// The longest delay of the first byte after the window. On a busy machine the server waited one second for its core.
const PATIENCE: Duration = Duration::from_secs(10);

//! Step 09: go on until `WouldBlock`.
//! New: an event is only a hint. The server reads and writes until a call answers `WouldBlock`.
//! Look: `strace -e trace=epoll_wait,recvfrom,sendto -p PID`: recvfrom until `EAGAIN`, and then epoll_wait.
//! Breaks on: `fairness`: a client that never stops sending keeps the loop, and all other clients wait.
//! Believed: "drain until EAGAIN, that is all"
//! Grown up: `src/server/connection.rs`, `after_short_read`

use std::env;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// A connected client. Its key in the slab is the token of its events.
struct Client {
    stream: TcpStream,
    /// The bytes that the kernel has not accepted yet, oldest first.
    pending: Vec<u8>,
}

/// Serves all clients in one thread: sleeps until the state of a socket changes.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let mut listener = TcpListener::bind(address.parse().map_err(io::Error::other)?)?;
    let mut poll = Poll::new()?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut clients: Slab<Client> = Slab::new();
    let mut buffer = [0; 4096];
    loop {
        match poll.poll(&mut events, None) {
            // Not an error: a signal handler ran, or SIGCONT came (signal(7)). Any other error ends the program.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                // One change of the backlog can mean several clients. An error of accept(2) ends nothing but this loop.
                LISTENER => while accept(&listener, &poll, &mut clients).is_ok() {},
                // kqueue(2) reports room and bytes as two events, and the first one may have ended the client.
                Token(key) if !clients.contains(key) => {}
                Token(key) => match clients[key].pump(&mut buffer) {
                    // Not an error: the next change causes an event.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // An error of a client (`ECONNRESET`, `EPIPE`) ends only that client. Closing the socket also
                    // deregisters it (epoll(7)).
                    Ok(()) | Err(_) => _ = clients.remove(key),
                },
            }
        }
    }
}

/// Accepts a client, and registers it once for both directions.
fn accept(listener: &TcpListener, poll: &Poll, clients: &mut Slab<Client>) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let token = Token(clients.vacant_key());
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, token, both)?;
    let pending = Vec::new();
    clients.insert(Client { stream, pending });
    Ok(())
}

impl Client {
    /// Writes and reads until the end of the stream, or until a call fails. `WouldBlock` is the usual end: only after
    /// it does a change cause an event (epoll(7)).
    fn pump(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            while !self.pending.is_empty() {
                let n = self.stream.write(&self.pending)?;
                self.pending.drain(..n);
            }
            match self.stream.read(buffer)? {
                0 => return Ok(()),
                n => self.pending.extend_from_slice(&buffer[..n]),
            }
        }
    }
}

const LISTENER: Token = Token(usize::MAX);

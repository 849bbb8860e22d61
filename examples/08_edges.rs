//! Step 08: edges.
//! New: each socket is registered once, with a token, and an event reports a change of a socket.
//! Look: `strace -e trace=epoll_ctl,epoll_wait -p PID`: no list of sockets any more.
//! Breaks on: `big-then-silent`: the rest of the bytes is never read, because nothing changes. `half-close`: the end of
//!   the stream is never seen, because it came together with the last bytes.
//! Believed: "an event is a message"; "one event for each send"; "edge-triggered is faster"
//! Grown up: `src/server/table.rs`

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
                Token(key) => {
                    // An error of a client (`ECONNRESET`, `EPIPE`) ends only that client.
                    if !clients[key].echo(&mut buffer).unwrap_or(false) {
                        // Closing the socket also deregisters it (epoll(7)).
                        clients.remove(key);
                    }
                }
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
    /// Reads once if no write is pending, and writes as much as the kernel accepts. Returns false at the end of the
    /// stream. All bytes before that end are then written.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.pending.is_empty() {
            match attempt(self.stream.read(buffer))? {
                None => {}
                Some(0) => return Ok(false),
                Some(n) => self.pending.extend_from_slice(&buffer[..n]),
            }
        }
        if !self.pending.is_empty()
            && let Some(n) = attempt(self.stream.write(&self.pending))?
        {
            self.pending.drain(..n);
        }
        Ok(true)
    }
}

/// Returns `None` if the call would have to wait (`EAGAIN`: accept(2), read(2), write(2)).
fn attempt<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

const LISTENER: Token = Token(usize::MAX);

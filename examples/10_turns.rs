//! Step 10: turns.
//! New: a turn has a budget. A client that used it up waits in the run queue, because no event will report its rest.
//! Look: `strace -e trace=epoll_wait -p PID` while a client sends without a pause: the timeout is 0.
//! Breaks on: `out-of-descriptors`: the server lives, but never accepts the clients that wait in the backlog.
//! Believed: "the kernel is fair"
//! Grown up: `src/server/run_queue.rs`

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use std::{env, mem};

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
    // The clients that must run. No event reports the rest of a client that used up its budget.
    let mut run_queue = BTreeSet::new();
    loop {
        let timeout = (!run_queue.is_empty()).then_some(Duration::ZERO);
        match poll.poll(&mut events, timeout) {
            // Not an error: a signal handler ran, or SIGCONT came (signal(7)). Any other error ends the program.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                // One change of the backlog can mean several clients. An error of accept(2) ends nothing but this loop.
                LISTENER => while accept(&listener, &poll, &mut clients).is_ok() {},
                Token(key) => _ = run_queue.insert(key),
            }
        }
        for key in mem::take(&mut run_queue) {
            match clients[key].pump(&mut buffer) {
                Ok(true) => _ = run_queue.insert(key),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An error of a client ends only that client. Closing the socket also deregisters it (epoll(7)).
                Ok(false) | Err(_) => _ = clients.remove(key),
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
    /// Writes and reads until a call fails (`WouldBlock`) or the budget is used up. Returns false at the end of stream.
    fn pump(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..READS_A_TURN {
            while !self.pending.is_empty() {
                let n = self.stream.write(&self.pending)?;
                self.pending.drain(..n);
            }
            match self.stream.read(buffer)? {
                0 => return Ok(false),
                n => self.pending.extend_from_slice(&buffer[..n]),
            }
        }
        Ok(true)
    }
}

const LISTENER: Token = Token(usize::MAX);
/// The budget of a turn: 64 reads, at most 256 KiB. Without it, a client that never stops sending stops all others.
const READS_A_TURN: usize = 64;

//! Step 11: a listener that recovers.
//! New: after an error, accept is tried again: when a client was closed, and after a pause.
//! Look: `ls /proc/PID/fd`; then `prlimit --nofile=10 --pid PID`, more clients, and `strace -e trace=accept4 -p PID`
//! Breaks on: `squatters`: clients that say nothing hold all descriptors for ever.
//! Believed: "EMFILE cannot happen"; "the next event will come"
//! Grown up: `src/server/acceptor.rs`

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
    let mut must_accept = false;
    loop {
        let timeout = match (run_queue.is_empty(), must_accept) {
            (false, _) => Some(Duration::ZERO),
            (true, true) => Some(PAUSE),
            (true, false) => None,
        };
        match poll.poll(&mut events, timeout) {
            // Not an error: a signal handler ran, or SIGCONT came (signal(7)). Any other error ends the program.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                LISTENER => must_accept = true,
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
        // Comes last, because a closed client frees a descriptor. No event reports the backlog again after an error.
        while must_accept {
            if let Err(error) = accept(&listener, &poll, &mut clients) {
                must_accept = error.kind() != ErrorKind::WouldBlock;
                break;
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
/// While accept(2) fails (`EMFILE`), each turn tries again, and the poll sleeps no longer than this.
const PAUSE: Duration = Duration::from_millis(100);

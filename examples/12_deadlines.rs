//! Step 12: deadlines.
//! New: time. The loop reads the clock once a turn, and the poll sleeps no longer than until the next deadline.
//! Look: `strace -e trace=epoll_wait -p PID`: the last argument is the time to the next deadline, in milliseconds.
//! Breaks on: `sigterm`: the signal kills the process. The pending writes are lost, and the exit code is not 0.
//! Believed: "timeouts need threads or a heap"; "close sends what is left"
//! Grown up: `src/server/timeouts.rs`

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use std::{env, mem};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// A connected client. Its key in the slab is the token of its events.
struct Client {
    stream: TcpStream,
    /// The bytes that the kernel has not accepted yet, oldest first.
    pending: Vec<u8>,
    /// When the client is closed, unless it has an event before.
    deadline: Instant,
}

/// Serves all clients in one thread. The second argument is the idle timeout in seconds, for example `60s`.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let idle = env::args().nth(2).unwrap_or("60s".into());
    let idle = Duration::from_secs(idle.trim_matches('s').parse().map_err(io::Error::other)?);
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
    let mut now = Instant::now();
    // No client has an earlier deadline.
    let mut next_deadline = now + idle;
    loop {
        let timeout = match (run_queue.is_empty(), must_accept) {
            (false, _) => Duration::ZERO,
            (true, true) => PAUSE,
            (true, false) => next_deadline.saturating_duration_since(now),
        };
        match poll.poll(&mut events, Some(timeout)) {
            // Not an error: a signal handler ran, or SIGCONT came (signal(7)). Any other error ends the program.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        now = Instant::now();
        for event in &events {
            match event.token() {
                LISTENER => must_accept = true,
                Token(key) => _ = run_queue.insert(key),
            }
        }
        for key in mem::take(&mut run_queue) {
            clients[key].deadline = now + idle;
            match clients[key].pump(&mut buffer) {
                Ok(true) => _ = run_queue.insert(key),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An error of a client ends only that client. Closing the socket also deregisters it (epoll(7)).
                Ok(false) | Err(_) => _ = clients.remove(key),
            }
        }
        if next_deadline <= now {
            clients.retain(|_, client| client.deadline > now);
            let first = clients.iter().map(|(_, client)| client.deadline).min();
            next_deadline = first.unwrap_or(now + idle);
        }
        // Comes last, because a closed client frees a descriptor. No event reports the backlog again after an error.
        while must_accept {
            if let Err(error) = accept(&listener, &poll, &mut clients, now + idle) {
                must_accept = error.kind() != ErrorKind::WouldBlock;
                break;
            }
        }
    }
}

/// Accepts a client, and registers it once for both directions.
fn accept(
    listener: &TcpListener,
    poll: &Poll,
    clients: &mut Slab<Client>,
    deadline: Instant,
) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let token = Token(clients.vacant_key());
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, token, both)?;
    clients.insert(Client {
        stream,
        pending: Vec::new(),
        deadline,
    });
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

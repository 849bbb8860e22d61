//! Step 05: the rest of a write is kept.
//! New: the bytes that the kernel did not accept are a pending write, and poll(2) says when there is room for them.
//! Look: `ss -tn 'sport = :7007'`: the server's Send-Q. `grep VmRSS /proc/PID/status`: the rest is in the process.
//! Breaks on: `bounded-intake`: the process holds everything that a client sends and does not read. `half-close-bulk`:
//!   the end of the stream drops the pending write.
//! Believed: "a buffer in between solves it"; "the end of the input is the end of the connection"
//! Grown up: `src/server/buffers.rs`

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::event::{PollFd, PollFlags, poll};

/// A connected client.
struct Client {
    stream: TcpStream,
    /// The bytes that the kernel has not accepted yet, oldest first.
    pending: Vec<u8>,
}

/// Serves all clients in one thread: sleeps until a socket is ready.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut clients: Vec<Client> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut sockets = vec![PollFd::new(&listener, PollFlags::IN)];
        for client in &clients {
            sockets.push(PollFd::new(&client.stream, client.interest()));
        }
        poll(&mut sockets, None)?;
        let is_ready: Vec<bool> = sockets.iter().map(|s| !s.revents().is_empty()).collect();
        // Backwards, because `swap_remove` moves the last client to the place of the removed one.
        for key in (0..clients.len()).rev() {
            if is_ready[key + 1] && !clients[key].echo(&mut buffer)? {
                clients.swap_remove(key);
            }
        }
        if is_ready[0]
            && let Some((stream, _)) = attempt(listener.accept())?
        {
            stream.set_nonblocking(true)?;
            let pending = Vec::new();
            clients.push(Client { stream, pending });
        }
    }
}

impl Client {
    /// Asks for room only while a write is pending: an idle socket always has room, and poll(2) would not sleep.
    fn interest(&self) -> PollFlags {
        match self.pending.is_empty() {
            true => PollFlags::IN,
            false => PollFlags::IN | PollFlags::OUT,
        }
    }

    /// Reads once, and writes as much as the kernel accepts. Returns false at the end of the stream.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match attempt(self.stream.read(buffer))? {
            None => {}
            Some(0) => return Ok(false),
            Some(n) => self.pending.extend_from_slice(&buffer[..n]),
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

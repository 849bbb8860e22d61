//! Step 06: back-pressure.
//! New: while a write is pending, the client is not read. So when `read` returns 0, all bytes are written.
//! Look: `ss -tn '( sport = :7007 or dport = :7007 )'`: the server's Recv-Q fills, and then the client's Send-Q.
//! Breaks on: `reset-idle`: one client resets its connection, and the server ends for all clients.
//! Believed: "TCP handles that for me" (it does, if the server stops reading)
//! Grown up: `src/server/connection.rs`, `pump`

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
    /// While a write is pending, waits only for room. The receive queue then fills, and TCP stops the sender.
    fn interest(&self) -> PollFlags {
        match self.pending.is_empty() {
            true => PollFlags::IN,
            false => PollFlags::OUT,
        }
    }

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

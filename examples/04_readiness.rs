//! Step 04: the kernel says which sockets are ready.
//! New: poll(2) sleeps until a socket is ready, and says which.
//! Look: `strace -e trace=ppoll,recvfrom,sendto -p PID`
//! Breaks on: `slow-reader`: the kernel accepts a part of a write, and the rest is lost. `bulk` can lose bytes too.
//! Believed: "write writes everything"
//! Grown up: `crates/net/src/poller.rs`

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::event::{PollFd, PollFlags, poll};

/// Serves all clients in one thread: sleeps until a socket is ready.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut sockets = vec![PollFd::new(&listener, PollFlags::IN)];
        for stream in &clients {
            sockets.push(PollFd::new(stream, PollFlags::IN));
        }
        poll(&mut sockets, None)?;
        let is_ready: Vec<bool> = sockets.iter().map(|s| !s.revents().is_empty()).collect();
        // Backwards, because `swap_remove` moves the last client to the place of the removed one.
        for key in (0..clients.len()).rev() {
            if is_ready[key + 1] && !echo(&mut clients[key], &mut buffer)? {
                clients.swap_remove(key);
            }
        }
        if is_ready[0]
            && let Some((stream, _)) = attempt(listener.accept())?
        {
            stream.set_nonblocking(true)?;
            clients.push(stream);
        }
    }
}

/// Reads once and writes the bytes back. Returns false at the end of the stream.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    match attempt(stream.read(buffer))? {
        None => {}
        Some(0) => return Ok(false),
        Some(n) => _ = attempt(stream.write(&buffer[..n]))?,
    }
    Ok(true)
}

/// Returns `None` if the call would have to wait (`EAGAIN`: accept(2), read(2), write(2)).
fn attempt<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

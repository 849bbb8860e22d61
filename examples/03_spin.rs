//! Step 03: nonblocking sockets.
//! New: no call waits. `WouldBlock` is an answer, not an error.
//! Look: `top`, and `strace -c -p PID` for one second.
//! Breaks on: `idle-cpu`: a whole core, although no client sends anything.
//! Believed: "nonblocking is fast"; "WouldBlock means that it failed"; "0 bytes mean that nothing is there"
//! Grown up: `crates/net/src/outcome.rs`, `attempt`

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Serves all clients in one thread: asks each socket again and again.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // Backwards, because `swap_remove` moves the last client to the place of the removed one.
        for key in (0..clients.len()).rev() {
            if !echo(&mut clients[key], &mut buffer)? {
                clients.swap_remove(key);
            }
        }
        if let Some((stream, _)) = attempt(listener.accept())? {
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

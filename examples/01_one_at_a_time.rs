//! Step 01: one client after the other.
//! New: the same server in Rust, with a loop around accept.
//! Look: `ss -tn 'sport = :7007'` while a second client is connected and gets no answer.
//! Breaks on: `two-at-once`: the second client connects and sends, and nothing comes back.
//! Believed: "connect succeeded, so the server has accepted me"; "listen(5) means five clients"
//! Grown up: `crates/net/src/socket.rs`, `listen_tcp`

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Serves one client after the other.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        echo(stream)?;
    }
}

/// Writes back what it reads, until the client ends its stream.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n])?;
    }
}

//! Step 02: a thread for each client.
//! New: a thread for each client, so that a client waits only for itself.
//! Look: `ls /proc/PID/task`
//! Breaks on: `crowd`: no fault, but a cost. 1,000 silent clients are 1,000 threads, with about 14 KiB each.
//! Believed: "threads are wrong"
//! Grown up: `README.md`, "What it costs"

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Serves each client in a thread of its own.
pub fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || echo(stream));
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

//! The standard library: one thread for each connection, with blocking calls. Once with the buffer that all servers of
//! this bench have, and once with `std::io::copy`, which uses splice(2) between two sockets on Linux.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::BUFFER;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    serve_with(&listener, echo)
}

pub(super) fn serve_copying(listener: TcpListener) -> io::Result<()> {
    serve_with(&listener, copy)
}

fn serve_with(listener: &TcpListener, echo: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            let _ = echo(stream);
        });
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

fn copy(stream: TcpStream) -> io::Result<()> {
    io::copy(&mut &stream, &mut &stream)?;
    Ok(())
}

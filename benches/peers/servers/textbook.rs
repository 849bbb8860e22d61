//! mio as its own examples use it: a connection reads until `WouldBlock`, and is registered for reading or for writing.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use super::BUFFER;

struct Client {
    stream: TcpStream,
    /// The pending write: bytes that the kernel did not accept yet.
    pending: Vec<u8>,
}

pub(super) fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: HashMap<Token, Client> = HashMap::new();
    let mut next = 1;
    let mut buffer = vec![0; BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Some(mut stream) = accept(&listener)? {
                    let token = Token(next);
                    next += 1;
                    poll.registry()
                        .register(&mut stream, token, Interest::READABLE)?;
                    let pending = Vec::new();
                    clients.insert(token, Client { stream, pending });
                }
            } else if let Some(client) = clients.get_mut(&event.token())
                && !client.handle(poll.registry(), event.token(), &mut buffer)
                && let Some(mut client) = clients.remove(&event.token())
            {
                poll.registry().deregister(&mut client.stream)?;
            }
        }
    }
}

/// Returns `None` if the backlog is empty.
fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// Handles an event. Returns false if the connection has ended.
    fn handle(&mut self, registry: &Registry, token: Token, buffer: &mut [u8]) -> bool {
        let was_pending = !self.pending.is_empty();
        let result = self.echo(buffer);
        let is_pending = !self.pending.is_empty();
        if was_pending != is_pending {
            let interest = match is_pending {
                true => Interest::WRITABLE,
                false => Interest::READABLE,
            };
            if registry
                .reregister(&mut self.stream, token, interest)
                .is_err()
            {
                return false;
            }
        }
        matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Reads and writes until a call would block (an error here), or until the end of the stream.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            while !self.pending.is_empty() {
                let n = self.stream.write(&self.pending)?;
                self.pending.drain(..n);
            }
            let n = self.stream.read(buffer)?;
            if n == 0 {
                return Ok(());
            }
            let mut written = 0;
            while written < n {
                match self.stream.write(&buffer[written..n]) {
                    Ok(taken) => written += taken,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.pending.extend_from_slice(&buffer[written..n]);
                        return Err(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

const LISTENER: Token = Token(0);

//! `mio-echo send`: the echo client of the tutorial page, for streams of any length.
//!
//! Two threads, one for each direction, so that neither waits for the other: a client that writes everything before
//! it reads deadlocks as soon as the kernel's buffers are full of its own echo. The event loop is not needed for one
//! connection, and standard input cannot be polled portably.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use clap::Args;
use mio_echo::{Address, Host, Port};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Failure;

/// Send a message, or standard input, to an echo server; print what comes back and check it
#[derive(Args, Debug)]
pub(super) struct SendArgs {
    /// Where to connect: HOST:PORT, [IPV6]:PORT, :PORT (this machine) or unix:PATH
    #[arg(default_value = "127.0.0.1:7007", value_parser = address)]
    address: Address,
    /// What to send [default: standard input, to its end]
    message: Option<String>,
}

/// The address, or what may have been meant by what is none.
fn address(text: &str) -> Result<Address, String> {
    text.parse()
        .map_err(|error| format!("{error} (the address comes before the message)"))
}

/// Sends and receives at the same time; fails if what came back is not what was sent.
pub(super) fn run(args: &SendArgs) -> Result<(), Failure> {
    let socket = Arc::new(connect(&args.address)?);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let message = args.message.clone();
    let sending = {
        let (socket, ledger) = (socket.clone(), ledger.clone());
        thread::spawn(move || match message {
            Some(message) => send(message.as_bytes(), &socket, &ledger),
            None => send(io::stdin().lock(), &socket, &ledger),
        })
    };
    let received = receive(&socket, &ledger)?;
    // The server has ended its stream. Standard input may not have, and then nobody waits for its thread.
    drop(sending);
    match (lock(&ledger).verdict(), received) {
        (Some(difference), _) => Err(difference.into()),
        (None, Err(error)) => Err(format!("the connection broke: {error}").into()),
        (None, Ok(())) => Ok(()),
    }
}

fn connect(address: &Address) -> Result<Socket, Failure> {
    let attempt = |to: &SockAddr, domain| {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect(to)?;
        Ok::<_, io::Error>(socket)
    };
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => " (is a server running there?)",
            ErrorKind::InvalidInput => " (name a path of at most 100 bytes)",
            _ => "",
        };
        Failure::Told(format!("cannot connect to {address}: {error}{hint}"))
    };
    let targets = match address {
        Address::Unix(path) => {
            let to = SockAddr::unix(path).map_err(failed)?;
            return attempt(&to, Domain::UNIX).map_err(failed);
        }
        Address::Tcp {
            port: Port::Auto, ..
        } => {
            return Err(format!(
                "cannot connect to {address}: name the port that the server listens on"
            )
            .into());
        }
        Address::Tcp {
            host: Host::Empty,
            port,
        } => Address::Tcp {
            host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: *port,
        }
        .resolve(),
        Address::Tcp { .. } => address.resolve(),
    };
    let mut last_error = None;
    let unresolved = |error| {
        Failure::Told(format!(
            "cannot connect to {address}: {error} (is the name spelled right?)"
        ))
    };
    for target in targets.map_err(unresolved)? {
        match attempt(&target.into(), Domain::for_address(target)) {
            Ok(socket) => {
                // A line typed is a line sent.
                socket.set_tcp_nodelay(true).map_err(failed)?;
                return Ok(socket);
            }
            Err(error) => last_error = Some(error),
        }
    }
    Err(failed(
        last_error.unwrap_or_else(|| ErrorKind::NotFound.into()),
    ))
}

/// Sends the input to its end. How that went is in the ledger; the connection's fate is the receiver's to tell.
fn send(mut input: impl Read, mut socket: &Socket, ledger: &Mutex<Ledger>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = match input.read(&mut buffer) {
            Ok(0) => {
                // Before the end is sent: the server's own may be here before the call returns.
                lock(ledger).finished = true;
                break;
            }
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                lock(ledger).input_error = Some(error);
                break;
            }
        };
        // Before it is sent: its echo may be back before the write returns.
        lock(ledger).sent(&buffer[..n]);
        if socket.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
}

/// The outer error is ours (nobody takes the output), the inner the connection's.
fn receive(mut socket: &Socket, ledger: &Mutex<Ledger>) -> Result<io::Result<()>, Failure> {
    let mut output = io::stdout().lock();
    let mut buffer = vec![0; CHUNK];
    let mut last = b'\n';
    let outcome = loop {
        match socket.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                lock(ledger).received(&buffer[..n]);
                print(&mut output, &buffer[..n])?;
                last = buffer[n - 1];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    if last != b'\n' && output.is_terminal() {
        print(&mut output, b"\n")?;
    }
    Ok(outcome)
}

fn print(output: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was sent and what came back, as checksums of blocks: gigabytes may be under way without filling memory, and
/// a difference is still found, to the block.
#[derive(Default)]
struct Ledger {
    sent: Blocks,
    received: Blocks,
    /// All that there was to send has been.
    finished: bool,
    /// Reading the input has failed.
    input_error: Option<io::Error>,
    /// The first block that differs.
    different: Option<u64>,
    /// Blocks compared.
    compared: u64,
}

/// One direction's stream, cut into blocks of [`BLOCK`] bytes.
#[derive(Default)]
struct Blocks {
    bytes: u64,
    current: crc32fast::Hasher,
    complete: VecDeque<u32>,
}

impl Blocks {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (BLOCK - self.bytes % BLOCK) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.current.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(BLOCK) {
                let complete = std::mem::take(&mut self.current).finalize();
                self.complete.push_back(complete);
            }
            bytes = later;
        }
    }
}

impl Ledger {
    fn sent(&mut self, bytes: &[u8]) {
        self.sent.add(bytes);
    }

    fn received(&mut self, bytes: &[u8]) {
        self.received.add(bytes);
        while let (Some(sent), Some(received)) =
            (self.sent.complete.front(), self.received.complete.front())
        {
            if sent != received && self.different.is_none() {
                self.different = Some(self.compared);
            }
            self.sent.complete.pop_front();
            self.received.complete.pop_front();
            self.compared += 1;
        }
    }

    /// What is wrong with the echo, if anything is. Asked at the end.
    fn verdict(&self) -> Option<String> {
        let (sent, received) = (self.sent.bytes, self.received.bytes);
        let last_block_differs = sent == received
            && self.sent.current.clone().finalize() != self.received.current.clone().finalize();
        let different = self
            .different
            .or(last_block_differs.then_some(self.compared));
        if let Some(block) = different {
            let (from, to) = (block * BLOCK, ((block + 1) * BLOCK).min(sent));
            return Some(format!(
                "the echo differs from what was sent, somewhere in the bytes from {from} to {to}"
            ));
        }
        if let Some(error) = &self.input_error {
            return Some(format!("cannot read standard input: {error}"));
        }
        if !self.finished {
            return Some(format!(
                "the server ended the connection before everything was sent: {sent} bytes were, and {received} came back"
            ));
        }
        if received < sent {
            return Some(format!(
                "{sent} bytes were sent and only {received} came back"
            ));
        }
        if received > sent {
            return Some(format!(
                "{sent} bytes were sent and {received} came back: more than were sent"
            ));
        }
        None
    }
}

/// How much is read, sent and received at once.
const CHUNK: usize = 64 * 1024;

/// How many bytes share a checksum.
const BLOCK: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(sent: &[u8], received: &[u8]) -> Option<String> {
        let mut ledger = Ledger {
            finished: true,
            ..Ledger::default()
        };
        sent.chunks(10_000).for_each(|chunk| ledger.sent(chunk));
        received
            .chunks(7_777)
            .for_each(|chunk| ledger.received(chunk));
        ledger.verdict()
    }

    #[test]
    fn an_exact_echo_is_right_whatever_its_length_and_its_cuts() {
        for length in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            assert_eq!(verdict(&bytes, &bytes), None, "{length} bytes");
        }
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let sent = vec![7; 200_000];
        let mut wrong = sent.clone();
        wrong[70_000] = 8;
        assert!(verdict(&sent, &wrong).unwrap().contains("65536 to 131072"));
        wrong = sent.clone();
        wrong[199_999] = 8;
        assert!(verdict(&sent, &wrong).unwrap().contains("196608 to 200000"));
        assert!(verdict(&sent, &sent[1..]).unwrap().contains("only 199999"));
        assert!(verdict(&sent[1..], &sent).unwrap().contains("more than"));
    }
}

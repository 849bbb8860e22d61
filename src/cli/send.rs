//! `mio-echo send`: the echo client of the tutorial page, for streams of any length.
//!
//! Two threads, one for each direction, so that neither waits for the other: a client that writes everything before
//! it reads deadlocks as soon as the kernel's buffers are full of its own echo. The event loop is not needed for one
//! connection, and standard input cannot be polled portably.

mod ledger;

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use clap::Args;
use mio_echo::{Address, Host, Port};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Failure;
use ledger::Ledger;

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

/// How much is read, sent and received at once.
const CHUNK: usize = 64 * 1024;

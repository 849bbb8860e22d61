//! `mio-echo send`: the echo client of the tutorial page that this project is based on, for streams of any length.
//!
//! Each direction has a thread, so that neither waits for the other. A client that writes everything before it reads
//! deadlocks as soon as the kernel's buffers are full of its own echo. One connection needs no event loop, and standard
//! input cannot be polled portably.
//!
//! This file connects, reads and writes. The [`comparison`] compares both directions and decides the outcome.

mod comparison;

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use mio_echo::{Address, Host, Port};
use socket2::{Domain, SockAddr, Socket, Type};

use super::failure::Failure;
use super::values::{self, OrOff};
use comparison::{Comparison, End, LAST_WAIT, Patience};

/// Send a message or standard input to an echo server, print the echo, and compare it with what was sent
#[derive(Args, Debug)]
#[command(after_help = ENDS)]
pub(super) struct SendArgs {
    /// Where to connect: HOST:PORT, [IPV6]:PORT, :PORT (this machine) or unix:PATH
    #[arg(default_value = "127.0.0.1:7007", value_parser = address)]
    address: Address,
    /// The message to send [default: standard input, to its end]
    message: Option<String>,
    /// Give up after this time; at least 1ms, or off. It is the longest time for connecting. It is also the longest
    /// time in which an answer is due and no byte moves in either direction. An answer is due while a sent byte has not
    /// come back, or when the input has ended
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "10s"
    )]
    #[arg(value_parser = values::timeout)]
    timeout: OrOff,
}

/// Parses the address. The error mentions the order of the arguments, because the user may have put the message first.
fn address(text: &str) -> Result<Address, String> {
    values::address(text).map_err(|error| format!("{error} (the address comes before the message)"))
}

/// Sends and receives at the same time.
///
/// # Errors
/// The connection fails, or the echo differs from what was sent.
pub(super) fn run(args: &SendArgs) -> Result<(), Failure> {
    let timeout = args.timeout.0;
    let socket = connect(&args.address, timeout)?;
    // After half the timeout, a blocked write returns the number of bytes accepted so far (SO_SNDTIMEO, socket(7)). The
    // receiving thread then knows in time that bytes still move.
    socket.set_write_timeout(timeout.map(|timeout| timeout / 2))?;
    let message = args.message.clone();
    let comparison = match &message {
        Some(message) => Comparison::of_message(message.as_bytes(), Instant::now()),
        None => Comparison::new(Instant::now()),
    };
    let session = Arc::new(Session {
        socket,
        comparison: Mutex::new(comparison),
        sending_changed: Condvar::new(),
    });
    // The thread is not joined, because standard input may never end.
    let sending = session.clone();
    thread::spawn(move || match message {
        Some(message) => sending.send_message(message.as_bytes()),
        None => sending.send_input(io::stdin().lock()),
    });
    let end = session.receive(timeout)?;
    match session.wait_for_the_outcome(&end).judge(&end) {
        Ok(None) => Ok(()),
        Ok(Some(remark)) => {
            // The echo is complete, even if standard error is closed.
            let _ = writeln!(io::stderr(), "mio-echo: {remark}");
            Ok(())
        }
        Err(why) => Err(Failure::Message(why)),
    }
}

/// A connection, with the state that both threads share.
struct Session {
    socket: Socket,
    comparison: Mutex<Comparison>,
    /// Notified when the sending thread begins or ends its system calls on the socket.
    sending_changed: Condvar,
}

impl Session {
    /// Sends the message, which the comparison already has, and then our end of stream.
    fn send_message(&self, message: &[u8]) {
        match self.write(message) {
            Ok(()) => self.end_stream(Ok(())),
            Err(error) => self.change(|comparison| comparison.fail(error)),
        }
    }

    /// Sends the input to its end, and then our end of stream.
    fn send_input(&self, mut input: impl Read) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => {
                    self.change(Comparison::end_input);
                    return self.end_stream(Ok(()));
                }
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.end_stream(Err(error)),
            };
            self.change(|comparison| comparison.announce(&buffer[..n], Instant::now()));
            match self.write(&buffer[..n]) {
                Ok(()) => self.change(Comparison::wait_for_input),
                Err(error) => return self.change(|comparison| comparison.fail(error)),
            }
        }
    }

    /// Writes all of these bytes, however long the server takes: the receiving thread decides when to give up.
    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.socket).write(bytes) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    self.lock().moved(Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted || waited(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends our stream. `input` is the result of reading the input.
    fn end_stream(&self, input: io::Result<()>) {
        // ENOTCONN means that the connection is broken. The receiving thread gets the cause.
        let _ = self.socket.shutdown(Shutdown::Write);
        self.change(|comparison| comparison.end(input, Instant::now()));
    }

    /// Prints and compares the bytes that come back, until the stream ends or [`Patience`] ends the wait.
    fn receive(&self, timeout: Option<Duration>) -> Result<End, Failure> {
        let mut output = io::stdout().lock();
        let mut buffer = vec![0; CHUNK];
        let mut last = b'\n';
        let mut read_timeout = None;
        let mut patience = self.lock().patience(Instant::now(), timeout);
        let end = loop {
            let wait = match patience {
                Patience::Wait(wait) => wait,
                Patience::StillOpen => break End::StillOpen,
                Patience::TimedOut(timeout) => break End::TimedOut(timeout),
            };
            if wait != read_timeout {
                // A time below a microsecond would become 0, which means no limit (SO_RCVTIMEO, socket(7)).
                let wait = wait.map(|wait| wait.max(Duration::from_millis(1)));
                self.socket.set_read_timeout(wait)?;
                read_timeout = wait;
            }
            match (&self.socket).read(&mut buffer) {
                Ok(0) => break End::OfStream,
                Ok(n) => {
                    let bytes = &buffer[..n];
                    last = bytes[n - 1];
                    print(&mut output, bytes)?;
                    // The clock is read after printing, so that a slow reader of our output does not use up the timeout
                    // of the server.
                    let now = Instant::now();
                    let mut comparison = self.lock();
                    if let Err(why) = comparison.receive(bytes, now) {
                        break End::Wrong(why);
                    }
                    patience = comparison.patience(now, timeout);
                }
                // The deadline is checked only after a read that found no bytes. A process that was stopped (SIGSTOP)
                // may continue after its deadline with the answer in the receive queue.
                Err(error) if waited(&error) => {
                    patience = self.lock().patience(Instant::now(), timeout);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break End::Broken(error),
            }
        };
        if last != b'\n' && output.is_terminal() {
            print(&mut output, b"\n")?;
        }
        Ok(end)
    }

    /// Waits until the sending thread cannot change the outcome any more, at most for [`LAST_WAIT`].
    ///
    /// shutdown(2) ends a blocked write, and the result of that write tells a reset from an end of stream. A read of an
    /// input that is at its end returns at once. An input without a byte for [`LAST_WAIT`] counts as one that has not
    /// ended.
    fn wait_for_the_outcome(&self, end: &End) -> MutexGuard<'_, Comparison> {
        if !matches!(end, End::OfStream | End::Broken(_)) {
            return self.lock();
        }
        let _ = self.socket.shutdown(Shutdown::Both);
        let waited =
            self.sending_changed
                .wait_timeout_while(self.lock(), LAST_WAIT, |comparison| comparison.may_change());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Changes the comparison on the sending thread and notifies the receiving thread.
    fn change(&self, change: impl FnOnce(&mut Comparison)) {
        change(&mut self.lock());
        self.sending_changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Comparison> {
        self.comparison
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a call returned because of SO_RCVTIMEO or SO_SNDTIMEO: `EAGAIN` (socket(7)), `WSAETIMEDOUT` on Windows. On
/// Unix, `ETIMEDOUT` means that the connection has failed (tcp(7)).
fn waited(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || cfg!(windows) && error.kind() == ErrorKind::TimedOut
}

/// Connects, at most for `timeout`. Tries each address of a hostname in turn.
fn connect(address: &Address, timeout: Option<Duration>) -> Result<Socket, Failure> {
    let start = Instant::now();
    let failed = |error: io::Error| {
        // After SO_SNDTIMEO, connect(2) fails with EAGAIN. After its timeout, socket2 fails with `TimedOut` without an
        // error number. The kernel's ETIMEDOUT has a number: the kernel's own limit was shorter than ours.
        let gave_up = error.kind() == ErrorKind::WouldBlock
            || error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none();
        if let (true, Some(timeout)) = (gave_up, timeout) {
            return Failure::Message(format!(
                "cannot connect to {address}: no answer within {} (--timeout)",
                humantime::format_duration(timeout)
            ));
        }
        let hint = match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => " (is a server running there?)",
            ErrorKind::InvalidInput => " (name a path of at most 100 bytes)",
            _ => "",
        };
        Failure::Message(format!("cannot connect to {address}: {error}{hint}"))
    };
    let targets = match address {
        Address::Unix(path) => {
            let to = SockAddr::unix(path).map_err(failed)?;
            return attempt(&to, Domain::UNIX, timeout).map_err(failed);
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
        Failure::Message(format!(
            "cannot connect to {address}: {error} (is the name spelled right?)"
        ))
    };
    let targets = targets.map_err(unresolved)?;
    for (n, target) in targets.iter().enumerate() {
        // Each address gets an equal share of the remaining time, so one without an answer does not use up all of it.
        let rest = (targets.len() - n) as u32;
        let share = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()) / rest);
        match attempt(&(*target).into(), Domain::for_address(*target), share) {
            Ok(socket) => {
                // Each line that the user types is sent at once.
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

/// Connects to one address.
fn attempt(to: &SockAddr, domain: Domain, timeout: Option<Duration>) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    match timeout {
        // If the backlog of a Unix-domain socket is full, connect(2) waits for space, at most for SO_SNDTIMEO
        // (socket(7)). On a nonblocking socket it fails with EAGAIN instead (connect(2)), and no event reports space.
        Some(timeout) if domain == Domain::UNIX => {
            socket.set_write_timeout(Some(timeout))?;
            socket.connect(to)?;
        }
        Some(timeout) => socket.connect_timeout(to, timeout)?,
        None => socket.connect(to)?,
    }
    Ok(socket)
}

/// Prints bytes and flushes the output, so that each echo is visible at once.
fn print(output: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
    }
}

/// Size of one read, send or receive, in bytes.
const CHUNK: usize = 64 * 1024;

const ENDS: &str = "\
Exit codes: 0 if every byte came back, and no surplus byte. 1 for a wrong or surplus byte, for a reset or an end of \
stream before every byte is back, for a timeout, and for every other failure. 2 for a usage error. 141 if the reader \
of standard output has gone. When every byte is back, the server has one second to end its stream. If it does not, or \
if it resets the connection, a line on standard error says so, and the exit code is still 0.";

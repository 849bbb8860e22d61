//! Code that the tests share: servers in this process and in processes of their own, clients, and waiting for a state.
//!
//! Every client has a time limit, so that a hang fails its test with a message. A test does not sleep and hope for a
//! state: it checks until the state is there. After the time limit it fails with the state that it found instead.

#![allow(
    dead_code,
    reason = "each test crate includes this module and uses its own part"
)]

pub(crate) mod benched;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio_echo::{Config, Handle, RunningServer, Server, Stats};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use socket2::{Domain, SockRef, Socket, Type};

/// The time limit of every step. It is far longer than any step takes on a busy machine, so exceeding it means a hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A server that is bound in this process and does not run yet: clients can connect, and wait in the backlog.
pub(crate) struct Bound {
    server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
}

impl Bound {
    pub(crate) fn new(config: &Config) -> Bound {
        let server = Server::bind(config).unwrap();
        Bound {
            address: server.local_addr().unwrap(),
            handle: server.handle(),
            server,
        }
    }

    /// Starts the server's thread.
    pub(crate) fn run(self) -> Embedded {
        Embedded {
            address: self.address,
            handle: self.handle,
            server: self.server.start().unwrap(),
        }
    }
}

/// A server that runs on a thread of this process, and its address.
pub(crate) struct Embedded {
    server: RunningServer,
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
}

/// Returns a configuration for tests: a port that the system chooses, and a drain timeout of 2 s.
pub(crate) fn config() -> Config {
    Config {
        addresses: vec!["127.0.0.1:auto".parse().unwrap()],
        drain_timeout: Duration::from_secs(2),
        ..Config::default()
    }
}

impl Embedded {
    pub(crate) fn start() -> Embedded {
        Embedded::with(&config())
    }

    pub(crate) fn with(config: &Config) -> Embedded {
        Bound::new(config).run()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// Waits until the statistics are as `wanted`, and returns them. `what` names that state in the message of a
    /// failure.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, wanted: impl FnMut(&Stats) -> bool) -> Stats {
        self.server.wait_for(LIMIT, wanted).unwrap_or_else(|stats| {
            panic!("waited {LIMIT:?} for {what}; the statistics are {stats}")
        })
    }

    /// Shuts the server down and returns its final statistics. Fails if its event loop panicked or returned an error.
    pub(crate) fn stop(self) -> Stats {
        self.server.stop().unwrap()
    }
}

/// A process that runs `mio-echo`. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Its standard error so far.
    pub(crate) stderr: Arc<Mutex<String>>,
    /// The thread that reads its standard error.
    collector: Option<JoinHandle<()>>,
    /// The addresses that it printed at its start.
    pub(crate) addresses: Vec<String>,
}

/// The end of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The rest of its standard output.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the command `mio-echo` without arguments.
pub(crate) fn mio_echo() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mio-echo"))
}

impl Process {
    /// Starts `mio-echo serve` with these arguments, on a port that the system chooses.
    pub(crate) fn serve(args: &[&str]) -> Process {
        let mut command = mio_echo();
        command.arg("serve").arg("127.0.0.1:auto").args(args);
        Process::start(command, 1)
    }

    /// Starts a command, and reads the `listening on` lines of this number of addresses.
    pub(crate) fn start(command: Command, addresses: usize) -> Process {
        Process::start_with_errors_to(Stdio::piped(), command, addresses)
    }

    /// The same with `errors` as standard error. [`Process::stderr`] has its text only if `errors` is `Stdio::piped()`.
    pub(crate) fn start_with_errors_to(
        errors: impl Into<Stdio>,
        mut command: Command,
        addresses: usize,
    ) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let collector = child.stderr.take().map(|errors| {
            let (mut errors, collected) = (BufReader::new(errors), stderr.clone());
            thread::spawn(move || {
                let mut line = Vec::new();
                while errors.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                    let text = String::from_utf8_lossy(&line);
                    collected.lock().unwrap().push_str(&text);
                    line.clear();
                }
            })
        });
        let mut process = Process {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            stderr,
            collector,
            addresses: Vec::new(),
        };
        for _ in 0..addresses {
            let mut line = String::new();
            process.stdout.read_line(&mut line).unwrap();
            let Some(address) = line.strip_prefix("listening on ") else {
                panic!(
                    "the first line is {line:?}; standard error: {}",
                    process.stderr()
                );
            };
            process.addresses.push(address.trim_end().to_owned());
        }
        process
    }

    /// Reads the next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Returns its first address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0].parse().unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Returns its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until its standard error contains this text, and returns all of its standard error so far.
    #[track_caller]
    pub(crate) fn until_it_says(&self, text: &str) -> String {
        eventually(text, || {
            let said = self.stderr();
            if said.contains(text) {
                Ok(said)
            } else {
                Err(said)
            }
        })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended.
    pub(crate) fn wait(mut self) -> Ended {
        let status = eventually("the process to end", || {
            self.child.try_wait().unwrap().ok_or("it is running")
        });
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        // Reads to the end of the pipe: the last lines may still be in it when the process has ended.
        if let Some(collector) = self.collector.take() {
            collector.join().unwrap();
        }
        Ended {
            status,
            stdout,
            stderr: self.stderr(),
        }
    }

    /// Sends SIGTERM, waits until it has ended, and returns the statistics that `--json` printed.
    pub(crate) fn stop_and_count(self) -> serde_json::Value {
        self.signal(Signal::TERM);
        self.counts()
    }

    /// Waits until it has ended with success, and returns the statistics that `--json` printed.
    pub(crate) fn counts(self) -> serde_json::Value {
        let ended = self.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        serde_json::from_str(ended.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
    }

    /// Reads a file of the process from `/proc`.
    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Returns its state as a letter of proc(5): `T` is stopped.
    pub(crate) fn state(&self) -> char {
        let stat = self.proc("stat");
        // The field before the state is the program's name in parentheses. The name may contain any character.
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.chars().next().unwrap()
    }

    /// Returns the number of its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        self.open_descriptors().len()
    }

    fn open_descriptors(&self) -> BTreeSet<usize> {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect()
    }

    /// Returns its resident memory in bytes, without pages of the program's file: the kernel loads those when they are
    /// first used.
    pub(crate) fn resident(&self) -> u64 {
        let status = self.proc("status");
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Returns the processor time that its main thread has used.
    pub(crate) fn cpu(&self) -> Duration {
        let schedstat = self.proc("schedstat");
        let ns = schedstat.split_whitespace().next().unwrap();
        Duration::from_nanos(ns.parse().unwrap())
    }

    /// Sets its limit so that it can open exactly this number of further descriptors.
    pub(crate) fn leave_room_for(&self, descriptors: usize) {
        // A new descriptor gets the lowest free number (open(2)), and the limit is on the numbers. An inherited
        // descriptor may have a high number, so the count of open descriptors is not enough.
        let open = self.open_descriptors();
        let limit = (0..)
            .filter(|n| !open.contains(n))
            .nth(descriptors)
            .unwrap();
        let limit = Rlimit {
            current: Some(limit as u64),
            maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
        };
        rustix::process::prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL also ends a stopped process. If the process has ended already, only the wait has an effect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls `look` every millisecond until it returns `Ok`. Fails after [`LIMIT`], with its last error.
#[track_caller]
pub(crate) fn eventually<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(
                start.elapsed() < LIMIT,
                "waited {LIMIT:?} for {what}; found instead: {instead:?}"
            ),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Connects a client whose reads and writes fail after [`LIMIT`].
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    stream.set_nodelay(true).unwrap();
    limit(&stream);
    stream
}

/// Connects a client with a receive buffer of a few KiB, which a small echo fills.
pub(crate) fn connect_narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before connect(2): later the client's kernel has already announced a larger receive window.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    limit(&stream);
    stream
}

/// Sets the time limit of reads and writes.
fn limit(stream: &TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
}

/// Resets the connection: a linger time of 0 makes close(2) send RST (socket(7)).
pub(crate) fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Sends a message and waits for its echo.
#[track_caller]
pub(crate) fn ping(mut stream: &TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut echo = vec![0; message.len()];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(
        echo.escape_ascii().to_string(),
        message.escape_ascii().to_string()
    );
}

/// Returns pseudo-random bytes, so that missing, repeated or swapped bytes are found.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

/// Fails if the echo differs, with the first offset that differs instead of megabytes of both.
#[track_caller]
pub(crate) fn assert_same(echo: &[u8], sent: &[u8]) {
    let same = echo.iter().zip(sent).take_while(|(a, b)| a == b).count();
    assert!(
        echo.len() == sent.len() && same == sent.len(),
        "{} bytes came back of {} sent; the first {same} are correct",
        echo.len(),
        sent.len()
    );
}

/// Sends all bytes on another thread, then shuts down writing.
pub(crate) fn send_and_finish(stream: &TcpStream, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    thread::spawn(move || {
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    })
}

/// Writes until the kernel has accepted no byte for `still`, and returns how many bytes it accepted.
pub(crate) fn send_until_stopped(mut stream: &TcpStream, bytes: &[u8], still: Duration) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut last = Instant::now();
    while sent < bytes.len() && last.elapsed() < still {
        match stream.write(&bytes[sent..]) {
            Ok(n) => {
                sent += n;
                last = Instant::now();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// One end of a TCP connection in the kernel's table (proc(5), `/proc/net/tcp`).
#[derive(Debug)]
pub(crate) struct KernelSocket {
    /// The state in hexadecimal, as in `include/net/tcp_states.h`: 0A is LISTEN.
    pub(crate) state: String,
    /// Bytes that the other end's kernel has not acknowledged.
    pub(crate) send_queue: usize,
    /// Received bytes that the process has not read.
    pub(crate) receive_queue: usize,
}

/// Returns the connections of 127.0.0.1 with this local port, also those that no process has open any more. Listeners
/// and connections in TIME_WAIT are left out: they hold no bytes.
pub(crate) fn kernel_sockets(local_port: u16) -> Vec<KernelSocket> {
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    let local = format!("0100007F:{local_port:04X}");
    let length = |hex| usize::from_str_radix(hex, 16).unwrap();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        if fields.next() != Some(&local) {
            return None;
        }
        let state = fields.nth(1).unwrap();
        let (send_queue, receive_queue) = fields.next().unwrap().split_once(':').unwrap();
        (state != LISTEN && state != TIME_WAIT).then(|| KernelSocket {
            state: state.to_owned(),
            send_queue: length(send_queue),
            receive_queue: length(receive_queue),
        })
    });
    sockets.collect()
}

/// Reads until the end of the stream, and returns all bytes.
#[track_caller]
pub(crate) fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

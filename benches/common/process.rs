//! A server in a process of its own, and its costs as the kernel reports them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::time::ClockId;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A server in a process of its own, on a core without the load generator. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a program that prints `listening on ADDRESS` as its first line.
    ///
    /// # Errors
    /// If the program cannot be started or prints another line.
    pub(crate) fn start(command: &mut Command) -> io::Result<Server> {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Server::spawn(command, SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let mut line = String::new();
        if let Some(output) = &mut server.child.stdout {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.trim_end().trim_start_matches("listening on ");
        server.address = address.parse().map_err(|_| {
            io::Error::other(format!(
                "{command:?} must print its address, and printed {line:?}"
            ))
        })?;
        Ok(server)
    }

    /// Starts any program. It must listen on the port that replaces `{port}` in its command.
    ///
    /// # Errors
    /// If the program ends, or does not listen within [`TO_LISTEN`]: with the last line of its standard error.
    pub(crate) fn start_command(command: &str) -> io::Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let command = command.replace("{port}", &port.to_string());
        let mut errors = tempfile::tempfile()?;
        let mut shell = Command::new("sh");
        // With `exec` the shell's process becomes the program: its costs are looked up by this process id.
        shell
            .args(["-c", &format!("exec {command}")])
            .stdout(Stdio::null())
            .stderr(errors.try_clone()?);
        let mut server = Server::spawn(&mut shell, address)?;
        let start = Instant::now();
        while let Err(error) = TcpStream::connect(address) {
            let ended = server.child.try_wait()?;
            if ended.is_none() && start.elapsed() < TO_LISTEN {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let mut said = String::new();
            errors.rewind()?;
            errors.read_to_string(&mut said)?;
            let said = said.trim().lines().last().unwrap_or_default();
            let what = match ended {
                Some(status) => format!("{status}"),
                None => format!("no program listens on {address}: {error}"),
            };
            return Err(io::Error::other(format!("{command}: {what} {said}")));
        }
        Ok(server)
    }

    /// Starts the process in a process group of its own, so that its child processes end with it. It is on its core
    /// from its first instruction, so that all its threads inherit that core.
    fn spawn(command: &mut Command, address: SocketAddr) -> io::Result<Server> {
        let here = sched_getaffinity(None)?;
        pin(None, SERVER_CORE);
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        let _ = sched_setaffinity(None, &here);
        let child = child?;
        running().push(Pid::from_child(&child));
        Ok(Server { child, address })
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the processor time of all its threads, including threads that have ended.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        Ok(Duration::from(ClockId::pid_cpu_clock_id(pid)?.now()?))
    }

    /// Returns how long its main thread was ready to run and waited in the kernel's run queue while its core ran other
    /// threads.
    pub(crate) fn waited(&self) -> io::Result<Duration> {
        let schedstat = self.proc("schedstat")?;
        let nanoseconds = schedstat.split_whitespace().nth(1);
        nanoseconds
            .and_then(|nanoseconds| nanoseconds.parse().ok())
            .map(Duration::from_nanos)
            .ok_or_else(|| io::Error::other(schedstat))
    }

    /// Reads a file of the process from `/proc`.
    fn proc(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Returns its resident memory in bytes, without pages of the program's file: the kernel loads those when they are
    /// first used.
    pub(crate) fn resident(&self) -> io::Result<i64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib: Option<i64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other(status))
    }

    /// Returns the number of its open descriptors.
    pub(crate) fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Waits until it has at most this many descriptors open.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`].
    pub(crate) fn wait_for_descriptors(&self, most: usize) -> io::Result<()> {
        let start = Instant::now();
        while self.descriptors()? > most {
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(
                    "the server has not closed the descriptors of clients that have disconnected",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Sends SIGTERM, and waits until the process has ended.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Like [`Server::stop`]; returns the last line of its standard output.
    pub(crate) fn stop_and_read(mut self) -> io::Result<String> {
        let output = self.child.stdout.take();
        let mut printed = String::new();
        self.stop()?;
        if let Some(mut output) = output {
            output.read_to_string(&mut printed)?;
        }
        Ok(printed.lines().last().unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        running().retain(|other| *other != group);
    }
}

/// The process groups of the running servers.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the servers when SIGINT or SIGTERM ends the bench: Ctrl-C in a terminal does not reach other process groups.
pub(crate) fn end_servers_on_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for group in running().iter() {
                let _ = kill_process_group(*group, Signal::KILL);
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Connects all clients, then sends a byte on each and waits for all echoes.
pub(crate) fn connect_clients(address: SocketAddr, clients: usize) -> io::Result<Vec<TcpStream>> {
    let clients: Vec<_> = (0..clients)
        .map(|_| TcpStream::connect(address))
        .collect::<io::Result<_>>()?;
    for mut client in &clients {
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(b"!")?;
    }
    for mut client in &clients {
        client.read_exact(&mut [0])?;
    }
    Ok(clients)
}

/// Pins a process (`None`: this one) to the core with this index among the allowed ones. Returns false if that fails.
pub(crate) fn pin(process: Option<Pid>, core: usize) -> bool {
    let Some(core) = allowed().get(core).copied() else {
        return false;
    };
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(process, &cores).is_ok()
}

/// Pins this process to [`LOAD_CORE`]. Returns false if only one core is allowed.
pub(crate) fn pin_load() -> bool {
    has_two_cores() && pin(None, LOAD_CORE)
}

/// Returns true if the server and the load generator can each have a core.
pub(crate) fn has_two_cores() -> bool {
    allowed().len() > 1
}

/// Returns the cores that this process was allowed to use at the first call, before it was pinned.
fn allowed() -> &'static [usize] {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    ALLOWED.get_or_init(|| {
        let here = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU)
            .filter(|core| here.is_set(*core))
            .collect()
    })
}

/// The servers' core: an index for [`pin`].
pub(crate) const SERVER_CORE: usize = 0;
/// The load generator's core: an index for [`pin`].
pub(crate) const LOAD_CORE: usize = 1;

/// Time limit for steps that are not measured, such as connecting.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time limit for a program to start to listen.
const TO_LISTEN: Duration = Duration::from_secs(5);

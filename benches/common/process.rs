//! A server in a process of its own, and what the kernel says of it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::ClockId;
use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_setaffinity};

/// A server in a process of its own, on the core that the load is not on. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A program that says `listening on ADDRESS`.
    pub(crate) fn start(command: &mut Command) -> io::Result<Server> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        pin(Some(Pid::from_child(&child)), SERVER_CORE);
        let mut line = String::new();
        if let Some(output) = &mut child.stdout {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.trim_end().trim_start_matches("listening on ");
        let address = address
            .parse()
            .map_err(|_| io::Error::other(format!("{command:?} said {line:?}")))?;
        Ok(Server { child, address })
    }

    /// Any program that listens on the port that takes the place of `{port}` in its command.
    pub(crate) fn start_command(command: &str) -> io::Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        // `exec`, so that the shell's process becomes the program's: its costs are looked up by this number.
        let shell = format!("exec {}", command.replace("{port}", &port.to_string()));
        let child = Command::new("sh")
            .args(["-c", &shell])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        pin(Some(Pid::from_child(&child)), SERVER_CORE);
        let mut server = Server { child, address };
        let start = Instant::now();
        while let Err(error) = TcpStream::connect(address) {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("{command}: {status}")));
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "{command}: nobody listens on {address}: {error}"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time of all its threads, those that have ended among them.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        Ok(Duration::from(ClockId::pid_cpu_clock_id(pid)?.now()?))
    }

    fn proc(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Its resident memory, in bytes, without the program's own file: that is read page by page as it is first used.
    pub(crate) fn resident(&self) -> io::Result<i64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib: Option<i64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other(status))
    }

    pub(crate) fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    pub(crate) fn wait_for_descriptors(&self, most: usize) -> io::Result<()> {
        let start = Instant::now();
        while self.descriptors()? > most {
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(
                    "the server keeps descriptors of clients that have gone",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects all of them before the first is served, then has each of them served.
pub(crate) fn crowd(address: SocketAddr, clients: usize) -> io::Result<Vec<TcpStream>> {
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

/// Pins a process, or this one, to a core. Where there is only one, nothing is pinned.
pub(crate) fn pin(process: Option<Pid>, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(process, &cores);
}

pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(30);

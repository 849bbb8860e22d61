//! Starts the server under test by its command, and ends it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::endpoint::Endpoint;
use crate::outcome::Problem;
use crate::process::Process;
use crate::queues;
use crate::words::{Text, text};

/// A command that starts a server. `{address}` in its arguments is replaced by the address to listen on, and `{host}`
/// and `{port}` by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    words: Vec<String>,
    /// The file that gets what the server prints.
    log: Option<PathBuf>,
}

impl Launcher {
    /// Takes a program and its arguments.
    ///
    /// # Errors
    /// A message for the user: there is no program, or the server is not told its address.
    pub fn new(words: Vec<String>) -> Result<Launcher, String> {
        let Some((_, arguments)) = words.split_first() else {
            return Err("the command is empty".to_owned());
        };
        let tells = |word: &String| word.contains("{address}") || word.contains("{port}");
        if !arguments.iter().any(tells) {
            let unknown = words.iter().find_map(|word| {
                let name = word.get(word.find('{')?..)?;
                name.get(..=name.find('}')?)
            });
            let why = match unknown {
                Some(name) if words.len() > 1 => format!("{name} is not known"),
                _ if words.len() == 1 && words[0].contains(' ') => {
                    "the whole command is one word".to_owned()
                }
                _ => "the command does not tell the server its address".to_owned(),
            };
            return Err(format!(
                "{why}: write {{address}}, or {{host}} and {{port}}, as an argument where the address belongs"
            ));
        }
        Ok(Launcher { words, log: None })
    }

    /// Appends what the server prints to a file: its standard output and its standard error.
    #[must_use]
    pub fn with_log(self, file: PathBuf) -> Launcher {
        Launcher {
            log: Some(file),
            ..self
        }
    }

    /// Opens the file that gets what the server prints.
    fn open_log(&self) -> io::Result<Option<File>> {
        let open = |path| File::options().create(true).append(true).open(path);
        self.log.as_ref().map(open).transpose()
    }

    /// Starts the server on a free port, and waits until it listens.
    pub(crate) fn start(&self, interrupted: &AtomicBool) -> Result<Started, Problem> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        self.start_on(free, Stderr::Kept, interrupted)
    }

    /// Starts the server on an address, and waits until it listens.
    pub(crate) fn start_on(
        &self,
        address: SocketAddr,
        stderr: Stderr,
        interrupted: &AtomicBool,
    ) -> Result<Started, Problem> {
        let mut command = self.command(address);
        let log = self.open_log()?;
        let output = match &log {
            Some(file) => file.try_clone()?.into(),
            None => Stdio::null(),
        };
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C of the terminal goes to the tester, which ends the server in order.
            .process_group(0);
        let mut child = command.spawn().map_err(|error| {
            let program = &self.words[0];
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Problem::Failed(text!(
                    "{program} cannot be started: {error} (a script needs its interpreter before it, or chmod +x)",
                    "{program} を起動できない: {error} (スクリプトには前にインタープリターを書くか、chmod +x が必要)"
                ));
            }
            Problem::Failed(text!(
                "{program} cannot be started: {error}",
                "{program} を起動できない: {error}"
            ))
        })?;
        let said = Arc::default();
        let pipe = child.stderr.take();
        let pipe = match (stderr, pipe) {
            (Stderr::Kept, Some(pipe)) => {
                keep(pipe, Arc::clone(&said), log);
                None
            }
            (_, pipe) => {
                // A small pipe is full sooner. The kernel takes at least a page.
                #[cfg(target_os = "linux")]
                if let Some(pipe) = &pipe {
                    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1);
                }
                pipe
            }
        };
        let mut started = Started {
            child,
            address,
            said,
            unread: pipe,
        };
        started.wait_until_it_listens(interrupted)?;
        Ok(started)
    }

    /// Starts the server on a free port of 127.0.0.1, and waits until it listens: at most ten seconds, or until
    /// `interrupted` is set. Its standard output is discarded.
    ///
    /// # Errors
    /// The reason why it does not listen, as a sentence for the user.
    pub fn launch(&self, interrupted: &AtomicBool) -> Result<Started, String> {
        self.start(interrupted).map_err(|problem| match problem {
            Problem::Interrupted => "interrupted before the server listened".to_owned(),
            Problem::Failed(why) | Problem::Inconclusive(why) | Problem::Skipped(why) => {
                why.of(crate::words::Language::English).to_owned()
            }
        })
    }

    fn command(&self, address: SocketAddr) -> Command {
        let fill = |word: &String| {
            word.replace("{address}", &address.to_string())
                .replace("{host}", &address.ip().to_string())
                .replace("{port}", &address.port().to_string())
        };
        let mut words = self.words.iter().map(fill);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

/// What happens with the standard error of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// Its last lines are kept.
    Kept,
    /// It is a pipe that is never read.
    Unread,
}

/// A server that the tester has started. Dropping it ends the server.
#[derive(Debug)]
pub struct Started {
    child: Child,
    address: SocketAddr,
    /// The last bytes of its standard error.
    said: Arc<Mutex<Vec<u8>>>,
    /// The pipe of its standard error, if nothing reads it.
    unread: Option<ChildStderr>,
}

impl Started {
    /// Returns the address that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp(self.address)
    }

    /// Returns its process; `None` if it has been waited for, or if there is no proc(5).
    pub(crate) fn process(&self) -> Option<Process> {
        Process::new(self.child.id())
    }

    /// Whether its standard error is a pipe that nothing reads.
    pub(crate) fn has_unread_stderr(&self) -> bool {
        self.unread.is_some()
    }

    /// Waits at most `limit` until the process has ended. Returns how it ended; `None` if it still runs.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<Ended>, Problem> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(Ended {
                    code: status.code(),
                }));
            }
            if Instant::now() > until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGTERM to the server, waits at most 1 s, and sends SIGKILL to its process group.
    fn end(&mut self) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        if matches!(self.child.try_wait(), Ok(None)) {
            // A stopped process handles SIGTERM when it continues.
            let _ = kill_process_group(pid, Signal::CONT);
            let _ = kill_process(pid, Signal::TERM);
            let _ = self.wait(Duration::from_secs(1));
        }
        // Children of the server may still run. The group's id is not used again while one of them does.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }

    /// Waits until the server listens. A test connection would use up the only one of a server that serves one client,
    /// so the kernel is asked instead (`/proc/net/tcp`).
    fn wait_until_it_listens(&mut self, interrupted: &AtomicBool) -> Result<(), Problem> {
        let until = Instant::now() + LONGEST_START;
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            match queues::is_listening(self.address.port()) {
                Some(true) => return Ok(()),
                Some(false) => {}
                None if std::net::TcpStream::connect(self.address).is_ok() => return Ok(()),
                None => {}
            }
            if let Some(status) = self.child.try_wait()? {
                let said = self.error_line();
                return Err(Problem::Failed(text!(
                    "the command ended ({status}) before it listened{said}",
                    "コマンドは待ち受けを始める前に終了した ({status}){said}"
                )));
            }
            if Instant::now() > until {
                let (seconds, address) = (LONGEST_START.as_secs(), self.address);
                return Err(Problem::Failed(text!(
                    "the command did not listen on {address} within {seconds} s",
                    "コマンドは {seconds} 秒以内に {address} で待ち受けを始めなかった"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the line of the standard error that most likely says what happened, after a colon.
    fn error_line(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        error_line(&text).map_or(String::new(), |line| format!(": {line}"))
    }

    /// Describes how the server ended: its exit status and what its standard error says.
    pub(crate) fn how_it_ended(&mut self) -> Option<Text> {
        let status = self.child.try_wait().ok()??;
        // The thread that reads the standard error may not have read its last line yet.
        std::thread::sleep(Duration::from_millis(20));
        let said = self.error_line();
        Some(text!(
            "the server ended ({status}){said}",
            "サーバーが終了した ({status}){said}"
        ))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the last line that names an error, or the last line. Runtimes write a stack or a version after the error,
/// and indent the lines of a stack.
fn error_line(text: &str) -> Option<&str> {
    let lines = || text.lines().rev();
    let names_an_error = |line: &&str| {
        let lower = line.to_lowercase();
        !line.starts_with(char::is_whitespace)
            && ["error", "panic"].iter().any(|word| lower.contains(word))
    };
    let line = lines().find(names_an_error);
    line.or_else(|| lines().find(|line| !line.trim().is_empty()))
        .map(str::trim)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
}

/// Reads a pipe to its end in a thread, keeps the last bytes, and copies all of them to the log.
fn keep(mut pipe: ChildStderr, said: Arc<Mutex<Vec<u8>>>, mut log: Option<File>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        loop {
            let n = match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if let Some(file) = &mut log {
                // A full disk loses the log, and the check goes on.
                let _ = file.write_all(&buffer[..n]);
            }
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(&buffer[..n]);
            let surplus = said.len().saturating_sub(KEPT);
            said.drain(..surplus);
        }
    });
}

/// How long a server may take until it listens.
const LONGEST_START: Duration = Duration::from_secs(10);

/// How many bytes of a server's standard error are kept.
const KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_names_the_error_is_found() {
        let node = "node:events:495\n      throw er;\n\nError: read ECONNRESET\n    at emitErrorNT (x.js:1)\n\n\
                    Node.js v20.19.2\n";
        let python = "Traceback (most recent call last):\n  File \"a.py\", line 3\nOSError: [Errno 98] in use\n";
        for (text, line) in [
            (node, Some("Error: read ECONNRESET")),
            (python, Some("OSError: [Errno 98] in use")),
            ("bye\n\n", Some("bye")),
            ("", None),
        ] {
            assert_eq!(error_line(text), line);
        }
    }
}

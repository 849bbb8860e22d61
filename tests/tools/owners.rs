//! Servers that start or end at the same time on one Unix-domain path: one server owns the path, the others fail with a
//! clear error. strace delays a server at a system call, so that another server runs between two of its calls.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::*;

/// A folder with a path on which several servers try to listen.
struct Contested {
    folder: TempDir,
    path: PathBuf,
}

impl Contested {
    fn new() -> Contested {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        Contested { folder, path }
    }

    /// Returns the path as an address for `mio-echo serve`.
    fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// Creates a stale socket file: no server listens on it.
    fn leave_a_stale_file(&self) {
        drop(UnixListener::bind(&self.path).unwrap());
    }

    /// Starts a server.
    fn start(&self) -> Contender {
        Contender::start(mio_echo(), &self.address())
    }

    /// Starts a server that strace delays for the given time when it enters one of these calls for the `when`th time.
    /// Returns it with the path of strace's log.
    fn start_delayed(
        &self,
        log: &str,
        calls: &[(&str, Duration)],
        when: usize,
    ) -> (Contender, PathBuf) {
        let log = self.folder.path().join(log);
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-o"]).arg(&log);
        command.args(["-e", "trace=/^(connect|unlink|bind|listen|flock)"]);
        for (call, delay) in calls {
            let us = delay.as_micros();
            // The name is a prefix: some architectures have only unlinkat(2).
            let inject = format!("inject=/^{call}:delay_enter={us}:when={when}");
            command.args(["-e", &inject]);
        }
        command.arg(env!("CARGO_BIN_EXE_mio-echo"));
        (Contender::start(command, &self.address()), log)
    }

    /// Returns the socket and lock files in the folder, sorted.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("echo.sock"))
            .collect();
        names.sort();
        names
    }
}

/// Waits until strace has written that the process entered this call for the `when`th time.
#[track_caller]
fn until_it_enters(call: &str, when: usize, log: &Path) {
    eventually(call, || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        match text.matches(&format!(" {call}")).count() {
            n if n >= when => Ok(()),
            _ => Err(text),
        }
    });
}

/// A server that tries to own the path.
struct Contender {
    child: Child,
}

/// The result of a start.
#[derive(Debug)]
enum Outcome {
    /// The server owns the path.
    Listens,
    /// The server has ended, with this exit code and standard error.
    Ended { code: Option<i32>, said: String },
}

impl Contender {
    fn start(mut command: Command, address: &str) -> Contender {
        let child = command
            .args(["serve", "-q", "--json", address])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Contender { child }
    }

    /// Waits until it listens or has ended.
    fn outcome(&mut self) -> Outcome {
        let mut line = Vec::new();
        let mut stdout = BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap());
        stdout.read_until(b'\n', &mut line).unwrap();
        if line.starts_with(b"listening on unix:") {
            return Outcome::Listens;
        }
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let code = self.child.wait().unwrap().code();
        Outcome::Ended { code, said }
    }

    #[track_caller]
    fn must_listen(&mut self) {
        let outcome = self.outcome();
        assert!(matches!(outcome, Outcome::Listens), "{outcome:?}");
    }

    #[track_caller]
    fn must_be_refused(mut self, contested: &Contested) {
        assert_refused(&self.outcome(), contested);
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Sends SIGTERM, waits until it has ended, and returns how many bytes it has echoed.
    #[track_caller]
    fn stop(mut self) -> u64 {
        self.terminate();
        let mut stdout = String::new();
        let pipe = self.child.stdout.as_mut().unwrap();
        pipe.read_to_string(&mut stdout).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let stats: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        stats["bytes_out"].as_u64().unwrap()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that the server has ended with one line: another server owns the path.
#[track_caller]
fn assert_refused(outcome: &Outcome, contested: &Contested) {
    let Outcome::Ended { code, said } = outcome else {
        panic!("a second server listens on the path of the first");
    };
    assert_eq!(*code, Some(1), "{said}");
    let expected = format!(
        "cannot listen on {}: another server owns this path",
        contested.address()
    );
    assert!(said.contains(&expected), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Asserts that exactly one of the two servers listens and serves the path, that the other one fails with a clear
/// error, and that the owner removes its files at its end.
#[track_caller]
fn assert_one_owner(mut servers: [Contender; 2], contested: &Contested) {
    let mut outcomes = [servers[0].outcome(), servers[1].outcome()];
    let owner = outcomes
        .iter()
        .position(|outcome| matches!(outcome, Outcome::Listens))
        .unwrap_or_else(|| panic!("no server listens: {outcomes:?}"));
    outcomes.swap(0, owner);
    assert_refused(&outcomes[1], contested);
    let mut client = UnixStream::connect(&contested.path).unwrap();
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    // Closed before the shutdown, which would wait for the client's end of stream.
    drop(client);
    let [first, second] = servers;
    let owner = [first, second].into_iter().nth(owner).unwrap();
    assert_eq!(owner.stop(), 4, "the client was served by another process");
    assert_eq!(contested.files(), Vec::<String>::new());
}

/// Fault 39. strace delays the first server at each of its calls up to listen(2), and the second server runs meanwhile.
pub(crate) fn one_of_two_servers_that_start_at_once_owns_the_path() {
    for round in 0..2 {
        for (stale, call) in [
            (true, "flock"),
            (true, "connect"),
            (true, "unlink"),
            (true, "bind"),
            (true, "listen"),
            (false, "flock"),
            (false, "bind"),
            (false, "listen"),
        ] {
            eprintln!("round {round}, stale file: {stale}, delayed at {call}");
            let contested = Contested::new();
            if stale {
                contested.leave_a_stale_file();
            }
            let (first, log) = contested.start_delayed("log", &[(call, DELAY)], 1);
            until_it_enters(call, 1, &log);
            let second = contested.start();
            assert_one_owner([first, second], &contested);
        }
    }
}

/// The same without strace: the kernel's scheduler chooses the order.
pub(crate) fn one_of_two_servers_that_run_freely_owns_the_path() {
    for round in 0..100 {
        let contested = Contested::new();
        if round % 2 == 0 {
            contested.leave_a_stale_file();
        }
        let servers = [contested.start(), contested.start()];
        assert_one_owner(servers, &contested);
    }
}

/// The first server removes the lock file after the second one has opened it and before it has locked it. A lock on a
/// removed file would exclude no other server.
pub(crate) fn a_lock_file_that_its_owner_removed_is_not_taken() {
    let contested = Contested::new();
    let mut first = contested.start();
    first.must_listen();
    let calls = [("flock", 5 * DELAY), ("listen", DELAY)];
    let (mut second, log) = contested.start_delayed("second", &calls, 1);
    until_it_enters("flock", 1, &log);
    first.stop();
    let entered = std::fs::read_to_string(&log).unwrap();
    assert!(
        !entered.contains("= 0"),
        "the delay was too short: {entered}"
    );
    // The second server is bound and does not listen yet. For connect(2) its socket file looks stale.
    until_it_enters("listen", 1, &log);
    contested.start().must_be_refused(&contested);
    second.must_listen();
    second.stop();
    assert_eq!(contested.files(), Vec::<String>::new());
}

/// A server that ends has removed the socket file but not the lock file yet. It still holds the lock.
pub(crate) fn a_server_owns_its_path_until_its_lock_file_is_removed() {
    let contested = Contested::new();
    let (mut first, log) = contested.start_delayed("first", &[("unlink", DELAY)], 2);
    first.must_listen();
    first.terminate();
    until_it_enters("unlink", 2, &log);
    assert_eq!(contested.files(), ["echo.sock.lock"]);
    contested.start().must_be_refused(&contested);
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    let mut next = contested.start();
    next.must_listen();
    next.stop();
    assert_eq!(contested.files(), Vec::<String>::new());
}

/// The permissions are final before a client can connect: connect(2) is refused until listen(2).
pub(crate) fn the_mode_is_set_between_bind_and_listen() {
    let contested = Contested::new();
    let log = contested.folder.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o"]).arg(&log);
    command.args(["-e", "trace=bind,listen,/chmod"]);
    command.arg(env!("CARGO_BIN_EXE_mio-echo"));
    let address = contested.address();
    command.args(["serve", "-q", "--unix-mode", "0660", &address]);
    let server = Process::start(command, 1);
    until_it_enters("listen", 1, &log);
    let log = std::fs::read_to_string(&log).unwrap();
    let at = |call: &str| {
        log.find(call)
            .unwrap_or_else(|| panic!("no {call} in {log}"))
    };
    assert!(
        at("bind(") < at("0660") && at("0660") < at("listen("),
        "{log}"
    );
    drop(server);
}

/// How long strace delays a call: long enough for another server to start and listen meanwhile.
const DELAY: Duration = Duration::from_millis(300);

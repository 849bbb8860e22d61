//! The server under systemd: passed sockets, readiness, the watchdog and the journal. The test hands the descriptors
//! over as systemd does, so it needs no systemd.

#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "a test has no public interface")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::LIMIT;
use rustix::process::{Pid, Signal, kill_process};

/// A server that got its sockets as descriptors. Dropping it kills the process.
struct Service {
    child: Child,
    /// The `listening on` lines.
    lines: Vec<String>,
}

impl Service {
    /// Starts `mio-echo serve` with these arguments. `first` becomes descriptor 3, and `second` descriptor 4
    /// (sd_listen_fds(3)). The second one takes the place of standard error until then, because a child inherits no
    /// other descriptor.
    fn start(args: &[&str], first: impl Into<OwnedFd>, second: Option<OwnedFd>) -> Service {
        let count = 1 + u32::from(second.is_some());
        let script = match second {
            None => "exec 3<&0 </dev/null".to_owned(),
            Some(_) => "exec 3<&0 4<&2 </dev/null 2>/dev/null".to_owned(),
        };
        let script = format!("{script}; LISTEN_FDS={count} LISTEN_PID=$$ exec \"$0\" serve \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_mio-echo")])
            .args(args)
            .stdin(Stdio::from(first.into()))
            .stdout(Stdio::piped())
            .stderr(second.map_or(Stdio::inherit(), Stdio::from));
        Service::spawn(command, count as usize)
    }

    /// Starts a command, and reads this number of lines of its standard output.
    fn spawn(mut command: Command, lines: usize) -> Service {
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = (0..lines)
            .map_while(|_| output.next().transpose().unwrap())
            .collect();
        Service { child, lines }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends the server in order.
    fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the echo of `hello` up to the end of the stream.
fn echo(mut client: impl Read + Write, end: impl FnOnce()) -> Vec<u8> {
    client.write_all(b"hello").unwrap();
    end();
    let mut echo = Vec::new();
    client.read_to_end(&mut echo).unwrap();
    echo
}

#[test]
fn passed_sockets_replace_the_default_address_and_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    for args in [&[][..], &["--threads", "2"]] {
        let passed = (tcp.try_clone().unwrap(), unix.try_clone().unwrap());
        let service = Service::start(args, passed.0, Some(passed.1.into()));
        let expected = [
            format!("listening on {address}"),
            format!("listening on unix:{}", path.display()),
        ];
        assert_eq!(service.lines, expected);
        let client = TcpStream::connect(address).unwrap();
        let end = client.try_clone().unwrap();
        assert_eq!(
            echo(client, || end.shutdown(Shutdown::Write).unwrap()),
            b"hello"
        );
        let client = UnixStream::connect(&path).unwrap();
        let end = client.try_clone().unwrap();
        assert_eq!(
            echo(client, || end.shutdown(Shutdown::Write).unwrap()),
            b"hello"
        );
        assert!(service.stop().success());
        assert!(
            path.exists(),
            "the server has removed the file of its successor"
        );
    }
    // The socket still listens: this client waits for the next server.
    TcpStream::connect(address).unwrap();
}

/// A thousand clients connect, ten at a time, while servers follow each other on the same socket. Clients that wait in
/// the backlog at a shutdown are served by the next server. A client whose bytes had not arrived when its server was
/// stopped gets the end of its stream.
#[test]
fn a_restart_refuses_no_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = || Service::start(&["-q"], listener.try_clone().unwrap(), None);
    let mut restarts = 0;
    let ended = thread::scope(|scope| {
        let mut service = start();
        let clients: Vec<_> = (0..10)
            .map(|_| scope.spawn(move || (0..100).filter(|_| !is_served(address)).count()))
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            assert!(service.stop().success());
            service = start();
            restarts += 1;
            thread::sleep(Duration::from_millis(20));
        }
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum::<usize>()
    });
    assert!(restarts >= 3, "{restarts} restarts");
    // At most those that were connected when a server stopped.
    assert!(ended <= 10 * restarts, "clients without an echo: {ended}");
    println!("{restarts} restarts, {ended} of 1000 clients without an echo");
}

/// Connects, which must succeed, and returns whether the echo came back. A pause spreads the clients over the restarts.
fn is_served(address: SocketAddr) -> bool {
    let mut client = TcpStream::connect(address).expect("a client was refused");
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut echo = [0; 5];
    let is_served = client.write_all(b"hello").is_ok() && client.read_exact(&mut echo).is_ok();
    thread::sleep(Duration::from_millis(5));
    is_served
}

#[test]
fn the_service_manager_hears_that_the_server_listens_and_lives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mio-echo"));
    command
        .args(["serve", "127.0.0.1:auto", "-q", "--threads", "2"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stdout(Stdio::piped());
    let service = Service::spawn(command, 1);
    let hear = || {
        let mut message = [0; 64];
        let n = manager.recv(&mut message)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&message[..n]).trim().to_owned())
    };
    assert_eq!(hear().unwrap(), "READY=1");
    // The loops are idle, and wake up for the watchdog.
    for _ in 0..3 {
        assert_eq!(hear().unwrap(), "WATCHDOG=1");
    }
    service.signal(Signal::STOP);
    // What was sent before the stop may still be in the queue.
    manager
        .set_read_timeout(Some(Duration::from_millis(600)))
        .unwrap();
    let start = Instant::now();
    while hear().is_ok() {
        assert!(
            start.elapsed() < LIMIT,
            "a stopped server feeds its watchdog"
        );
    }
    service.signal(Signal::CONT);
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(hear().unwrap(), "WATCHDOG=1");
}

#[test]
fn under_the_journal_the_lines_have_no_times() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, is_journal: bool| {
        let path = folder.path().join(name);
        let file = File::create(&path).unwrap();
        let stat = file.metadata().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mio-echo"));
        command
            .args(["serve", "127.0.0.1:auto"])
            .stdout(Stdio::piped())
            .stderr(file);
        if is_journal {
            command.env("JOURNAL_STREAM", format!("{}:{}", stat.dev(), stat.ino()));
        }
        assert!(Service::spawn(command, 1).stop().success());
        fs::read_to_string(path).unwrap()
    };
    let journal = run("journal", true);
    assert!(journal.starts_with("INFO"), "{journal}");
    let other = run("other", false);
    assert!(other.starts_with("20"), "{other}");
}

/// With `Accept=yes` systemd passes a connection instead of a listener.
#[test]
fn a_passed_connection_is_refused_with_the_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_mio-echo")])
        .stdin(Stdio::from(OwnedFd::from(client)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Accept=no"), "{said}");
}

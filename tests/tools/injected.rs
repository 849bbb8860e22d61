//! Errors that strace injects: a system call returns the error, and the kernel does not execute the call.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;

/// Returns true if strace can trace a program here.
pub(crate) fn strace_works() -> bool {
    Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Starts a server under strace. With `-D` the started process is the server itself, not strace, so it gets our
/// signals.
fn serve_under_strace(strace: &[&str], log: &Path, args: &[&str]) -> Process {
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-qq", "-o"])
        .arg(log)
        .args(strace);
    command.args([
        env!("CARGO_BIN_EXE_mio-echo"),
        "serve",
        "127.0.0.1:auto",
        "--json",
    ]);
    command.args(args);
    Process::start(command, 1)
}

/// Starts a server with the error that `inject` names, in the syntax of strace's `inject=`.
fn serve_with_injection(inject: &str, log: &Path, args: &[&str]) -> Process {
    let calls = inject.split(':').next().unwrap();
    let inject = format!("inject={inject}");
    serve_under_strace(&["-e", &format!("trace={calls}"), "-e", &inject], log, args)
}

/// Fault 16: accept4(2) fails for lack of descriptors or memory.
pub(crate) fn accept_pauses_and_tries_again_after_a_shortage() {
    let folder = tempfile::tempdir().unwrap();
    for (error, counter) in [
        ("ENFILE", "system_descriptors"),
        ("ENOBUFS", "memory"),
        ("ENOMEM", "memory"),
        ("EMFILE", "process_descriptors"),
    ] {
        let inject = format!("accept4:error={error}:when=1..2");
        let server = serve_with_injection(&inject, &folder.path().join(error), &[]);
        let start = Instant::now();
        ping(&connect(server.address()), b"at last");
        let took = start.elapsed();
        assert!(
            took > Duration::from_millis(150),
            "{error}: two pauses took only {took:?}"
        );
        let stats = server.stop_and_count();
        assert_eq!(stats["accept_errors"][counter], 2, "{error}: {stats}");
    }
}

/// Fault 17: accept4(2) fails for one connection only.
pub(crate) fn accept_goes_on_at_once_after_a_lost_connection() {
    let folder = tempfile::tempdir().unwrap();
    for (error, counter) in [
        ("ECONNABORTED", "aborted"),
        ("EINTR", "interrupted"),
        ("EPERM", "forbidden"),
        ("EPROTO", "network"),
    ] {
        let inject = format!("accept4:error={error}:when=1..2");
        let server = serve_with_injection(&inject, &folder.path().join(error), &[]);
        ping(&connect(server.address()), b"at once");
        let log = server.stderr();
        assert!(
            !log.contains("trying again"),
            "{error}: the server must not pause: {log}"
        );
        let stats = server.stop_and_count();
        assert_eq!(stats["accept_errors"][counter], 2, "{error}: {stats}");
    }
}

/// Fault 18, with an error after which the server pauses, and with one after which it tries again at once.
pub(crate) fn accept_that_fails_for_ever_neither_spins_nor_floods() {
    let folder = tempfile::tempdir().unwrap();
    for error in ["EMFILE", "ECONNABORTED"] {
        let calls = folder.path().join(error);
        let inject = format!("accept4:error={error}:when=1+");
        let server = serve_with_injection(&inject, &calls, &[]);
        let _clients: Vec<_> = (0..4).map(|_| connect(server.address())).collect();
        thread::sleep(Duration::from_secs(2));
        let lines = server.stderr().matches("cannot accept").count();
        assert!(
            (1..=3).contains(&lines),
            "{error}: {lines} log lines:\n{}",
            server.stderr()
        );
        let stats = server.stop_and_count();
        let made = std::fs::read_to_string(&calls).unwrap();
        let made = made.matches("accept4(").count();
        // At most 64 calls in a row without a pause, then ten a second.
        assert!(
            (2..=64 + 40).contains(&made),
            "{error}: {made} calls, {stats}"
        );
    }
}

/// Fault 19, first half: the poll fails with `EINTR`.
pub(crate) fn an_interrupted_poll_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let inject = "epoll_wait,epoll_pwait,poll:error=EINTR:when=2+2";
    let log = folder.path().join("log");
    let server = serve_with_injection(inject, &log, &["--idle-timeout", "300ms"]);
    let client = connect(server.address());
    for _ in 0..20 {
        ping(&client, b"every other poll is interrupted");
    }
    // The idle timer still expires.
    assert_eq!(read_to_end(&client), b"");
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["idle"], 1, "{stats}");
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("EINTR"), "strace injected no EINTR: {log}");
}

/// Fault 20, for epoll_ctl(2). The first three calls register the waker, the listener and the signals. The fourth
/// registers a client that stays connected, and the fifth fails.
#[cfg(not(mio_unsupported_force_poll_poll))]
pub(crate) fn a_failed_registration_closes_only_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    for error in ["ENOSPC", "ENOMEM"] {
        let inject = format!("epoll_ctl:error={error}:when=5");
        let server = serve_with_injection(&inject, &folder.path().join(error), &[]);
        let before = connect(server.address());
        ping(&before, b"registered");
        assert_eq!(read_to_end(&connect(server.address())), b"");
        ping(&before, b"undisturbed");
        ping(&connect(server.address()), b"registered");
        server.until_it_says("selector did not register it");
        let stats = server.stop_and_count();
        assert_eq!(stats["closed"]["unregistered"], 1, "{error}: {stats}");
    }
}

/// Checks the README's figure: system calls a message with 50 clients, counted by strace.
#[cfg(not(mio_unsupported_force_poll_poll))]
pub(crate) fn a_small_message_costs_two_calls_and_a_share_of_the_poll() {
    const CLIENTS: usize = 50;
    const ROUNDS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table");
    let server = serve_under_strace(&["-c"], &table, &[]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.address())).collect();
    for _ in 0..ROUNDS {
        for client in &clients {
            ping(
                client,
                b"64 bytes or so, as they are in ping-pong everywhere one looks...",
            );
        }
    }
    let pid = server.pid();
    server.stop_and_count();
    // strace writes its table some time after the server's end.
    let table = eventually("strace's table", || {
        let table = std::fs::read_to_string(&table).unwrap_or_default();
        if table.contains("total") {
            Ok(table)
        } else {
            Err(pid)
        }
    });
    let count = |call: &str| -> usize {
        let line = table
            .lines()
            .find(|line| line.ends_with(&format!(" {call}")));
        let field = |line: &str| line.split_whitespace().nth(3).unwrap().parse().unwrap();
        line.map_or(0, field)
    };
    let echoes = CLIENTS * ROUNDS;
    let moved = count("recvfrom") + count("read") + count("sendto") + count("write");
    assert!(
        moved >= 2 * echoes,
        "the test reads the table wrongly:\n{table}"
    );
    let a_message = moved as f64 / echoes as f64;
    assert!(
        a_message < 2.1,
        "{a_message} reads and writes for each echo:\n{table}"
    );
    // One registration for each client, and a few at the start.
    let registrations = count("epoll_ctl");
    assert!(
        registrations <= CLIENTS + 5,
        "{registrations} registrations:\n{table}"
    );
}

/// Root may bind every port, so strace injects the error.
pub(crate) fn a_port_below_1024_without_the_privilege_is_a_clear_error() {
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=bind:error=EACCES",
        ])
        .args([env!("CARGO_BIN_EXE_mio-echo"), "serve", "127.0.0.1:80"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("127.0.0.1:80") && said.contains("1024"),
        "{said}"
    );
}

/// A program calls rt_sigaction(2) for each signal that it handles. A SIGINT that arrives during one of these calls,
/// after the handler of SIGINT is installed, must end the program: Ctrl-C must not get lost during the start.
pub(crate) fn an_interrupt_during_the_start_is_not_lost() {
    let echo_server = Process::serve(&[]);
    let target = echo_server.address().to_string();
    let bench = ["bench", &target, "-c", "1", "-w", "0s", "-d", "60s"];
    for (args, code) in [(&["serve", "127.0.0.1:auto"][..], 0), (&bench[..], 130)] {
        let (calls, _) = with_interrupt_at_call(1_000, args, Some(Duration::from_secs(2)));
        let handler = |line: &str| line.contains("rt_sigaction(SIGINT, {sa_handler=0x");
        let first = calls.lines().position(handler).expect(&calls) + 2;
        let last = calls
            .lines()
            .filter(|line| line.contains("rt_sigaction("))
            .count();
        assert!(
            first <= last,
            "no call follows the handler of SIGINT:\n{calls}"
        );
        for n in first..=last {
            let (calls, ended) = with_interrupt_at_call(n, args, None);
            assert_eq!(ended, Some(code), "{args:?}, call {n}:\n{calls}");
        }
    }
}

/// Runs the program under strace, which sends SIGINT at the n-th rt_sigaction(2). Returns the traced calls and the exit
/// code. After `limit` the program is killed, otherwise it must end.
fn with_interrupt_at_call(
    n: usize,
    args: &[&str],
    limit: Option<Duration>,
) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o"])
        .arg(&log)
        .args(["-e", "trace=rt_sigaction", "-e"])
        .arg(format!("inject=rt_sigaction:signal=SIGINT:when={n}"))
        .arg(env!("CARGO_BIN_EXE_mio-echo"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let calls = || std::fs::read_to_string(&log).unwrap_or_default();
    if let Some(limit) = limit {
        thread::sleep(limit);
        child.kill().unwrap();
    }
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} still runs after SIGINT at call {n}:\n{}", calls());
        }
        thread::sleep(Duration::from_millis(1));
    };
    (calls(), status.code())
}

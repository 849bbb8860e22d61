//! Errors that strace puts in the place of system calls. The call itself is not made.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;

/// Whether strace can trace a program here.
pub(crate) fn strace_works() -> bool {
    Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A server under strace, which runs beside it (`-D`), so that the process is the server and gets our signals.
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

fn serve_with_injection(inject: &str, log: &Path, args: &[&str]) -> Process {
    let calls = inject.split(':').next().unwrap();
    let inject = format!("inject={inject}");
    serve_under_strace(&["-e", &format!("trace={calls}"), "-e", &inject], log, args)
}

/// Fault 16.
pub(crate) fn a_shortage_on_accept_is_waited_out() {
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
            "{error}: two pauses took {took:?}"
        );
        let stats = server.stop_and_count();
        assert_eq!(stats["accept_errors"][counter], 2, "{error}: {stats}");
    }
}

/// Fault 17.
pub(crate) fn a_lost_connection_on_accept_is_passed_over_at_once() {
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
            "{error} made it pause: {log}"
        );
        let stats = server.stop_and_count();
        assert_eq!(stats["accept_errors"][counter], 2, "{error}: {stats}");
    }
}

/// Fault 18: an error that is waited out, and one that should pass by itself and never does.
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
            "{error}: {lines} lines:\n{}",
            server.stderr()
        );
        let stats = server.stop_and_count();
        let made = std::fs::read_to_string(&calls).unwrap();
        let made = made.matches("accept4(").count();
        // 64 in a row before an error that should pass counts as one that does not, then ten a second.
        assert!(
            (2..=64 + 40).contains(&made),
            "{error}: {made} calls, {stats}"
        );
    }
}

/// Fault 19, first half.
pub(crate) fn an_interrupted_poll_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let inject = "epoll_wait,epoll_pwait,poll:error=EINTR:when=2+2";
    let log = folder.path().join("log");
    let server = serve_with_injection(inject, &log, &["--idle-timeout", "300ms"]);
    let client = connect(server.address());
    for _ in 0..20 {
        ping(&client, b"every other poll is interrupted");
    }
    // And the timer comes all the same.
    assert_eq!(read_to_end(&client), b"");
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["idle"], 1, "{stats}");
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("EINTR"), "nothing was injected: {log}");
}

/// Fault 20, of epoll's own calls. The first three registrations are the waker's, the listener's and the signals', the fourth is that of a
/// client that stays, and the fifth fails.
#[cfg(not(mio_unsupported_force_poll_poll))]
pub(crate) fn what_cannot_be_registered_is_closed_alone() {
    let folder = tempfile::tempdir().unwrap();
    for error in ["ENOSPC", "ENOMEM"] {
        let inject = format!("epoll_ctl:error={error}:when=5");
        let server = serve_with_injection(&inject, &folder.path().join(error), &[]);
        let before = connect(server.address());
        ping(&before, b"registered");
        assert_eq!(read_to_end(&connect(server.address())), b"");
        ping(&before, b"undisturbed");
        ping(&connect(server.address()), b"registered");
        server.until_it_says("selector would not take it");
        let stats = server.stop_and_count();
        assert_eq!(stats["closed"]["unregistered"], 1, "{error}: {stats}");
    }
}

/// The figure that the README states: 50 clients in ping-pong, counted by strace.
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
    // strace writes its table after the server's end, on its own time.
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
    assert!(moved >= 2 * echoes, "the table was read wrongly:\n{table}");
    let a_message = moved as f64 / echoes as f64;
    assert!(
        a_message < 2.1,
        "{a_message} reads and writes an echo:\n{table}"
    );
    // One for each client, and those of the start.
    let registrations = count("epoll_ctl");
    assert!(
        registrations <= CLIENTS + 5,
        "{registrations} registrations:\n{table}"
    );
}

/// Run as root, nothing is forbidden; so the refusal is injected.
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

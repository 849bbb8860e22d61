//! The command line as a person or a script meets it: what is printed, where, and with which exit code.

#![cfg(target_os = "linux")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use common::*;
use rustix::process::Signal;

fn run(args: &[&str]) -> Output {
    mio_echo().args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs it, expects this exit code, and returns what it said on standard error.
#[track_caller]
fn fails(args: &[&str], code: i32) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(
        output.stdout.is_empty(),
        "{args:?} printed {:?}",
        output.stdout
    );
    said
}

#[test]
fn usage_errors_exit_with_2_and_say_what_to_write() {
    for (args, hint) in [
        (&["serve", "127.0.0.1:0"][..], "auto"),
        (&["serve", "7007"], ":7007"),
        (&["serve", "::1:7007"], "[::1]:7007"),
        (&["serve", "127.0.0.1:66000"], "1 to 65535"),
        (&["serve", "--memory", "lots"], "64KiB"),
        (&["serve", "--read-buffer", "0"], "at least 1 byte"),
        (&["serve", "--idle-timeout", "0s"], "off"),
        (&["serve", "--idle-timeout", "5"], "500ms"),
        (&["serve", "--max-connections", "0"], "1.."),
        (&["serve", "-q", "-v"], "cannot be used"),
        (&["send", "hello"], "HOST:PORT"),
        (&["sing"], "unrecognized"),
        (&[], "serve"),
    ] {
        let said = fails(args, 2);
        assert!(said.contains(hint), "{args:?} was answered with {said:?}");
    }
}

#[test]
fn failures_exit_with_1_and_say_what_to_do_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let unix = |path: &str| format!("unix:{}", folder.path().join(path).display());
    for (address, hint) in [
        (taken.as_str(), "in use"),
        // TEST-NET-1 of RFC 5737 and a name of RFC 6761: nobody has the one, nothing resolves the other.
        ("192.0.2.1:7007", "not an address of this machine"),
        ("no-such-host.invalid:7007", "spelled right"),
        (&unix("file"), "not a socket"),
        (&unix("no/such/directory"), "no such directory"),
        (&unix(&"long".repeat(40)), "too long"),
    ] {
        let said = fails(&["serve", "-q", address], 1);
        assert!(
            said.contains(address) && said.contains(hint),
            "{address}: {said:?}"
        );
        assert_eq!(said.lines().count(), 1, "{address}: {said:?}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn a_hostname_is_resolved_with_a_warning() {
    let mut command = mio_echo();
    command.args(["serve", "localhost:auto"]);
    let server = Process::start(command, 1);
    ping(&connect(server.address()), b"hello");
    let said = server.until_it_says("WARN");
    let taken = server.addresses[0].clone();
    assert!(said.contains("localhost:auto resolved to"), "{said}");
    assert!(said.contains("deterministic"), "{said}");
    let (host, _) = taken.rsplit_once(':').unwrap();
    assert!(said.contains(host), "{said}");
}

#[test]
fn the_log_is_quiet_for_each_connection_unless_asked() {
    let log_of = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = mio_echo();
        command.args(["serve", "127.0.0.1:auto"]).args(args);
        command.envs(environment.iter().copied());
        let server = Process::start(command, 1);
        ping(&connect(server.address()), b"hello");
        server.signal(Signal::TERM);
        server.wait().stderr
    };
    let default = log_of(&[], &[]);
    assert!(
        default.contains("room for") && default.contains("served: "),
        "{default}"
    );
    assert!(!default.contains("accepted, from"), "{default}");
    assert_eq!(log_of(&["-q"], &[]), "");
    for log in [log_of(&["-v"], &[]), log_of(&[], &[("RUST_LOG", "debug")])] {
        assert!(
            log.contains("accepted, from") && log.contains("closed after 5 bytes"),
            "{log}"
        );
        assert!(!log.contains("poll →"), "{log}");
    }
    for log in [log_of(&["-vv"], &[]), log_of(&[], &[("RUST_LOG", "trace")])] {
        for step in ["poll → 1 event", "read 5 bytes \"hello\"", "wrote 5 of 5"] {
            assert!(log.contains(step), "no {step:?} in {log}");
        }
    }
}

#[test]
fn json_is_one_object_after_the_listening_lines() {
    let server = Process::serve(&["--json"]);
    let client = connect(server.address());
    ping(&client, b"hello");
    drop(client);
    // The process must have seen the end before it is told to stop.
    let other = connect(server.address());
    ping(&other, b"world");
    drop(other);
    let stats = server.stop_and_count();
    for key in [
        "accepted",
        "rejected",
        "peak",
        "bytes_in",
        "bytes_out",
        "reads",
        "writes",
        "would_blocks",
        "spills",
        "peak_pending_bytes",
        "yields",
        "polls",
        "events",
    ] {
        assert!(stats[key].is_u64(), "no {key} in {stats}");
    }
    assert!(stats["closed"]["end_of_stream"].is_u64(), "{stats}");
    assert!(
        stats["accept_errors"]["process_descriptors"].is_u64(),
        "{stats}"
    );
    assert_eq!(
        (&stats["accepted"], &stats["bytes_out"]),
        (&2.into(), &10.into())
    );
}

#[test]
fn statistics_are_logged_when_asked() {
    let server = Process::serve(&["--stats-every", "50ms"]);
    eventually("three reports", || {
        let log = server.stderr();
        if log.matches("accepted 0").count() >= 3 {
            Ok(())
        } else {
            Err(log)
        }
    });
}

#[test]
fn send_prints_what_comes_back() {
    let server = Embedded::start();
    let address = server.address.to_string();
    let output = run(&["send", &address, "hello"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello");

    let bytes = pattern(20 << 20);
    let mut child = mio_echo()
        .args(["send", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let sending = {
        let bytes = bytes.clone();
        thread::spawn(move || input.write_all(&bytes).unwrap())
    };
    let output = child.wait_with_output().unwrap();
    sending.join().unwrap();
    assert!(output.status.success());
    assert_same(&output.stdout, &bytes);
}

/// A server that reads what its one client sends, or not, and then lies.
fn lying_server(reads: bool, lie: fn(&mut TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        if reads {
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        lie(&mut stream);
    });
    address
}

#[test]
fn send_says_when_the_echo_is_wrong() {
    type Lie = fn(&mut TcpStream);
    let lies: [(bool, Lie, &str); 4] = [
        (true, |s| s.write_all(b"hellO").unwrap(), "differs"),
        (true, |s| s.write_all(b"hell").unwrap(), "only 4 came back"),
        (
            true,
            |s| s.write_all(b"hello, and more").unwrap(),
            "more than were sent",
        ),
        // Closed with input unread, which resets the connection.
        (false, |s| drop(s.peek(&mut [0])), " 0 came back"),
    ];
    for (reads, lie, hint) in lies {
        let said = fails_after_echo(&lying_server(reads, lie));
        assert!(said.contains(hint), "{hint}: {said}");
    }
}

fn fails_after_echo(address: &str) -> String {
    let output = run(&["send", address, "hello"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn send_says_when_nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = fails(&["send", &free.to_string(), "hello"], 1);
    assert!(said.contains("is a server running there"), "{said}");
    let said = fails(&["send", "127.0.0.1:auto", "hello"], 1);
    assert!(said.contains("name the port"), "{said}");
}

/// A server that is full closes at once. Nothing was sent by then, so nothing is missing from the echo; but it is no
/// success.
#[test]
fn send_fails_when_it_is_turned_away() {
    let server = Process::serve(&["-q", "--max-connections", "1"]);
    let inside = connect(server.address());
    ping(&inside, b"inside");
    let mut child = mio_echo()
        .args(["send", &server.addresses[0]])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As in a session at a terminal: nothing is typed, and the input does not end.
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("before everything was sent"), "{said}");
}

#[test]
fn a_closed_output_is_no_panic() {
    let server = Embedded::start();
    let pipeline = "head -c 5000000 /dev/zero | \"$0\" send \"$1\" | head -c 1";
    let output = Command::new("sh")
        .args([
            "-c",
            pipeline,
            env!("CARGO_BIN_EXE_mio-echo"),
            &server.address.to_string(),
        ])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"\0");
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn help_shows_each_default() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    assert!(help.contains("-vv") || help.contains("twice"), "{help}");
    for default in [
        "127.0.0.1:7007",
        "64KiB",
        "256MiB",
        "default: off",
        "default: 1m",
        "default: 5s",
        "system's maximum",
        "descriptor limit",
    ] {
        assert!(help.contains(default), "no {default:?} in {help}");
    }
}

//! Runs `mio-echo check` as a user does: its reports, its messages, its exit codes, and Ctrl-C.

#![cfg(all(target_os = "linux", feature = "check"))]
#![allow(missing_docs, reason = "a test has no public interface")]

mod common;

use std::fs;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn check(args: &[&str]) -> Output {
    mio_echo()
        .arg("check")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The command that starts the server of this package.
const SERVE: [&str; 5] = [
    "--",
    env!("CARGO_BIN_EXE_mio-echo"),
    "serve",
    "{address}",
    "-q",
];

#[test]
fn the_server_of_this_package_passes_and_the_json_follows_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, markdown, html, junit) =
        (file("a.json"), file("a.md"), file("a.html"), file("a.xml"));
    let mut args = vec![
        "--only",
        "echo,ends,idle-cpu,big-then-silent,sigterm",
        "--drains",
        "--strict",
        "--json",
        &json,
        "--markdown",
        &markdown,
        "--html",
        &html,
        "--junit",
        &junit,
    ];
    args.extend(SERVE);
    let output = check(&args);
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let text = out(&output);
    assert!(text.contains("pass          hello"), "{text}");
    assert!(text.contains("0 inconclusive"), "{text}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../docs/check.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&report)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(fs::read_to_string(&markdown).unwrap().contains("hello"));
    assert!(
        fs::read_to_string(&html)
            .unwrap()
            .starts_with("<!DOCTYPE html>")
    );
    assert!(fs::read_to_string(&junit).unwrap().contains("<testsuite "));
}

#[test]
fn a_failure_is_explained_and_exits_with_3() {
    // A server that serves one client and ends.
    let one = "import socket,sys\nh,p=sys.argv[1].split(':')\ns=socket.create_server((h,int(p)))\nc,_=s.accept()\n\
               while d:=c.recv(999): c.sendall(d)";
    let output = check(&["--only", "again", "--", "python3", "-c", one, "{address}"]);
    assert_eq!(output.status.code(), Some(3), "{output:#?}");
    let text = out(&output);
    for part in [
        "FAIL",
        "what came:",
        "why it matters:",
        "read:",
        "rung 0",
        "next: again",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let output = check(&[
        "--lang",
        "ja",
        "--only",
        "again",
        "--",
        "python3",
        "-c",
        one,
        "{address}",
    ]);
    assert!(out(&output).contains("不合格"), "{output:#?}");
}

#[test]
fn usage_errors_say_what_to_write() {
    for (args, hint) in [
        (&["--only", "no-such-check"][..], "--list"),
        (&["--explain", "no-such-check"], "--list"),
        (&["--only", "two_at_onc"], "did you mean two-at-once?"),
        (&["--", "./mine"], "{address}"),
        (&["--", "./mine", "{ip}"], "{ip} is not known"),
        (&["--", "./mine }{address"], "one word"),
        (&["--server", "./mine {address}"], "NAME=COMMAND"),
        (&["--server", "a='./mine {address}"], "a="),
        (&["--pid", "999999999"], "no process"),
        (&["--timeout", "2"], "500ms"),
        (
            &["--only", "hello", "--except", "hello"],
            "no check is left",
        ),
    ] {
        let output = check(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:#?}");
        assert!(said(&output).contains(hint), "{args:?}: {}", said(&output));
    }
}

#[test]
fn a_server_that_is_not_reached_exits_with_1() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = check(&[&closed.to_string()]);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    assert!(said(&output).contains("refused"), "{output:#?}");
    let output = check(&["--", "./no-such-program", "{address}"]);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let output = check(&[
        "--",
        "python3",
        "-c",
        "raise SystemExit('no luck')",
        "{address}",
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    assert!(said(&output).contains("no luck"), "{output:#?}");
}

#[test]
fn of_several_servers_the_others_are_checked_if_one_does_not_start() {
    let mine = format!(
        "mine={} serve {{address}} -q",
        env!("CARGO_BIN_EXE_mio-echo")
    );
    let output = check(&[
        "--only",
        "hello",
        "--server",
        "none=./no-such-program {address}",
        "--server",
        &mine,
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    assert!(
        said(&output).contains("none: ./no-such-program"),
        "{output:#?}"
    );
    assert!(out(&output).contains("pass          hello"), "{output:#?}");
}

#[test]
fn list_and_explain_make_no_check() {
    let list = out(&check(&["--list"]));
    assert_eq!(list.lines().count(), ::check::checks().count(), "{list}");
    let resets = out(&check(&["--list", "--only", "resets"]));
    assert!(
        resets.lines().all(|line| line.contains(" resets ")),
        "{resets}"
    );
    let why = out(&check(&["--explain", "bulk"]));
    assert!(why.contains("write(2)"), "{why}");
    let group = out(&check(&["--explain", "ends"]));
    assert!(
        group.contains("half-close (must)") && group.contains("half-close-bulk (must)"),
        "{group}"
    );
}

#[test]
fn what_the_server_prints_goes_to_the_log_and_skipped_checks_have_their_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let mut args = vec![
        "--only",
        "hello,squatters",
        "--server-log",
        log.to_str().unwrap(),
    ];
    args.extend([
        "--",
        env!("CARGO_BIN_EXE_mio-echo"),
        "serve",
        "{address}",
        "-v",
    ]);
    let output = check(&args);
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let text = out(&output);
    assert!(
        text.contains("skipped squatters: it needs the idle timeout"),
        "{text}"
    );
    // Two of all checks say nothing about the place on the ladder.
    assert!(!text.contains("ladder"), "{text}");
    let log = fs::read_to_string(log).unwrap();
    for part in ["listening on 127.0.0.1:", "accepted"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
}

/// The addresses of IPv6 and of Unix-domain sockets are checked as those of IPv4 are, with the process that runs
/// already.
#[test]
fn a_running_server_is_checked_over_ipv6_and_a_unix_domain_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("echo.sock").display());
    let mut command = mio_echo();
    command.args(["serve", "-q", "[::1]:auto", &path]);
    let server = Process::start(command, 2);
    let id = server.pid().to_string();
    let limit = descriptor_limit(&id);
    for address in server.addresses.clone() {
        let groups =
            "echo,ends,resets,bounded-intake,memory,big-then-silent,one-event,out-of-descriptors";
        let made = check(&[
            &address,
            "--pid",
            &id,
            "--only",
            groups,
            "--except",
            "unix,ipv6",
            "--json",
            "-",
        ]);
        assert_eq!(made.status.code(), Some(0), "{address}: {made:#?}");
        let report: Value = serde_json::from_slice(&made.stdout).unwrap();
        let is_unix = address.starts_with("unix:");
        let mut passed = 0;
        for check in report["servers"][0]["checks"].as_array().unwrap() {
            let reason = check["remark"]["en"].as_str().unwrap_or_default();
            let is_skipped = is_unix && reason.contains("TCP");
            let expected = if is_skipped { "skipped" } else { "pass" };
            assert_eq!(check["verdict"], expected, "{address}: {check:#}");
            passed += usize::from(!is_skipped);
        }
        assert!(
            passed >= if is_unix { 15 } else { 20 },
            "{address}: {passed} passed"
        );
        assert_eq!(descriptor_limit(&id), limit, "{address}");
    }
}

/// Interrupts the run in the moment in which the server is stopped, and in the moment in which its limit is lowered.
#[test]
fn ctrl_c_continues_the_server_and_restores_its_limit() {
    let server = Process::serve(&["-q"]);
    let id = server.pid().to_string();
    let limit = descriptor_limit(&id);
    let is_stopped = || server.state() == 'T';
    let is_limited = || descriptor_limit(&id) != limit;
    let moments: [(&str, &dyn Fn() -> bool); 2] = [
        ("stopped-and-continued", &is_stopped),
        ("out-of-descriptors", &is_limited),
    ];
    for (name, is_seen) in moments {
        let began = Instant::now();
        loop {
            let child = mio_echo()
                .args(["check", &server.addresses[0], "--pid", &id, "--only", name])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let pid = Pid::from_child(&child);
            let mut child = child;
            while !is_seen() && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_micros(200));
            }
            let _ = kill_process(pid, Signal::INT);
            let code = child.wait().unwrap().code();
            assert_ne!(server.state(), 'T', "{name}");
            assert_eq!(descriptor_limit(&id), limit, "{name}");
            // The state is short, so the run may be over before this test sees it.
            if code == Some(130) {
                break;
            }
            assert!(
                began.elapsed() < LIMIT,
                "{name}: no run was interrupted, the last one ended with {code:?}"
            );
        }
    }
    assert_eq!(
        check(&[&server.addresses[0], "--only", "hello"])
            .status
            .code(),
        Some(0)
    );
}

/// Returns the line of `/proc/PID/limits` with the limit of descriptors.
fn descriptor_limit(id: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.unwrap().to_owned()
}

/// The server is a child of the tester, so it must not go on after the tester.
#[test]
fn ctrl_c_leaves_no_server_running() {
    let mut args = vec!["check", "--json", "-"];
    args.extend(SERVE);
    for wait_ms in [100, 600, 1500, 4000, 9000] {
        let child = mio_echo()
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        thread::sleep(Duration::from_millis(wait_ms));
        let children = children_of(child.id());
        kill_process(pid, Signal::INT).unwrap();
        let began = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:#?}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["servers"][0]["interrupted"], true);
        for child in children {
            let is_there = fs::metadata(format!("/proc/{child}")).is_ok();
            assert!(
                !is_there,
                "after {wait_ms} ms the server {child} still runs"
            );
        }
    }
}

/// Returns the ids of the child processes: proc_pid_task_children(5).
fn children_of(id: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_ascii_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

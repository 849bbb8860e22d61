//! Wrong, slow or missing servers, and limits of the client: the report names each, and the exit code shows it.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Embedded, LIMIT, Process, eventually, mio_echo};
use crate::servers::{Then, echoing, server, swapping};
use crate::{bench, bench_command, benched, measure_until_it_holds};
use rustix::process::{Pid, Signal};
use socket2::{Domain, SockRef, Socket, Type};

/// A short closed loop over five connections.
const SHORT: [&str; 6] = ["-c", "5", "-w", "0s", "-d", "500ms"];

/// Runs [`SHORT`] against a server.
fn short(target: std::net::SocketAddr) -> crate::Benched {
    let target = target.to_string();
    let mut args = vec![target.as_str()];
    args.extend(SHORT);
    bench(&args)
}

#[test]
fn without_a_server_bench_reports_the_refusal_and_fails() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = bench_command(&[&address.to_string(), "-d", "1s"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("refused") && stderr.contains("does a server listen there?"),
        "{stderr}"
    );
    assert!(
        output.stdout.is_empty(),
        "no run took place, so there is no report"
    );
}

#[test]
fn a_server_that_never_echoes_leaves_everything_unfinished_and_the_run_invalid() {
    let target = server(|_, stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let seen = short(target);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    assert!(
        seen.reasons()
            .contains("5 messages were sent, and none came back"),
        "{}",
        seen.reasons()
    );
    assert_eq!(seen.number("/counts/unfinished"), 5.0);
    // Their age is a lower bound of their latency. It is part of the latencies.
    assert!(seen.number("/latency/response/max") > 4e8);
}

#[test]
fn an_echo_that_is_later_than_the_timeout_is_an_error() {
    let target = server(|_, stream| stream.read_to_end(&mut Vec::new()).map(drop)).to_string();
    let seen = bench(&[
        &target,
        "-c",
        "2",
        "-w",
        "0s",
        "-d",
        "1s",
        "--timeout",
        "200ms",
    ]);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert!(
        seen.error("timeout")["count"].as_u64().unwrap() >= 4,
        "{seen:#?}"
    );
}

#[test]
fn a_wrong_byte_is_found_with_its_place() {
    let target = echoing(64, |n, echo| {
        if n == 7 {
            echo[12] ^= 0x40;
        }
        Then::GoOn
    });
    let seen = short(target);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let error = seen.error("corrupt");
    // The eighth message of 64 bytes.
    assert_eq!(error["first"]["offset"], 7 * 64 + 12, "{error:#?}");
    assert!(error["first"]["connection"].is_u64());
    assert!(seen.number("/counts/errors") > 0.0);
    assert_eq!(seen.report["validity"]["verdict"], "invalid");
}

#[test]
fn surplus_bytes_are_an_error_and_never_throughput() {
    for surplus in [1, 64] {
        let target = echoing(64, move |n, echo| {
            if n == 3 {
                echo.extend(vec![b'!'; surplus]);
            }
            Then::GoOn
        });
        let seen = short(target);
        assert_eq!(seen.code, Some(3), "{seen:#?}");
        let error = seen.error("surplus");
        assert_eq!(error["first"]["offset"], 4 * 64, "{error:#?}");
        let (bytes, ok) = (
            seen.number("/throughput/bytes"),
            seen.number("/throughput/messages"),
        );
        assert_eq!(bytes, ok * 64.0);
    }
}

#[test]
fn an_echo_given_twice_is_surplus() {
    let target = echoing(64, |n, echo| {
        if n == 3 {
            let again = echo.clone();
            echo.extend(again);
        }
        Then::GoOn
    });
    let seen = short(target);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let detail = seen.error("surplus")["first"]["detail"].to_string();
    assert!(detail.contains("came back again"), "{detail}");
}

#[test]
fn bytes_of_another_connection_are_foreign() {
    let seen = short(swapping(64));
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let error = seen.error("foreign");
    let detail = error["first"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("the bytes of connection 0 at offset"),
        "{detail}"
    );
    assert_ne!(error["first"]["connection"], 0);
}

#[test]
fn an_end_of_stream_within_a_message_is_short() {
    let target = echoing(64, |n, echo| {
        if n == 3 {
            echo.truncate(32);
            return Then::End;
        }
        Then::GoOn
    });
    let seen = short(target);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let error = seen.error("short");
    assert_eq!(error["first"]["offset"], 3 * 64 + 32, "{error:#?}");
    assert!(
        error["first"]["detail"]
            .to_string()
            .contains("32 bytes into a message of 64")
    );
}

#[test]
fn missing_bytes_in_mid_stream_are_short_too() {
    let target = echoing(64, |n, echo| {
        if n == 3 {
            echo.drain(10..30);
        }
        Then::GoOn
    });
    let target = target.to_string();
    // Four messages under way: the bytes of later messages show that bytes are missing. Otherwise the client would
    // only wait.
    let seen = bench(&[&target, "-c", "1", "-P", "4", "-w", "0s", "-d", "500ms"]);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let error = seen.error("short");
    assert_eq!(error["first"]["offset"], 3 * 64 + 10, "{error:#?}");
}

/// Starts a server that ends each of the first three connections after about 500 messages, and no later one.
fn ending_early(reset: bool) -> String {
    let target = server(move |connection, stream| {
        use std::io::Write;
        let mut message = [0; 64];
        for n in 0.. {
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
            if n == 500 && connection < 3 {
                if reset {
                    SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                }
                return Ok(());
            }
        }
        Ok(())
    });
    target.to_string()
}

#[test]
fn a_reset_during_the_run_is_counted_and_the_run_goes_on() {
    let seen = bench(&[&ending_early(true), "-c", "3", "-w", "0s", "-d", "3s"]);
    seen.assert_measured();
    assert_eq!(seen.error("reset")["count"], 3, "{seen:#?}");
    assert_eq!(seen.number("/generator/connections_made"), 6.0);
    assert!(
        seen.number("/counts/ok") > 2000.0,
        "new connections replace the ones that were reset: {seen:#?}"
    );
    assert_every_message_has_one_end(&seen);
}

#[test]
fn an_end_of_stream_between_two_messages_is_not_a_wrong_echo() {
    let seen = bench(&[&ending_early(false), "-c", "3", "-w", "0s", "-d", "3s"]);
    seen.assert_measured();
    // If the next message has already arrived at the server, the kernel sends a reset instead of a FIN. Both happen.
    let errors = seen.run()["errors"].as_array().unwrap();
    assert!(
        errors
            .iter()
            .all(|e| e["kind"] == "closed" || e["kind"] == "reset"),
        "{errors:#?}"
    );
    assert_eq!(seen.number("/counts/errors"), 3.0);
}

#[test]
fn connections_that_are_down_most_of_the_time_make_the_run_invalid() {
    let target = echoing(64, |n, _| if n == 50 { Then::Reset } else { Then::GoOn });
    let seen = bench(&[&target.to_string(), "-c", "3", "-w", "0s", "-d", "1s"]);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert!(
        seen.reasons().contains("were down on average"),
        "{}",
        seen.reasons()
    );
    assert_every_message_has_one_end(&seen);
}

/// Makes a listener that accepts no connection. Its backlog has the length 1.
fn full_backlog() -> (Socket, String) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let target = listener.local_addr().unwrap().as_socket().unwrap();
    (listener, target.to_string())
}

/// The kernel does not answer a SYN while the backlog is full, so these connections are never made.
#[test]
fn connections_that_time_out_make_the_run_invalid() {
    let (_listener, target) = full_backlog();
    let seen = bench(&[
        &target,
        "-c",
        "20",
        "-w",
        "0s",
        "-d",
        "300ms",
        "--timeout",
        "500ms",
    ]);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert!(
        seen.reasons()
            .contains("20 connections were asked for, and only"),
        "{}",
        seen.reasons()
    );
    assert!(
        seen.error("connect")["first"]["detail"]
            .to_string()
            .contains("not connected within 500ms")
    );
}

#[test]
fn too_many_connections_for_the_descriptor_limit_are_refused_before_the_run() {
    let server = Embedded::start();
    let output = bench_command(&[&server.address.to_string(), "-c", "1000000"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("descriptors") && stderr.contains("merge"),
        "{stderr}"
    );
    assert_eq!(server.stop().accepted, 0);
}

#[test]
fn a_rate_beyond_the_machine_is_invalid_and_the_report_names_the_limit() {
    let seen = bench(&["-r", "5m", "-w", "0s", "-d", "1s"]);
    // Which limit comes first depends on the machine: the generator (4), the server, or the connections (both 5).
    assert!(matches!(seen.code, Some(4 | 5)), "{seen:#?}");
    let reasons = seen.reasons();
    assert!(
        reasons.contains("asked for 5,000,000 messages a second, achieved"),
        "{reasons}"
    );
    assert!(
        reasons.contains("was the limit") || reasons.contains("were the limit"),
        "{reasons}"
    );
    // No scheduled message is skipped.
    assert_eq!(seen.number("/counts/scheduled"), 5e6);
    assert!(seen.number("/counts/unfinished") > 1e6);
}

/// The window of a count ends with its last echo. So all messages come back within it, and only the rate shows the
/// overload.
#[test]
fn a_count_at_a_rate_beyond_the_machine_is_invalid_too() {
    let seen = bench(&["-r", "5m", "-n", "200k"]);
    // Which limit comes first depends on the machine: the generator (4), the server, or the connections (both 5).
    assert!(matches!(seen.code, Some(4 | 5)), "{seen:#?}");
    assert!(
        seen.reasons()
            .contains("asked for 5,000,000 messages a second"),
        "{}",
        seen.reasons()
    );
}

/// While the generator is stopped, echoes wait in its receive queues. Without the reason in the report, the server
/// would look slow.
#[test]
fn a_generator_that_was_stopped_reports_it() {
    let server = Process::serve(&[]);
    let target = server.address().to_string();
    let ways = [
        ["-r", "1000"].as_slice(),
        &["-P", "2"],
        &["--never-sleep", "-r", "1000"],
    ];
    for how in ways {
        let mut command = bench_command(&[&target, "-w", "0s", "-d", "4s", "--json", "-"]);
        let child = command
            .args(how)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        std::thread::sleep(Duration::from_millis(1500));
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        rustix::process::kill_process(pid, Signal::CONT).unwrap();
        let seen = benched(child);
        assert_eq!(seen.code, Some(4), "{seen:#?}");
        assert!(
            seen.reasons().contains("the generator itself stood still"),
            "{}",
            seen.reasons()
        );
    }
}

/// The schedule is always far ahead of the generator, so that messages are due at every time.
#[test]
fn an_interrupt_ends_a_run_that_is_always_behind_its_schedule() {
    let mut command = bench_command(&[
        "-c", "50", "-P", "100k", "-r", "500k", "-w", "0s", "-d", "60s",
    ]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let start = std::time::Instant::now();
    let status = eventually("the process to end", || {
        child.try_wait().unwrap().ok_or("it still runs")
    });
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_server_that_sends_first_is_a_wrong_echo() {
    let target = server(|_, stream| {
        use std::io::Write;
        stream.write_all(b"220 welcome\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let seen = short(target);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    // The greeting may arrive before or after the first message is sent. Before it, the bytes are surplus
    // (`bytes_before_the_first_message_are_surplus`). After it, they are corrupt (`wrong_bytes_instead_of_an_echo_…`).
    let errors = seen.run()["errors"].as_array().unwrap();
    assert!(
        errors
            .iter()
            .all(|e| e["kind"] == "surplus" || e["kind"] == "corrupt"),
        "{errors:#?}"
    );
}

/// The server answers one message at a time, each in 5 ms. So messages wait for each other in the server.
#[test]
fn a_slow_server_is_named_as_the_limit() {
    let busy = std::sync::Mutex::new(());
    let target = echoing(64, move |_, _| {
        let _one_at_a_time = busy.lock().unwrap();
        std::thread::sleep(Duration::from_millis(5));
        Then::GoOn
    });
    let target = target.to_string();
    measure_until_it_holds(|| {
        let seen = bench(&[&target, "-c", "20", "-r", "400", "-w", "0s", "-d", "1s"]);
        assert_eq!(seen.code, Some(5), "{seen:#?}");
        assert_eq!(seen.report["validity"]["verdict"], "overloaded");
        let reasons = seen.reasons();
        assert!(reasons.contains("the server was the limit"), "{reasons}");
    });
}

/// Every echo takes 20 ms, however few messages are under way: the server is far away, and idle.
#[test]
fn too_few_connections_are_named_as_the_limit() {
    let target = echoing(64, |_, _| {
        std::thread::sleep(Duration::from_millis(20));
        Then::GoOn
    });
    let target = target.to_string();
    measure_until_it_holds(|| {
        let seen = bench(&[&target, "-c", "5", "-r", "400", "-w", "0s", "-d", "1s"]);
        assert_eq!(seen.code, Some(5), "{seen:#?}");
        let reasons = seen.reasons();
        assert!(
            reasons.contains("the connections were the limit: 5 connections × 1 message under way"),
            "{reasons}"
        );
        assert!(
            reasons.contains("(-c)") && reasons.contains("(-P)"),
            "{reasons}"
        );
        // The condition of --fail-if comes first.
        let seen = bench(&[
            &target,
            "-c",
            "5",
            "-r",
            "400",
            "-w",
            "0s",
            "-d",
            "1s",
            "--fail-if",
            "p50>1ms",
        ]);
        assert_eq!(seen.code, Some(99), "{seen:#?}");
    });
}

/// Runs a measurement of 60 s and sends the signal after 1.5 s.
fn interrupted(target: &str, signal: Signal) -> crate::Benched {
    let mut command = bench_command(&[target, "-w", "0s", "-d", "60s", "--json", "-"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    std::thread::spawn(move || {
        // In the middle of the run: long after the connections are made, long before the end.
        std::thread::sleep(Duration::from_millis(1500));
        rustix::process::kill_process(pid, signal)
    });
    benched(child)
}

#[test]
fn an_interrupted_run_has_a_valid_report_of_the_time_before() {
    let server = Embedded::start();
    for signal in [Signal::INT, Signal::TERM] {
        let seen = interrupted(&server.address.to_string(), signal);
        assert_eq!(seen.code, Some(130), "{seen:#?}");
        assert!(seen.only_the_machine(), "{}", seen.reasons());
        assert_eq!(seen.run()["interrupted"], true);
        let window_ns = seen.number("/window_ns");
        assert!((0.5e9..10e9).contains(&window_ns), "{window_ns}");
        assert!(seen.number("/counts/ok") > 0.0);
        assert_every_message_has_one_end(&seen);
    }
}

/// Fails unless each scheduled message is counted exactly once as ok, failed or unfinished.
#[track_caller]
fn assert_every_message_has_one_end(seen: &crate::Benched) {
    let count = |name: &str| seen.number(&format!("/counts/{name}"));
    let ends = count("ok") + count("failed") + count("unfinished");
    assert_eq!(count("scheduled"), ends, "{:#}", seen.run()["counts"]);
}

#[test]
fn an_interrupt_while_connecting_reports_that_nothing_was_measured() {
    // The backlog is full and no connection is accepted, so the generator connects until the timeout.
    let (_listener, target) = full_backlog();
    let mut child = bench_command(&[&target, "-c", "20"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Waits until the process catches SIGINT, which is signal 2 and bit 1 of `SigCgt` (proc(5)).
    let pid = child.id();
    eventually("SIGINT to be caught", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status
            .lines()
            .find(|line| line.starts_with("SigCgt:"))
            .unwrap();
        let mask = u64::from_str_radix(caught.split_whitespace().nth(1).unwrap(), 16).unwrap();
        if mask & 2 != 0 { Ok(()) } else { Err(mask) }
    });
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = eventually("the process to end", || {
        child.try_wait().unwrap().ok_or("it still runs")
    });
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("before anything was measured"), "{stderr}");
}

#[test]
fn a_closed_standard_output_does_not_cause_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let mut command = bench_command(&["-w", "0s", "-d", "200ms", "--json"]);
    let mut child = command
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(141), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(
        file.exists(),
        "the report file is written although standard output is closed"
    );
}

#[test]
fn a_server_that_ends_during_the_run_is_reported_and_the_run_ends_in_time() {
    let server = Process::serve(&[]);
    let mut command = bench_command(&[
        &server.address().to_string(),
        "-w",
        "0s",
        "-d",
        "2s",
        "--json",
        "-",
    ]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    drop(server);
    let seen = benched(child);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    let reasons = seen.reasons();
    assert!(
        reasons.contains("were down on average, after errors"),
        "{reasons}"
    );
    assert!(seen.number("/counts/ok") > 0.0);
    let errors = seen.run()["errors"].as_array().unwrap();
    assert!(
        errors.iter().any(|e| e["kind"] == "connect"),
        "the new attempts must have failed: {errors:#?}"
    );
}

/// The window is as long as the run really took. So it includes the timeout of the messages that fail.
#[test]
fn the_window_of_a_count_includes_the_errors_at_its_end() {
    let target = server(|_, stream| {
        use std::io::Write;
        let mut message = [0; 64];
        for _ in 0..20 {
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        }
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let target = target.to_string();
    let seen = bench(&[&target, "-c", "5", "-n", "105", "--timeout", "500ms"]);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert!(seen.number("/window_ns") > 4e8, "{seen:#?}");
    assert_every_message_has_one_end(&seen);
}

#[test]
fn a_count_of_messages_that_never_come_back_ends() {
    let target = server(|_, stream| stream.read_to_end(&mut Vec::new()).map(drop)).to_string();
    let start = std::time::Instant::now();
    let seen = bench(&[&target, "-c", "1", "-n", "1000000", "--timeout", "200ms"]);
    // If a message is under way when the run gives up, the server ends its stream without the echo: a wrong echo (3).
    assert!(matches!(seen.code, Some(3 | 4)), "{seen:#?}");
    assert!(start.elapsed() < LIMIT);
}

#[test]
fn options_that_contradict_each_other_are_usage_errors_with_a_reason() {
    let cases: [(&[&str], &str); 18] = [
        (
            &["127.0.0.1:7", "-n", "5", "-d", "5s"],
            "cannot be used with",
        ),
        (&["127.0.0.1:7", "--arrivals", "poisson"], "need a rate"),
        (&["127.0.0.1:7", "-n", "5", "-w", "1s"], "no warm-up"),
        (&["127.0.0.1:7", "-t", "60"], "some threads would have none"),
        (
            &["127.0.0.1:7", "--sweep", "rate=1k..2k*2", "-r", "5"],
            "fixes what --sweep",
        ),
        (
            &["127.0.0.1:7", "--find-max", "errors>0"],
            "such as p99<2ms",
        ),
        (
            &["127.0.0.1:7", "--fail-if", "regress(p99)>5%"],
            "needs several targets",
        ),
        (
            &["127.0.0.1:7", "127.0.0.1:8", "--runs", "2"],
            "at least 3 runs",
        ),
        (
            &["127.0.0.1:7", "127.0.0.1:8", "--sweep", "rate=1,2"],
            "take one target",
        ),
        (
            &["unix:/tmp/x", "--source", "127.0.0.1"],
            "no source address",
        ),
        (&["127.0.0.1:auto"], "auto is for servers"),
        (
            &["127.0.0.1:7", "--source", "192.0.2.1"],
            "is it an address of this machine?",
        ),
        (&["unix:/tmp/x", "--no-delay", "off"], "never delays"),
        (
            &["127.0.0.1:7", "--find-max", "p99<1ms", "--hgrm", "x"],
            "one distribution",
        ),
        (&["127.0.0.1:7", "--csv", "-"], "name a file"),
        (
            &["127.0.0.1:7", "--pin", "1000"],
            "may not use processor 1000",
        ),
        (&["127.0.0.1:7", "--csv", "x", "--html", "x"], "to one file"),
        (
            &["127.0.0.1:7", "--runs", "3", "--hgrm", "x"],
            "one distribution",
        ),
    ];
    for (args, reason) in cases {
        let output = bench_command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(
            stderr.contains(reason),
            "{args:?}: the error should contain {reason:?}: {stderr}"
        );
    }
}

#[test]
fn a_report_file_that_cannot_be_written_is_reported_before_the_run() {
    let start = std::time::Instant::now();
    let output = mio_echo()
        .args(["bench", "-d", "60s", "--html", "/does/not/exist.html"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot write /does/not/exist.html"),
        "{stderr}"
    );
    assert!(start.elapsed() < LIMIT);
}

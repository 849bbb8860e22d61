//! What the figures must be when the truth is known: stops, rates, sizes, counts.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{Embedded, Process};
use crate::{Benched, bench, bench_command, benched};

/// A run of ten seconds, in the middle of which the server is stopped for one.
fn with_a_stop_of_a_second(args: &[&str]) -> Benched {
    let server = Process::serve(&[]);
    let target = server.address().to_string();
    let mut command = bench_command(&[&target, "-w", "0s", "-d", "10s", "--json", "-"]);
    let child = command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(1));
    server.signal(Signal::CONT);
    benched(child.wait_with_output().unwrap())
}

/// A tenth of all messages fall due within the stop and wait for its end: from one second down to none. So of a hundred
/// messages the slowest has waited for 0.9 s or more.
#[test]
fn an_open_loop_sees_a_stop_as_long_as_it_was() {
    let seen = with_a_stop_of_a_second(&["-r", "2000", "-c", "20"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let response = seen.number("/latency/response/percentiles/99") / 1e9;
    assert!(
        (0.80..1.05).contains(&response),
        "response p99 {response} s: {seen:#?}"
    );
    // Twenty messages were under way: one in a thousand.
    let service = seen.number("/latency/service/percentiles/99") / 1e9;
    assert!(service < 0.2, "service p99 {service} s: {seen:#?}");
    let longest = seen.number("/latency/service/max") / 1e9;
    assert!((0.9..1.3).contains(&longest), "service max {longest} s");
    let (rate, asked) = (seen.number("/throughput/messages_per_second"), 2000.0);
    assert!((rate / asked - 1.0).abs() < 0.005, "{rate}");
}

#[test]
fn a_closed_loop_says_what_it_cannot_see() {
    let seen = with_a_stop_of_a_second(&["-c", "20"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let response = seen.number("/latency/response/percentiles/99") / 1e9;
    assert!(response < 0.2, "this is what it cannot see: {response} s");
    let notes = seen.notes();
    assert!(notes.contains("coordinated omission"), "{notes}");
    assert!(
        ["1.0", "99"]
            .iter()
            .any(|s| notes.contains(&format!("nothing came back for {s}"))),
        "{notes}"
    );
    // In a closed loop the two are the same.
    let latency = &seen.run()["latency"];
    assert_eq!(latency["response"], latency["service"]);
}

#[test]
fn a_rate_that_can_be_reached_is_reached() {
    let server = Embedded::start();
    for arrivals in ["fixed", "poisson"] {
        let target = server.address.to_string();
        let seen = bench(&[
            &target,
            "-r",
            "5k",
            "-d",
            "2s",
            "-w",
            "200ms",
            "--arrivals",
            arrivals,
        ]);
        assert_eq!(seen.code, Some(0), "{seen:#?}");
        let achieved = seen.number("/throughput/messages_per_second");
        let scheduled = seen.number("/counts/scheduled") / 2.0;
        assert!(
            (achieved / scheduled - 1.0).abs() < 0.005,
            "{achieved} of {scheduled}"
        );
        assert!((scheduled / 5000.0 - 1.0).abs() < 0.05, "{scheduled}");
        assert!(seen.stderr.contains("sends late by"), "{}", seen.stderr);
        assert_eq!(seen.number("/counts/ok"), seen.number("/counts/scheduled"));
    }
}

/// Ten thousand connections, each with its own part of the schedule. Half of the messages leave within a fraction of a
/// millisecond, whatever the machine does to the others.
#[test]
fn ten_thousand_connections_are_punctual() {
    let server = Process::serve(&[]);
    let target = server.address().to_string();
    let connections = if cfg!(mio_unsupported_force_poll_poll) {
        "1000"
    } else {
        "10000"
    };
    let seen = bench(&[&target, "-c", connections, "-r", "5k", "-d", "3s"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let achieved = seen.number("/throughput/messages_per_second");
    assert!((achieved / 5000.0 - 1.0).abs() < 0.005, "{achieved}");
    let late = seen.number("/generator/lateness/percentiles/50");
    assert!(
        late < 2e5,
        "half of the messages were late by {late} ns or more: {}",
        seen.stderr
    );
}

#[test]
fn messages_larger_than_all_buffers_are_no_deadlock() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[
        &target, "-s", "1MiB", "-c", "4", "-P", "2", "--sndbuf", "4096", "--rcvbuf", "4096", "-n",
        "40",
    ]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    assert_eq!(seen.number("/counts/ok"), 40.0);
    assert_eq!(server.stop().bytes_in, 40 << 20);
}

#[test]
fn every_message_of_a_count_is_sent_and_verified_over_threads_and_sizes() {
    let server = Embedded::start();
    let target = server.address.to_string();
    for size in ["1", "1-300", "64:9,4096:1"] {
        let seen = bench(&[
            &target, "-n", "10k", "-c", "7", "-t", "3", "-P", "5", "-s", size,
        ]);
        assert_eq!(seen.code, Some(0), "{seen:#?}");
        assert_eq!(seen.number("/counts/ok"), 10_000.0, "{size}");
        assert_eq!(seen.number("/latency/response/count"), 10_000.0, "{size}");
    }
    let stats = server.stop();
    assert_eq!(stats.accepted, 3 * 7);
}

#[test]
fn the_bytes_that_the_server_counts_are_those_that_are_reported() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, "-n", "5000", "-s", "100-1000"]);
    assert_eq!(
        server.stop().bytes_out as f64,
        seen.number("/throughput/bytes")
    );
}

#[test]
fn connect_ask_close_makes_a_connection_for_each_message() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, "-n", "2000", "-c", "10", "--reconnect", "1"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    assert_eq!(seen.number("/counts/ok"), 2000.0);
    assert!(seen.number("/latency/connect/count") >= 2000.0, "{seen:#?}");
    assert!(server.stop().accepted >= 2000);
}

/// The first connections are there at once, the others as the ramp has it.
#[test]
fn a_ramp_takes_its_time() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let start = std::time::Instant::now();
    let seen = bench(&[&target, "-c", "100", "--connect-rate", "200", "-n", "100"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(490), "{took:?}");
}

#[test]
fn connections_come_from_the_addresses_that_are_named() {
    let seen_by_server = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let peers = seen_by_server.clone();
    let target = crate::servers::server(move |_, stream| {
        use std::io::{Read, Write};
        peers
            .lock()
            .unwrap()
            .push(stream.peer_addr()?.ip().to_string());
        let mut message = [0; 64];
        loop {
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        }
    });
    let seen = bench(&[
        &target.to_string(),
        "-c",
        "6",
        "-n",
        "60",
        "--source",
        "127.0.0.5,127.0.0.6,127.0.0.7",
    ]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let mut peers = seen_by_server.lock().unwrap().clone();
    peers.sort();
    let expected = ["127.0.0.5", "127.0.0.6", "127.0.0.7"]
        .map(|ip| [ip; 2])
        .concat();
    assert_eq!(peers, expected);
}

#[test]
fn a_unix_domain_socket_is_measured_too() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("echo.sock").display());
    let mut command = crate::common::mio_echo();
    command.args(["serve", &address]);
    let _server = Process::start(command, 1);
    // More than a backlog has room for: connect(2) says EAGAIN, and no event tells when there is room.
    let seen = bench(&[&address, "-c", "300", "-n", "3000"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    assert_eq!(seen.number("/counts/ok"), 3000.0);
}

#[test]
fn without_verification_the_report_says_so() {
    let seen = bench(&["-n", "100", "-c", "2", "--verify", "off"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    assert!(
        seen.notes().contains("only the lengths"),
        "{}",
        seen.notes()
    );
    assert!(seen.stderr.contains("lengths only"), "{}", seen.stderr);
}

#[test]
fn the_highest_rate_that_holds_is_found_between_one_that_does_and_one_that_does_not() {
    // A server whose two connections answer every 10 ms: 200 messages a second and no more.
    let target = crate::servers::echoing(64, |_, _| {
        std::thread::sleep(Duration::from_millis(10));
        crate::servers::Then::GoOn
    });
    let seen = bench(&[
        &target.to_string(),
        "-c",
        "2",
        "-w",
        "0s",
        "-d",
        "600ms",
        "--timeout",
        "1s",
        "--find-max",
        "p50<50ms",
    ]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let found = &seen.report["find_max"];
    let (holds, fails) = (
        found["rate"].as_f64().unwrap(),
        found["failed_at"].as_f64().unwrap(),
    );
    assert!(holds < fails && fails / holds < 1.06, "{found}");
    assert!((100.0..215.0).contains(&holds), "{found}");
}

/// Which of `::1` and `127.0.0.1` comes first is the system's choice.
#[test]
fn of_a_hostname_the_address_is_measured_where_somebody_listens() {
    let server = Embedded::start();
    let target = format!("localhost:{}", server.address.port());
    let seen = bench(&[&target, "-n", "100", "-c", "2"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    assert!(
        seen.stderr.contains("a numeric address is deterministic"),
        "{}",
        seen.stderr
    );
}

#[test]
fn messages_further_apart_than_any_timeout_are_all_sent() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[
        &target,
        "-c",
        "1",
        "-n",
        "5",
        "-r",
        "4",
        "--timeout",
        "100ms",
    ]);
    assert_eq!(
        seen.number("/counts/ok") + seen.number("/counts/failed"),
        5.0,
        "{seen:#?}"
    );
}

/// Three connections cannot be dealt out evenly to two threads; the messages follow the connections.
#[test]
fn threads_share_count_rate_and_ramp() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let start = std::time::Instant::now();
    let seen = bench(&[
        &target,
        "-c",
        "3",
        "-t",
        "2",
        "-r",
        "600",
        "-n",
        "600",
        "--connect-rate",
        "4",
    ]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let window_ns = seen.number("/window_ns");
    assert!((0.95e9..1.2e9).contains(&window_ns), "{window_ns}");
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(1490),
        "the third connection is made after half a second: {took:?}"
    );
}

#[test]
fn a_server_may_be_compared_with_itself() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, &target, "--runs", "3", "-w", "0s", "-d", "200ms"]);
    let sides: Vec<_> = seen.report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["side"].as_str().unwrap())
        .collect();
    assert_eq!(sides, ["a", "b", "b", "a", "a", "b"]);
    assert_eq!(seen.report["comparison"]["count_a"], 3);
}

#[test]
fn an_interrupt_in_the_warm_up_measures_nothing_and_says_so() {
    let server = Embedded::start();
    let mut command = bench_command(&[&server.address.to_string(), "-w", "60s", "--json", "-"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    server.until("everybody to be there", |stats| {
        stats.accepted == 50 && stats.bytes_in > 10_000
    });
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let seen = benched(child.wait_with_output().unwrap());
    assert_eq!(seen.code, Some(130), "{seen:#?}");
    assert!(
        seen.reasons().contains("in the warm-up"),
        "{}",
        seen.reasons()
    );
}

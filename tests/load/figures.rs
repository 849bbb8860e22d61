//! Figures whose right values are known: rates, sizes and counts.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{Embedded, Process};
use crate::{Benched, bench, bench_command, benched};

/// A client that writes without reading, against a server that reads only after its write, would block forever.
#[test]
fn messages_larger_than_all_socket_buffers_do_not_deadlock() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[
        &target, "-s", "1MiB", "-c", "4", "-P", "2", "--sndbuf", "4096", "--rcvbuf", "4096", "-n",
        "40",
    ]);
    seen.assert_measured();
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
        seen.assert_measured();
        assert_eq!(seen.number("/counts/ok"), 10_000.0, "{size}");
        assert_eq!(seen.number("/latency/response/count"), 10_000.0, "{size}");
    }
    let stats = server.stop();
    assert_eq!(stats.accepted, 3 * 7);
}

#[test]
fn the_report_and_the_server_count_the_same_bytes() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, "-n", "5000", "-s", "100-1000"]);
    assert_eq!(
        server.stop().bytes_out as f64,
        seen.number("/throughput/bytes")
    );
}

#[test]
fn reconnect_after_one_message_makes_a_connection_for_each_message() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, "-n", "2000", "-c", "10", "--reconnect", "1"]);
    seen.assert_measured();
    assert_eq!(seen.number("/counts/ok"), 2000.0);
    // The first ten connections are made before the window.
    assert_eq!(seen.number("/latency/opening/count"), 10.0, "{seen:#?}");
    assert!(seen.number("/latency/connect/count") >= 1990.0, "{seen:#?}");
    let cycles = seen.number("/latency/cycle/count");
    assert!((1980.0..=1990.0).contains(&cycles), "{seen:#?}");
    let p50 = |times: &str| seen.number(&format!("/latency/{times}/percentiles/50"));
    assert!(
        p50("cycle") > p50("connect") && p50("cycle") > p50("first_byte"),
        "{seen:#?}"
    );
    assert!(server.stop().accepted >= 2000);
}

/// The first connection is made at once, the last one after 99 × 5 ms.
#[test]
fn connect_rate_spreads_the_connections_over_time() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let start = std::time::Instant::now();
    let seen = bench(&[&target, "-c", "100", "--connect-rate", "200", "-n", "100"]);
    seen.assert_measured();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(490), "{took:?}");
}

#[test]
fn connections_come_from_the_source_addresses_in_turn() {
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
    seen.assert_measured();
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
    // More connections than the backlog holds: connect(2) fails with EAGAIN, and no event reports when the backlog
    // has room.
    let seen = bench(&[&address, "-c", "300", "-n", "3000"]);
    seen.assert_measured();
    assert_eq!(seen.number("/counts/ok"), 3000.0);
}

#[test]
fn the_report_says_that_bytes_were_not_verified() {
    let seen = bench(&["-n", "100", "-c", "2", "--verify", "off"]);
    seen.assert_measured();
    assert!(
        seen.notes().contains("only the lengths"),
        "{}",
        seen.notes()
    );
    assert!(seen.stderr.contains("lengths only"), "{}", seen.stderr);
}

#[test]
fn find_max_finds_the_highest_rate_at_which_the_condition_holds() {
    // Two connections, each with one echo in 10 ms: at most 200 messages a second.
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
    seen.assert_measured();
    let found = &seen.report["find_max"];
    let (holds, fails) = (
        found["rate"].as_f64().unwrap(),
        found["bound"].as_f64().unwrap(),
    );
    assert!(holds < fails && fails / holds < 1.06, "{found}");
    assert!((100.0..215.0).contains(&holds), "{found}");
    assert_eq!(found["confirmed"], true, "{found}");
    let tried = found["tried"].as_array().unwrap();
    let at = |rate: f64| tried.iter().find(|tried| tried["rate"] == rate).unwrap();
    assert!(at(holds)["runs"].as_u64() >= Some(3), "{found}");
    assert!(at(fails)["runs"].as_u64() >= Some(3), "{found}");
    assert_ne!(at(fails)["why"], "", "{found}");
}

/// The system chooses whether `::1` or `127.0.0.1` comes first. The server listens only on `127.0.0.1`.
#[test]
fn a_hostname_is_measured_at_the_address_where_a_server_listens() {
    let server = Embedded::start();
    let target = format!("localhost:{}", server.address.port());
    let seen = bench(&[&target, "-n", "100", "-c", "2"]);
    seen.assert_measured();
    assert!(
        seen.stderr.contains("a numeric address is deterministic"),
        "{}",
        seen.stderr
    );
}

#[test]
fn messages_with_intervals_longer_than_the_timeout_are_all_sent() {
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

/// Two threads cannot have the same number of three connections. Each thread sends the messages of its connections.
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
    seen.assert_measured();
    let window_ns = seen.number("/window_ns");
    assert!((0.95e9..1.2e9).contains(&window_ns), "{window_ns}");
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(1490),
        "the third connection is made after 0.5 s, and the window is 1 s: {took:?}"
    );
}

#[test]
fn a_comparison_alternates_the_order_of_its_two_targets() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, &target, "--runs", "3", "-w", "0s", "-d", "200ms"]);
    assert_eq!(sides(&seen), ["a", "b", "b", "a", "a", "b"]);
    assert_eq!(seen.report["comparisons"][0]["count_a"], 3);
}

#[test]
fn of_several_targets_each_is_compared_with_the_first() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[
        &target, &target, &target, "--runs", "3", "-w", "0s", "-d", "200ms",
    ]);
    assert_eq!(sides(&seen), ["a", "b", "c", "b", "c", "a", "c", "a", "b"]);
    let comparisons = seen.report["comparisons"].as_array().unwrap();
    let sides: Vec<_> = comparisons.iter().map(|c| c["side"].as_str()).collect();
    assert_eq!(sides, [Some("b"), Some("c")]);
    // Two comparisons of three figures each.
    assert_eq!(comparisons[0]["intervals"], 6);
}

#[test]
fn the_messages_of_all_connections_are_those_of_the_window() {
    let server = Embedded::start();
    let target = server.address.to_string();
    for args in [
        &["-n", "10", "-c", "10"][..],
        &["-d", "300ms", "-w", "100ms"],
    ] {
        let seen = bench(&[&[target.as_str()], args].concat());
        let shares = seen.run()["fairness"]["shares"].as_array().unwrap();
        let sum: u64 = shares.iter().map(|share| share.as_u64().unwrap()).sum();
        assert_eq!(sum as f64, seen.number("/counts/ok"), "{args:?}");
    }
}

#[test]
fn each_size_of_a_mix_has_its_own_response_times() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let seen = bench(&[&target, "-n", "10k", "-s", "64:1,1MiB:1", "-c", "4"]);
    let sizes = seen.run()["sizes"].as_array().unwrap();
    let largest: Vec<_> = sizes
        .iter()
        .map(|s| s["largest"].as_u64().unwrap())
        .collect();
    assert_eq!(largest, [64, 1 << 20]);
    let of = |n: usize, name: &str| sizes[n]["response"][name].as_f64().unwrap();
    assert_eq!(of(0, "count") + of(1, "count"), 10_000.0);
    assert!(of(1, "min") > of(0, "min"), "{sizes:#?}");
    assert!(seen.stderr.contains("1048576 B"), "{}", seen.stderr);
}

#[test]
fn a_pinned_generator_runs_on_the_processors_of_the_list() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let first = (0..1024).find(|n| allowed.is_set(*n)).unwrap().to_string();
    let mut command = bench_command(&[
        &target, "-d", "60s", "-t", "2", "--pin", &first, "--json", "-",
    ]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.until("the first messages", |stats| stats.bytes_in > 10_000);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut lists = Vec::new();
    for task in tasks.flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap();
        if read("comm").starts_with("load-") {
            let status = read("status");
            let list = status
                .lines()
                .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
            lists.push(list.unwrap().trim().to_owned());
        }
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let seen = benched(child);
    assert_eq!(lists, [first.clone(), first.clone()]);
    assert_eq!(
        seen.report["options"]["pin"].to_string(),
        format!("[{first}]")
    );
}

/// The sides of the runs, in the order in which they were made.
fn sides(seen: &Benched) -> Vec<&str> {
    let runs = seen.report["runs"].as_array().unwrap().iter();
    runs.map(|run| run["side"].as_str().unwrap()).collect()
}

#[test]
fn a_random_order_is_repeated_with_its_seed() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let of_seed = |seed: &str| {
        bench(&[
            &target, &target, "--runs", "8", "-w", "0s", "-d", "20ms", "--order", "random",
            "--seed", seed,
        ])
    };
    let first = of_seed("5");
    assert_eq!(sides(&first), sides(&of_seed("5")));
    assert!((6..10).any(|seed| sides(&first) != sides(&of_seed(&seed.to_string()))));
}

#[test]
fn a_search_that_is_interrupted_says_so() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let mut command = bench_command(&[
        &target,
        "--find-max",
        "p99<1ns",
        "-w",
        "0s",
        "-d",
        "60s",
        "--json",
        "-",
    ]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    server.until("the first messages of the first run", |stats| {
        stats.bytes_in > 10_000
    });
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let seen = benched(child);
    assert_eq!(seen.code, Some(130), "{seen:#?}");
    assert_eq!(seen.report["interrupted"], true, "{seen:#?}");
    let notes = seen.report["validity"]["notes"].to_string();
    assert!(
        notes.contains("the search was not over after 0 runs"),
        "{notes}"
    );
}

#[test]
fn an_interrupt_in_the_warm_up_reports_that_nothing_was_measured() {
    let server = Embedded::start();
    let mut command = bench_command(&[&server.address.to_string(), "-w", "60s", "--json", "-"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    server.until("all 50 connections and the first messages", |stats| {
        stats.accepted == 50 && stats.bytes_in > 10_000
    });
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let seen = benched(child);
    assert_eq!(seen.code, Some(130), "{seen:#?}");
    assert!(
        seen.reasons().contains("in the warm-up"),
        "{}",
        seen.reasons()
    );
}

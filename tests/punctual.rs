//! Measurements that are correct only if the generator has a processor for itself.
//!
//! So one test runs at a time. A measurement whose assertions fail is repeated (`measure_until_it_holds`).
#![cfg(unix)]

mod common;

use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::benched::*;
use common::*;
use rustix::process::Signal;

/// The test that holds this lock is the only one that runs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test runs.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Benches a server for 10 seconds. After 4 seconds, the server is stopped (SIGSTOP) for 1 second.
fn bench_with_a_stop_of_one_second(args: &[&str]) -> Benched {
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
    benched(child)
}

#[test]
fn an_open_loop_measures_the_full_length_of_a_stop() {
    let _alone = alone();
    measure_until_it_holds(|| {
        let seen = bench_with_a_stop_of_one_second(&["-r", "2000", "-c", "20"]);
        assert_eq!(seen.code, Some(0), "{seen:#?}");
        let response = seen.number("/latency/response/percentiles/99") / 1e9;
        assert!(
            (0.80..1.05).contains(&response),
            "response p99 {response} s: {seen:#?}"
        );
        // At the stop, 20 of the 20,000 messages were under way: one in a thousand.
        let service = seen.number("/latency/service/percentiles/99") / 1e9;
        assert!(service < 0.2, "service p99 {service} s: {seen:#?}");
        let longest = seen.number("/latency/service/max") / 1e9;
        assert!((0.9..1.3).contains(&longest), "service max {longest} s");
        let (rate, asked) = (seen.number("/throughput/messages_per_second"), 2000.0);
        assert!((rate / asked - 1.0).abs() < 0.005, "{rate}");
    });
}

#[test]
fn a_closed_loop_reports_that_it_cannot_measure_a_stop() {
    let _alone = alone();
    measure_until_it_holds(|| {
        let seen = bench_with_a_stop_of_one_second(&["-c", "20"]);
        assert_eq!(seen.code, Some(0), "{seen:#?}");
        let response = seen.number("/latency/response/percentiles/99") / 1e9;
        assert!(
            response < 0.2,
            "a closed loop cannot measure the stop, but p99 is {response} s"
        );
        let notes = seen.notes();
        assert!(notes.contains("coordinated omission"), "{notes}");
        assert!(
            ["1.0", "99"]
                .iter()
                .any(|s| notes.contains(&format!("nothing came back for {s}"))),
            "{notes}"
        );
        // In a closed loop, response time and service time are equal.
        let latency = &seen.run()["latency"];
        assert_eq!(latency["response"], latency["service"]);
    });
}

#[test]
fn the_generator_reaches_a_rate_that_is_possible() {
    let _alone = alone();
    measure_until_it_holds(|| {
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
                "{achieved} of {scheduled} messages a second"
            );
            assert!((scheduled / 5000.0 - 1.0).abs() < 0.05, "{scheduled}");
            assert!(seen.stderr.contains("sends late by"), "{}", seen.stderr);
            assert_eq!(seen.number("/counts/ok"), seen.number("/counts/scheduled"));
        }
    });
}

#[test]
fn ten_thousand_connections_are_punctual() {
    let _alone = alone();
    measure_until_it_holds(|| {
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
            "half of the messages were sent {late} ns late or more: {}",
            seen.stderr
        );
    });
}

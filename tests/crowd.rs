//! Servers with thousands of clients. One test runs at a time, because the number of descriptors of a process is
//! limited.

#![cfg(target_os = "linux")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use common::*;
use socket2::{Domain, Socket, Type};

/// The number of clients. This project expects a limit of 20,000 descriptors for each process. poll(2) checks every
/// descriptor in every call, so with that selector the number is smaller.
const CROWD: usize = if cfg!(mio_unsupported_force_poll_poll) {
    1_500
} else {
    15_000
};

/// The test that holds this lock is the only one that runs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Raises the descriptor limit, and waits until no other test runs.
fn alone() -> MutexGuard<'static, ()> {
    mio_echo::raise_descriptor_limit().unwrap();
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects `clients` clients: starts all connections and waits for none of them.
fn burst(address: SocketAddr, clients: usize) -> Vec<TcpStream> {
    let connecting: Vec<_> = (0..clients)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let started = socket.connect(&address.into());
            let in_progress = |e: &std::io::Error| e.raw_os_error() == Some(nix::libc::EINPROGRESS);
            assert!(
                started.as_ref().err().is_none_or(in_progress),
                "{started:?}"
            );
            // From here on, a write blocks until the connection is made.
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            socket.set_write_timeout(Some(LIMIT)).unwrap();
            TcpStream::from(socket)
        })
        .collect();
    connecting
}

/// Sends a message on every connection, then reads and checks every echo.
fn ping_all(clients: &[TcpStream]) {
    for (n, mut client) in clients.iter().enumerate() {
        client.write_all(&(n as u64).to_le_bytes()).unwrap();
    }
    for (n, mut client) in clients.iter().enumerate() {
        let mut echo = [0; 8];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(u64::from_le_bytes(echo), n as u64);
    }
}

/// 15,000 clients connect in a burst, and the server serves all of them. After they have closed, its descriptors and
/// its memory are as before.
#[test]
fn a_burst_is_served_and_leaves_nothing_behind() {
    let _alone = alone();
    let server = Process::serve(&["--idle-timeout", "1h", "--json"]);
    let descriptors = server.descriptors();
    ping_all(&burst(server.address(), 64));
    eventually("the close of the first 64 clients", || {
        match server.descriptors() {
            n if n == descriptors => Ok(()),
            n => Err(n),
        }
    });
    let resident = server.resident();
    let clients = burst(server.address(), CROWD);
    ping_all(&clients);
    assert_eq!(server.descriptors(), descriptors + CROWD);
    drop(clients);
    eventually("the release of the descriptors", || {
        match server.descriptors() {
            n if n == descriptors => Ok(()),
            n => Err(n),
        }
    });
    eventually("the release of the memory", || {
        match server.resident().saturating_sub(resident) {
            left if left < 512 * 1024 => Ok(()),
            left => Err(left),
        }
    });
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["end_of_stream"], CROWD + 64, "{stats}");
}

/// One load generator process has 15,000 connections.
#[test]
fn one_load_generator_holds_fifteen_thousand_connections() {
    let _alone = alone();
    let server = Process::serve(&["--json"]);
    let report = bench(&[&server.addresses[0], "-c", &CROWD.to_string(), "-d", "3s"]).unwrap();
    let run = &report["runs"][0];
    assert_eq!(run["generator"]["connections_opened"], CROWD);
    assert_eq!(run["counts"]["failed"], 0, "{}", run["errors"]);
    // In a closed loop, every connection must get echoes.
    assert!(
        run["fairness"]["min"].as_u64().unwrap() > 0,
        "{}",
        run["fairness"]
    );
    let stats = server.stop_and_count();
    assert_eq!(stats["accepted"], CROWD, "{stats}");
}

/// Three generators together have 40,000 connections, and their reports are merged into one.
///
/// Each generator has its own server, because the descriptor limit also applies to the server's process. Each connects
/// from three source addresses.
#[test]
fn three_load_generators_hold_forty_thousand_connections() {
    let _alone = alone();
    let each = if cfg!(mio_unsupported_force_poll_poll) {
        500
    } else {
        13_334
    };
    let folder = tempfile::tempdir().unwrap();
    let servers: Vec<_> = (0..3).map(|_| Process::serve(&["--json"])).collect();
    let start_at = SystemTime::now() + TO_CONNECT;
    let start_at = humantime::format_rfc3339(start_at).to_string();
    let generators: Vec<_> = servers
        .iter()
        .enumerate()
        .map(|(n, server)| {
            let file = folder.path().join(format!("{n}.json"));
            let sources = [1, 2, 3]
                .map(|net| format!("127.0.{net}.{}", n + 1))
                .join(",");
            let mut command = mio_echo();
            command
                .args([
                    "bench",
                    &server.addresses[0],
                    "-r",
                    "1000",
                    "-d",
                    "8s",
                    "-w",
                    "0s",
                ])
                .args([
                    "-c",
                    &each.to_string(),
                    "--source",
                    &sources,
                    "--timeout",
                    "30s",
                    "--start-at",
                    &start_at,
                    "--json",
                ])
                .arg(&file)
                .stdout(Stdio::null());
            (command.spawn().unwrap(), file)
        })
        .collect();
    let mut files = Vec::new();
    for (mut generator, file) in generators {
        let status = generator.wait().unwrap();
        assert!(file.exists(), "{status}");
        files.push(file);
    }
    let merged = mio_echo()
        .arg("merge")
        .args(&files)
        .args(["--json", "-"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&merged.stdout).unwrap();
    let run = &report["runs"][0];
    assert_eq!(
        run["generator"]["connections_opened"],
        3 * each,
        "{}",
        report["validity"]
    );
    assert_eq!(run["counts"]["failed"], 0, "{}", run["errors"]);
    assert_eq!(
        run["counts"]["scheduled"],
        3 * 8 * 1000,
        "{}",
        run["counts"]
    );
    for server in servers {
        let stats = server.stop_and_count();
        assert_eq!(stats["accepted"], each, "{stats}");
    }
}

/// The time for 40,000 connections. The server's idle timeout is longer.
const TO_CONNECT: Duration = Duration::from_secs(20);

/// Runs `mio-echo bench` and returns its JSON report.
fn bench(args: &[&str]) -> Result<serde_json::Value, String> {
    let output = mio_echo()
        .arg("bench")
        .args(args)
        .args(["--json", "-"])
        .output();
    let output = output.map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Fault 5 (docs/FAULTS.md).
#[test]
fn a_storm_of_connects_and_closes_leaks_no_descriptor() {
    let _alone = alone();
    let server = Process::serve(&["--json"]);
    let before = server.descriptors();
    for n in 0..10_000 {
        let client = connect(server.address());
        // One third closes at once, one third resets with unread bytes, one third closes after an echo.
        match n % 3 {
            0 => drop(client),
            1 => {
                (&client).write_all(b"unread").unwrap();
                reset(client);
            }
            _ => ping(&client, b"hello"),
        }
    }
    eventually("the release of the descriptors", || {
        match server.descriptors() {
            n if n == before => Ok(()),
            n => Err(n),
        }
    });
    let stats = server.stop_and_count();
    assert_eq!(stats["accepted"], 10_000, "{stats}");
    assert_eq!(stats["open"], 0, "{stats}");
}

/// Fault 27 (docs/FAULTS.md), and the figure in the README: the memory of an idle client, with timeouts on.
#[test]
fn an_idle_client_costs_at_most_64_bytes() {
    let _alone = alone();
    let server = Process::serve(&["--idle-timeout", "1h"]);
    ping_all(&burst(server.address(), 64));
    let before = server.resident();
    // The clients connect in groups that fit into the backlog. If the backlog is full, the kernel drops handshakes.
    // When it has given up on a handshake and then gets data from that client, it resets the client. This test is only
    // about memory.
    let mut clients = Vec::new();
    while clients.len() < CROWD {
        let some = burst(server.address(), 1_000.min(CROWD - clients.len()));
        ping_all(&some);
        clients.extend(some);
    }
    let a_client = server.resident().saturating_sub(before) as f64 / CROWD as f64;
    println!("{a_client:.1} bytes of resident memory for each of {CROWD} idle clients");
    // mio's poll(2) selector needs memory for each descriptor in user space, so the figure does not apply to it.
    if !cfg!(mio_unsupported_force_poll_poll) {
        // mio's sockets are larger in a debug build. `cargo bench --bench counts` checks the release build.
        let most = if cfg!(debug_assertions) { 80.0 } else { 64.0 };
        assert!(a_client <= most, "{a_client} bytes for each client");
    }
}

/// The second part of fault 27: the server closes a thousand idle clients on time.
#[test]
fn a_thousand_idle_clients_are_closed_on_time() {
    let _alone = alone();
    const IDLE: Duration = Duration::from_secs(4);
    const CLIENTS: usize = 1_000;
    let server = Process::serve(&["--idle-timeout", "4s", "--json"]);
    let clients = burst(server.address(), CLIENTS);
    ping_all(&clients);
    let start = Instant::now();
    for client in &clients {
        assert_eq!(read_to_end(client), b"");
    }
    let took = start.elapsed();
    assert!(
        took < IDLE + Duration::from_secs(1),
        "the last client was closed after {took:?}"
    );
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["idle"], CLIENTS, "{stats}");
}

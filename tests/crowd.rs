//! Ten thousand clients and more. One test at a time, as a process has only so many descriptors.

#![cfg(target_os = "linux")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::*;
use socket2::{Domain, Socket, Type};

/// The descriptor limit that this project plans for is 20,000 a process. `poll(2)` looks at every descriptor at every
/// call, so there a smaller crowd has to do.
const CROWD: usize = if cfg!(mio_unsupported_force_poll_poll) {
    1_500
} else {
    15_000
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    mio_echo::raise_descriptor_limit().unwrap();
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts all connections before it waits for any of them.
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
            // From here on a write waits for the connection.
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            socket.set_write_timeout(Some(LIMIT)).unwrap();
            TcpStream::from(socket)
        })
        .collect();
    connecting
}

/// Sends to all of them, then reads from all of them.
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

/// 15,000 connect in a burst and all are served; descriptors and memory return to the start when they leave.
#[test]
fn a_burst_is_served_and_leaves_nothing_behind() {
    let _alone = alone();
    let server = Process::serve(&["--idle-timeout", "1h", "--json"]);
    let descriptors = server.descriptors();
    ping_all(&burst(server.address(), 64));
    eventually("the first to leave", || match server.descriptors() {
        n if n == descriptors => Ok(()),
        n => Err(n),
    });
    let resident = server.resident();
    let clients = burst(server.address(), CROWD);
    ping_all(&clients);
    assert_eq!(server.descriptors(), descriptors + CROWD);
    drop(clients);
    eventually("the descriptors to come back", || {
        match server.descriptors() {
            n if n == descriptors => Ok(()),
            n => Err(n),
        }
    });
    eventually("the memory to come back", || {
        match server.resident().saturating_sub(resident) {
            left if left < 512 * 1024 => Ok(()),
            left => Err(left),
        }
    });
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["end_of_stream"], CROWD + 64, "{stats}");
}

/// The load generator's own crowd: 15,000 connections from one process.
#[test]
fn one_load_generator_holds_fifteen_thousand_connections() {
    let _alone = alone();
    let server = Process::serve(&["--json"]);
    let report = bench(&[&server.addresses[0], "-c", &CROWD.to_string(), "-d", "3s"]).unwrap();
    let run = &report["runs"][0];
    assert_eq!(run["generator"]["connections_opened"], CROWD);
    assert_eq!(run["counts"]["failed"], 0, "{}", run["errors"]);
    // In a closed loop everybody gets a turn.
    assert!(
        run["fairness"]["min"].as_u64().unwrap() > 0,
        "{}",
        run["fairness"]
    );
    let stats = server.stop_and_count();
    assert_eq!(stats["accepted"], CROWD, "{stats}");
}

/// 40,000 connections: three generators side by side, each with its own server, as a server is a process too, from several
/// source addresses; and their three reports as one.
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

/// Fault 5.
#[test]
fn a_storm_of_connects_and_closes_leaks_no_descriptor() {
    let _alone = alone();
    let server = Process::serve(&["--json"]);
    let before = server.descriptors();
    for n in 0..10_000 {
        let client = connect(server.address());
        // A third each: gone at once, gone with a word unread, gone in order.
        match n % 3 {
            0 => drop(client),
            1 => {
                (&client).write_all(b"unread").unwrap();
                reset(client);
            }
            _ => ping(&client, b"hello"),
        }
    }
    eventually("the descriptors to come back", || {
        match server.descriptors() {
            n if n == before => Ok(()),
            n => Err(n),
        }
    });
    let stats = server.stop_and_count();
    assert_eq!(stats["accepted"], 10_000, "{stats}");
    assert_eq!(stats["open"], 0, "{stats}");
}

/// Fault 27, and the figure that the README states: what an idle client costs, with timeouts on.
#[test]
fn an_idle_client_costs_at_most_64_bytes() {
    let _alone = alone();
    let server = Process::serve(&["--idle-timeout", "1h"]);
    ping_all(&burst(server.address(), 64));
    let before = server.resident();
    // As many at a time as a backlog holds: this is about memory, and a kernel whose backlog is full drops handshakes, and in the
    // end resets clients whose data comes after it has given up on theirs.
    let mut clients = Vec::new();
    while clients.len() < CROWD {
        let some = burst(server.address(), 1_000.min(CROWD - clients.len()));
        ping_all(&some);
        clients.extend(some);
    }
    let a_client = server.resident().saturating_sub(before) as f64 / CROWD as f64;
    println!("{a_client:.1} bytes of resident memory an idle client, of {CROWD}");
    // mio's poll(2) selector keeps a record of each descriptor in user space.
    if !cfg!(mio_unsupported_force_poll_poll) {
        // mio's sockets are larger in a debug build. Of the release build it is `cargo bench --bench counts` that looks.
        let most = if cfg!(debug_assertions) { 80.0 } else { 64.0 };
        assert!(a_client <= most, "{a_client} bytes a client");
    }
}

/// Fault 27, the rest: a thousand idle clients are reaped, on time.
#[test]
fn a_crowd_of_idle_clients_is_reaped_on_time() {
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
        "reaped after {took:?}"
    );
    let stats = server.stop_and_count();
    assert_eq!(stats["closed"]["idle"], CLIENTS, "{stats}");
}

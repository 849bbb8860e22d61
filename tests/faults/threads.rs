//! Several event loops (`Config::threads`): limits of the whole process, a shutdown of all loops, and one owner of a
//! port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use mio_echo::{Address, Config, Server, Stats};

use crate::common::*;

fn with_threads(threads: usize) -> Config {
    Config {
        threads,
        ..config()
    }
}

/// Connects a client and asks. Returns it if it was served, and `None` if it was turned away.
fn served(server: &Embedded) -> Option<TcpStream> {
    let mut client = connect(server.address);
    let mut echo = [0; 5];
    let is_served = client.write_all(b"hello").is_ok() && client.read_exact(&mut echo).is_ok();
    is_served.then_some(client)
}

/// The kernel chooses the loop of each connection. With 100 connections, a loop of four has none with a probability of
/// less than one to 10^12.
#[test]
fn every_loop_has_connections_and_the_sum_is_that_of_the_loops() {
    let server = Embedded::with(&with_threads(4));
    let clients: Vec<_> = (0..100).map(|_| served(&server).unwrap()).collect();
    let stats = server.until("100 echoes", |stats| stats.bytes_out == 500);
    let loops = server.handle.loop_stats();
    assert_eq!(loops.len(), 4);
    for (n, stats) in loops.iter().enumerate() {
        assert!(stats.accepted > 0, "loop {n} has no connection: {loops:?}");
    }
    let sum = |number: fn(&Stats) -> u64| loops.iter().map(number).sum::<u64>();
    assert_eq!(stats.accepted, sum(|stats| stats.accepted));
    assert_eq!((stats.open, stats.peak), (100, 100));
    drop(clients);
    assert_eq!(server.stop().closed_in_all(), 100);
}

#[test]
fn the_limit_of_connections_is_that_of_all_loops() {
    let config = Config {
        max_connections: Some(7),
        ..with_threads(4)
    };
    let server = Embedded::with(&config);
    let clients: Vec<_> = (0..40).filter_map(|_| served(&server)).collect();
    assert_eq!(clients.len(), 7);
    let stats = server.until("33 refusals", |stats| stats.rejected == 33);
    assert_eq!((stats.open, stats.peak), (7, 7), "{stats}");
    // A close in any loop makes room in all of them.
    drop(clients);
    server.until("all closes", |stats| stats.open == 0);
    let again: Vec<_> = (0..7).map(|_| served(&server).unwrap()).collect();
    assert_eq!(server.stats().open, 7);
    drop(again);
}

/// At SIGTERM, the backlog of each loop holds clients that have sent bytes.
#[test]
fn every_loop_echoes_its_backlog_before_the_end() {
    let server = Process::serve(&["--threads", "4", "--json", "--drain-timeout", "20s"]);
    server.signal(rustix::process::Signal::STOP);
    until_stopped(&server);
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = connect(server.address());
            client.write_all(b"sent before SIGTERM").unwrap();
            client
        })
        .collect();
    server.signal(rustix::process::Signal::TERM);
    server.signal(rustix::process::Signal::CONT);
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(read_to_end(client), b"sent before SIGTERM", "client {n}");
    }
    drop(clients);
    let stats = server.counts();
    assert_eq!(
        (&stats["accepted"], &stats["left_in_backlog"]),
        (&100.into(), &0.into()),
        "{stats}"
    );
    let loops = stats["loops"].as_array().unwrap();
    assert_eq!(loops.len(), 4, "{stats}");
    assert!(loops.iter().all(|stats| stats["accepted"] != 0), "{stats}");
}

fn until_stopped(server: &Process) {
    let start = std::time::Instant::now();
    while server.state() != 'T' {
        assert!(start.elapsed() < LIMIT, "the server does not stop");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// The listeners of the loops share the port (`SO_REUSEPORT`). A second server would share it too, if nothing prevented
/// that.
#[test]
fn a_port_with_several_loops_has_one_owner() {
    let first = Server::bind(&with_threads(2)).unwrap();
    let taken = Config {
        addresses: first.local_addresses().to_vec(),
        ..with_threads(2)
    };
    let error = Server::bind(&taken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    let shared = Config {
        reuse_port: true,
        ..taken.clone()
    };
    assert_eq!(
        Server::bind(&shared)
            .map(drop)
            .map_err(|error| error.kind()),
        Ok(())
    );
    drop(first);
    assert_eq!(
        Server::bind(&taken).map(drop).map_err(|error| error.kind()),
        Ok(())
    );
}

#[test]
fn unix_domain_paths_are_dealt_out_to_the_loops() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..3)
        .map(|n| folder.path().join(format!("{n}.sock")))
        .collect();
    let config = Config {
        addresses: paths.iter().cloned().map(Address::Unix).collect(),
        ..with_threads(2)
    };
    let server = Server::spawn_with(&config).unwrap();
    for path in &paths {
        let mut client = UnixStream::connect(path).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut echo = Vec::new();
        client.read_to_end(&mut echo).unwrap();
        assert_eq!(echo, b"hello");
    }
    let accepted = server
        .handle()
        .loop_stats()
        .iter()
        .map(|stats| stats.accepted)
        .collect::<Vec<_>>();
    assert_eq!(accepted, [2, 1]);
    server.stop().unwrap();
}

/// Loop i runs on the i-th processor that the process may use, and on no other.
#[test]
fn a_pinned_loop_has_one_processor() {
    let mut server = Process::serve(&["--threads", "2", "--pin"]);
    assert!(server.is_running());
    let allowed = eventually("two pinned threads", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero()));
        let status = tasks.unwrap().map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().to_owned()
            };
            (field("Name:"), field("Cpus_allowed_list:"))
        });
        let loops: Vec<_> = status.filter(|(name, _)| name != "log").collect();
        let is_one = |(_, cpus): &(String, String)| cpus.parse::<u32>().is_ok();
        match loops.len() == 2 && loops.iter().all(is_one) {
            true => Ok(loops),
            false => Err(loops),
        }
    });
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(
        allowed[0].1 != allowed[1].1,
        processors > 1,
        "{allowed:?} of {processors} processors"
    );
}

/// Without a timer and without a heartbeat, no idle loop wakes up. With a heartbeat, each of them does.
#[test]
fn idle_loops_wake_up_only_for_a_heartbeat() {
    let polls = |server: &Embedded| -> Vec<u64> {
        let loops = server.handle.loop_stats();
        loops.iter().map(|stats| stats.polls).collect()
    };
    let config = Config {
        stall_timeout: None,
        ..with_threads(2)
    };
    let silent = Embedded::with(&config);
    let beating = Embedded::with(&Config {
        heartbeat: Some(std::time::Duration::from_millis(10)),
        ..config
    });
    let before = (polls(&silent), polls(&beating));
    eventually("ten turns of each loop", || {
        let now = polls(&beating);
        let has_turned = now
            .iter()
            .zip(&before.1)
            .all(|(now, before)| *now >= before + 10);
        if has_turned { Ok(()) } else { Err(now) }
    });
    // The first poll of a loop may have begun after the first look.
    let turned = polls(&silent);
    assert!(
        turned
            .iter()
            .zip(&before.0)
            .all(|(now, before)| *now <= before + 1),
        "{before:?}, {turned:?}"
    );
}

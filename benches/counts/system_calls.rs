//! Counts the server's system calls with strace.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::load::{Plan, Stopper, Until, run};

use crate::common::own;
use crate::common::process::Server;

/// Returns the system calls of a message, and those of a short connection, by name.
pub(crate) fn count() -> io::Result<(BTreeMap<String, f64>, BTreeMap<String, f64>)> {
    let a_message = calls(20_000, |plan| plan.connections = 50)?;
    let a_short_connection = calls(2_000, |plan| {
        plan.connections = 1;
        plan.reconnect = Some(1);
    })?;
    let reads_and_writes = a_message["recvfrom"] + a_message["sendto"];
    let counted = [
        ("reads and writes", reads_and_writes),
        ("registrations", a_message["epoll_ctl"]),
        ("all others", a_message["all others"]),
    ];
    let a_message = counted.map(|(name, count)| (name.to_owned(), count));
    Ok((a_message.into(), a_short_connection))
}

/// Runs so many messages, and returns the server's system calls a message. `choose` sets the connections of the plan.
fn calls(messages: u64, choose: impl Fn(&mut Plan)) -> io::Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    let table = folder.path().join("calls");
    let mut command = Command::new("strace");
    command.args(["-DD", "-c", "-f", "-qq", "-o"]).arg(&table);
    let server = own::server(&[])?;
    command.arg(server.get_program()).args(server.get_args());
    let server = Server::start(&mut command)
        .map_err(|error| io::Error::other(format!("strace: {error} (apt-get install strace)")))?;
    let mut plan = Plan::new(server.address.into());
    plan.warmup = Duration::ZERO;
    plan.until = Until::Count(messages);
    choose(&mut plan);
    let recording = run(&plan, &Stopper::default(), |_| ()).map_err(io::Error::other)?;
    if recording.counts.ok != messages {
        return Err(io::Error::other(format!("{:?}", recording.faults)));
    }
    server.stop()?;
    let start = Instant::now();
    let text = loop {
        let text = fs::read_to_string(&table).unwrap_or_default();
        if text.contains("total") || start.elapsed() > Duration::from_secs(10) {
            break text;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let mut counted: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Columns: share, seconds, microseconds a call, calls, errors (may be empty), name.
        let (Some(name), Some(count)) = (words.last(), words.get(3)) else {
            continue;
        };
        let Ok(count) = count.parse::<f64>() else {
            continue;
        };
        // Left out: the number of polls depends on the scheduler, which decides how many messages a poll finds.
        if !["epoll_wait", "total"].contains(name) {
            let name = if MOVING.contains(name) {
                *name
            } else {
                "all others"
            };
            *counted.entry(name.to_owned()).or_default() += count / messages as f64;
        }
    }
    Ok(counted)
}

/// The calls that every message or connection causes. The others are made at the program's start; their number a
/// message is small.
const MOVING: [&str; 5] = ["accept4", "epoll_ctl", "recvfrom", "sendto", "close"];

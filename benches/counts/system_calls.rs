//! System calls, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::load::{Plan, Stopper, Until, run};

use crate::common::SERVE;
use crate::common::process::Server;

/// Those of a message and those of a short connection, by name.
pub(crate) fn count() -> io::Result<(BTreeMap<String, f64>, BTreeMap<String, f64>)> {
    let a_message = calls(20_000, |plan| plan.connections = 50)?;
    let a_short_connection = calls(2_000, |plan| {
        plan.connections = 1;
        plan.reconnect = Some(1);
    })?;
    let reads_and_writes = a_message["recvfrom"] + a_message["sendto"];
    // How many messages a poll finds is the scheduler's choice.
    let counted = [
        ("reads and writes", reads_and_writes),
        ("registrations", a_message["epoll_ctl"]),
    ];
    let a_message = counted.map(|(name, count)| (name.to_owned(), count));
    Ok((a_message.into(), a_short_connection))
}

/// The calls of the server a message, for so many messages of this plan.
fn calls(messages: u64, choose: impl Fn(&mut Plan)) -> io::Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    let table = folder.path().join("calls");
    let mut command = Command::new("strace");
    command.args(["-D", "-c", "-f", "-qq", "-o"]).arg(&table);
    command.arg(env!("CARGO_BIN_EXE_mio-echo"));
    let server = Server::start(command.args(SERVE))
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
    let count = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next_back() == Some(name));
        let count = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
        count.unwrap_or(0.0) / messages as f64
    };
    Ok(MOVING.map(|name| (name.to_owned(), count(name))).into())
}

/// Those that a connection can cause. Polls are not among them: how many events one finds is the scheduler's choice.
const MOVING: [&str; 6] = [
    "accept4",
    "epoll_ctl",
    "recvfrom",
    "sendto",
    "close",
    "shutdown",
];

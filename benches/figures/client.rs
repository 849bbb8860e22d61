//! The load generator beside a minimal epoll client: processor time a verified message, and whether both see the same
//! latency.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client_limit::{CONNECTIONS, DURATION, SIZE, WARMUP};
use crate::measure::{SERVE, Server, pin, quartiles};

/// What one run of a client says: microseconds of processor time a message, and the median latency.
struct Seen {
    processor: f64,
    median: f64,
}

/// Our generator's figures by the minimal client's, round by round, both against the same server, each going first every
/// other time. All share a core, so that each poll finds what the server has answered meanwhile, whichever of them happens
/// to be faster; the processor time is each client's own accounting of the window that it measured.
pub(crate) fn time_a_verified_message() -> io::Result<bool> {
    let server = Server::start(Command::new(env!("CARGO_BIN_EXE_mio-echo")).args(SERVE))?;
    let (mut processor, mut median) = (Vec::new(), Vec::new());
    let (mut our_times, mut limit_times) = (Vec::new(), Vec::new());
    pin(None, 0);
    for round in 0..ROUNDS {
        let (ours, limit) = if round % 2 == 0 {
            let ours = our_generator(server.address)?;
            (ours, minimal_client(server.address)?)
        } else {
            let limit = minimal_client(server.address)?;
            (our_generator(server.address)?, limit)
        };
        processor.push(ours.processor / limit.processor);
        median.push(ours.median / limit.median);
        our_times.push(ours.processor);
        limit_times.push(limit.processor);
    }
    server.stop()?;
    let [our_time, limit_time] = [&mut our_times, &mut limit_times].map(|t| quartiles(t)[1]);
    let [low, ratio, high] = quartiles(&mut processor);
    println!(
        "client's processor time a verified message, {CONNECTIONS} connections x {SIZE} B: {our_time:.2} µs, the \
         minimal client's {limit_time:.2} µs; ratio {ratio:.3} (bound 1.10), half of {ROUNDS} rounds between {low:.3} \
         and {high:.3}"
    );
    let [low, agreement, high] = quartiles(&mut median);
    println!(
        "client's p50 by the minimal client's: {agreement:.3} (bound 0.95 to 1.05), half of the rounds between \
         {low:.3} and {high:.3}"
    );
    Ok(ratio <= 1.10 && (0.95..=1.05).contains(&agreement))
}

fn our_generator(address: SocketAddr) -> io::Result<Seen> {
    let millis = |duration: Duration| format!("{}ms", duration.as_millis());
    let output = Command::new(env!("CARGO_BIN_EXE_mio-echo"))
        .arg("bench")
        .arg(address.to_string())
        .args(["-c", &CONNECTIONS.to_string(), "-s", &SIZE.to_string()])
        .args([
            "-d",
            &millis(DURATION),
            "-w",
            &millis(WARMUP),
            "--json",
            "-",
        ])
        .stderr(Stdio::null())
        .output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let run = &report["runs"][0];
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN);
    Ok(Seen {
        processor: number(&run["generator"]["cpu_ns"])
            / number(&run["throughput"]["messages"])
            / 1e3,
        median: number(&run["latency"]["response"]["percentiles"]["50"]),
    })
}

fn minimal_client(address: SocketAddr) -> io::Result<Seen> {
    let output = Command::new(std::env::current_exe()?)
        .args([CLIENT_LIMIT, &address.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text
        .split_whitespace()
        .filter_map(|n| n.parse::<f64>().ok());
    let mut next = || numbers.next().unwrap_or(f64::NAN);
    let (messages, processor, median) = (next(), next(), next());
    Ok(Seen {
        processor: processor / messages / 1e3,
        median,
    })
}

pub(crate) const CLIENT_LIMIT: &str = "--client-limit";
const ROUNDS: usize = 30;

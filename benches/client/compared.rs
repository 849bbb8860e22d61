//! Processor time a verified message, and whether both clients see the same latency.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};

use mio_echo::load::{Plan, Sizes, Stopper, Until, run};

use crate::common::process::{SERVER_CORE, Server, pin};
use crate::common::spread::Spread;
use crate::common::{environment, own};
use crate::limit::{CONNECTIONS, DURATION, SIZE, WARMUP};

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, address] = arguments.as_slice() {
        let measured = match command.as_str() {
            CLIENT_LIMIT => crate::limit::measure(address),
            _ => measure(address),
        };
        return match measured {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => panic!("{command}: {error}"),
        };
    }
    // A miss ends `cargo bench` before the other benches only if that is asked for.
    let check = arguments.iter().any(|argument| argument == "--check");
    match compare() {
        Ok(reached) if reached || !check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => panic!("cannot measure: {error}"),
    }
}

/// What one run of a client says: microseconds of processor time a message, and the median latency.
struct Seen {
    processor: f64,
    median: f64,
}

/// Our generator's figures by the minimal client's, round by round, both against the same server, each going first every
/// other time. All share a core, so that each poll finds what the server has answered meanwhile, whichever of them happens
/// to be faster; the processor time is each client's own accounting of the window that it measured.
fn compare() -> io::Result<bool> {
    println!("{}", environment());
    let server = Server::start(&mut own::server(&[])?)?;
    pin(None, SERVER_CORE);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        rounds.push(if round % 2 == 0 {
            let ours = our_generator(server.address)?;
            (ours, minimal_client(server.address)?)
        } else {
            let limit = minimal_client(server.address)?;
            (our_generator(server.address)?, limit)
        });
    }
    server.stop()?;
    let ours = Spread::of(rounds.iter().map(|(ours, _)| ours.processor)).median;
    let limit = Spread::of(rounds.iter().map(|(_, limit)| limit.processor)).median;
    let ratio = Spread::of(
        rounds
            .iter()
            .map(|(ours, limit)| ours.processor / limit.processor),
    );
    println!(
        "client's processor time a verified message, {CONNECTIONS} connections x {SIZE} B: {ours:.2} µs, the minimal \
         client's {limit:.2} µs; ratio {ratio:.3} (bound 1.10), in {ROUNDS} rounds"
    );
    let agreement = Spread::of(
        rounds
            .iter()
            .map(|(ours, limit)| ours.median / limit.median),
    );
    println!("client's p50 by the minimal client's: {agreement:.3} (bound 0.95 to 1.05)");
    let reached = ratio.median <= 1.10 && (0.95..=1.05).contains(&agreement.median);
    println!("{}", if reached { "reached" } else { "missed" });
    Ok(reached)
}

fn our_generator(address: SocketAddr) -> io::Result<Seen> {
    client(OWN_CLIENT, address)
}

fn minimal_client(address: SocketAddr) -> io::Result<Seen> {
    client(CLIENT_LIMIT, address)
}

/// Runs one of the clients in a process of its own. It prints messages, nanoseconds of processor time and the median
/// latency in nanoseconds.
fn client(command: &str, address: SocketAddr) -> io::Result<Seen> {
    let output = Command::new(std::env::current_exe()?)
        .args([command, &address.to_string()])
        .stderr(Stdio::inherit())
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

/// The project's load generator.
fn measure(address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut plan = Plan::new(address.into());
    plan.connections = CONNECTIONS;
    plan.sizes = Sizes::one(SIZE as u32).map_err(io::Error::other)?;
    plan.warmup = WARMUP;
    plan.until = Until::Elapsed(DURATION);
    let recording = run(&plan, &Stopper::default(), |_| ()).map_err(io::Error::other)?;
    let (messages, median) = (
        recording.completed,
        recording.response.value_at_quantile(0.5),
    );
    println!("{messages} {} {median}", recording.health.cpu_ns);
    Ok(())
}

const OWN_CLIENT: &str = "--own-client";
const CLIENT_LIMIT: &str = "--client-limit";
const ROUNDS: usize = 30;

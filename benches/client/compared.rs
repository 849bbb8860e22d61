//! Compares both clients: their processor time a verified message, and the median latency that they measure.

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
    // Without --check a missed goal is no error: an error would end `cargo bench` before the other benches.
    let check = arguments.iter().any(|argument| argument == "--check");
    match compare() {
        Ok(reached) if reached || !check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => panic!("cannot measure: {error}"),
    }
}

/// The figures of one run of a client.
struct Figures {
    /// Processor time, in microseconds a message.
    processor: f64,
    /// Median latency, in nanoseconds.
    median: f64,
}

/// Measures our generator and the minimal client in each round against the same server, and prints the ratios. In every
/// other round the minimal client runs first. Returns true if both goals are reached.
///
/// Server and clients share a core: each poll of a client then finds all that the server has answered while the client
/// waited, however fast server and client are. Each client measures its own processor time inside its window.
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
        "processor time a verified message, {CONNECTIONS} connections x {SIZE} B: generator {ours:.2} µs, minimal \
         client {limit:.2} µs; ratio {ratio:.3} (at most 1.10), {ROUNDS} rounds"
    );
    let agreement = Spread::of(
        rounds
            .iter()
            .map(|(ours, limit)| ours.median / limit.median),
    );
    println!("p50 of the generator ÷ p50 of the minimal client: {agreement:.3} (0.95 to 1.05)");
    let reached = ratio.median <= 1.10 && (0.95..=1.05).contains(&agreement.median);
    println!("{}", if reached { "reached" } else { "missed" });
    Ok(reached)
}

fn our_generator(address: SocketAddr) -> io::Result<Figures> {
    client(OWN_CLIENT, address)
}

fn minimal_client(address: SocketAddr) -> io::Result<Figures> {
    client(CLIENT_LIMIT, address)
}

/// Runs one of the clients in a process of its own. The process prints three numbers: messages, nanoseconds of
/// processor time, median latency in nanoseconds.
fn client(command: &str, address: SocketAddr) -> io::Result<Figures> {
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
    Ok(Figures {
        processor: processor / messages / 1e3,
        median,
    })
}

/// Runs the project's load generator and prints the three numbers.
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

/// The argument that runs our generator.
const OWN_CLIENT: &str = "--own-client";
/// The argument that runs the minimal client.
const CLIENT_LIMIT: &str = "--client-limit";
const ROUNDS: usize = 30;

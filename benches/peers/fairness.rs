//! Latency of 100 pingers beside one firehose, with and without the budget that a connection has in each turn.
//!
//! A pinger sends a small message every 10 ms. A firehose is a connection that never stops sending.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::{Config, bench_support};

use crate::block::{Contender, Start};
use crate::common::process::Server;
use crate::common::spread::Spread;
use crate::race::OURS;

/// Runs this project's server without the budget: a connection runs until it has nothing left to do.
pub(crate) fn serve_without_budget() -> io::Result<()> {
    let config = Config {
        addresses: vec!["127.0.0.1:auto".parse().map_err(io::Error::other)?],
        ..Config::default()
    };
    let server = bench_support::bind_without_budget(&config).map_err(io::Error::other)?;
    println!("listening on {}", server.local_addresses()[0]);
    io::stdout().flush()?;
    server.run()?;
    Ok(())
}

/// Measures the pingers' p99 with the budget and without it, one after the other in each round.
pub(crate) fn measure(rounds: usize) -> io::Result<String> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(MOST_ROUNDS) {
        with.push(round(&Contender::new(OURS, Start::Ours(&[])).launch()?)?);
        let mut command = Command::new(std::env::current_exe()?);
        without.push(round(&Server::start(
            command.args(["--serve", WITHOUT_BUDGET]),
        )?)?);
    }
    let ratio = Spread::of(
        with.iter()
            .zip(&without)
            .map(|(with, without)| with / without),
    );
    let (with, without) = (Spread::of(with), Spread::of(without));
    Ok(format!(
        "## Fairness\n\n{PINGERS} pingers send a message of {SIZE} bytes every {} ms, while another connection \
         never stops sending. The p99 of the pingers' latency, in milliseconds; in brackets the quartiles.\n\n\
         | | p99, ms |\n|---|---:|\n| with the budget of a turn | {with} |\n| without it | {without} |\n\
         | with ÷ without | {ratio:.3} |\n\n- {}: with ÷ without at most 0.10\n",
        EVERY.as_millis(),
        ratio.at_most(0.1),
    ))
}

/// Returns the pingers' p99, in milliseconds. A message without an echo at the end counts with the time since it was
/// due.
fn round(server: &Server) -> io::Result<f64> {
    let over = AtomicBool::new(false);
    let hose = TcpStream::connect(server.address)?;
    hose.set_read_timeout(Some(PATIENCE))?;
    hose.set_write_timeout(Some(PATIENCE))?;
    thread::scope(|scope| {
        // Also ends the firehose's threads after an error: the scope waits for all its threads.
        let _end = End(&over, &hose);
        scope.spawn(|| send_for_ever(&hose, &over));
        scope.spawn(|| read_for_ever(&hose, &over));
        let start = Instant::now() + Duration::from_millis(200);
        let pingers: Vec<_> = (0..PINGERS)
            .map(|n| {
                let stream = TcpStream::connect(server.address)?;
                stream.set_nodelay(true)?;
                let first = start + EVERY * n / PINGERS;
                Ok(scope.spawn(move || ping(&stream, first)))
            })
            .collect::<io::Result<_>>()?;
        let mut latencies: Vec<Duration> = Vec::new();
        for pinger in pingers {
            let seen = pinger
                .join()
                .map_err(|_| io::Error::other("a pinger panicked"))?;
            latencies.extend(seen?);
        }
        latencies.sort();
        Ok(latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3)
    })
}

/// Ends the firehose when it is dropped.
struct End<'a>(&'a AtomicBool, &'a TcpStream);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.shutdown(std::net::Shutdown::Both);
    }
}

/// Sends one message after the other on schedule, and returns their latencies. A latency counts from the time at
/// which the message was due.
fn ping(mut stream: &TcpStream, first: Instant) -> io::Result<Vec<Duration>> {
    let message = [b'?'; SIZE];
    let mut echo = [0; SIZE];
    let mut latencies = Vec::new();
    for n in 0..MESSAGES {
        let due = first + EVERY * n;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let end = first + EVERY * MESSAGES;
        if Instant::now() >= end {
            // Not sent, because the echo before it is still missing.
            latencies.push(end - due);
            continue;
        }
        stream.set_read_timeout(Some(end - Instant::now() + Duration::from_millis(1)))?;
        stream.write_all(&message)?;
        match stream.read_exact(&mut echo) {
            Ok(()) if echo == message => latencies.push(due.elapsed()),
            Ok(()) => return Err(io::Error::other("a wrong echo")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                latencies.push(due.elapsed())
            }
            Err(error) => return Err(error),
        }
    }
    Ok(latencies)
}

fn send_for_ever(mut hose: &TcpStream, over: &AtomicBool) {
    lower_priority();
    let bytes = vec![b'#'; 1 << 20];
    while !over.load(Ordering::Relaxed) && hose.write_all(&bytes).is_ok() {}
}

fn read_for_ever(mut hose: &TcpStream, over: &AtomicBool) {
    lower_priority();
    let mut bytes = vec![0; 1 << 20];
    while !over.load(Ordering::Relaxed) && hose.read(&mut bytes).is_ok_and(|n| n > 0) {}
}

/// Gives this thread the lowest priority, so that the pingers on the same core do not wait for the firehose's threads.
fn lower_priority() {
    let _ = rustix::process::nice(19);
}

/// The name of the server without the budget for `--serve`.
pub(crate) const WITHOUT_BUDGET: &str = "without a budget";
const PINGERS: u32 = 100;
/// Size of a message, in bytes.
const SIZE: usize = 64;
/// Time between two messages of a pinger.
const EVERY: Duration = Duration::from_millis(10);
/// Messages of each pinger.
const MESSAGES: u32 = 100;
/// How long the firehose's reads and writes may block.
const PATIENCE: Duration = Duration::from_secs(10);

/// A round takes two seconds: one with the budget, one without it.
const MOST_ROUNDS: usize = 5;

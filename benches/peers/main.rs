//! Compares our server with others in one interleaved run: `cargo bench --bench peers`.
//!
//! Each server runs in a process of its own on one core. The project's load generator runs on the other core and
//! verifies every byte. Every round starts a new process for each server: the place of a process in memory alone
//! changes the figures by some percent. The order of the servers changes from round to round.

#[cfg(target_os = "linux")]
mod block;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod fairness;
#[cfg(target_os = "linux")]
mod goals;
#[cfg(target_os = "linux")]
mod growth;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod plot;
#[cfg(target_os = "linux")]
mod race;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod tails;
#[cfg(target_os = "linux")]
mod workloads;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    common::own::serve_if_asked().unwrap_or_else(options::main)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!(
        "this bench needs Linux: it reads a server's costs from /proc and pins processes to cores"
    );
}

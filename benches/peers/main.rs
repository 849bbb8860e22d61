//! Ours beside what people use, in one interleaved run: `cargo bench --bench peers`.
//!
//! Each server runs in a process of its own on one core, the load on the other: our own load generator, which verifies
//! every byte. Every round starts each server afresh, as where the system puts a process in memory alone makes a
//! difference of some percent, and has them in turns from first to last and back.

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
mod workloads;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    common::own::serve_if_asked().unwrap_or_else(options::main)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!(
        "what a server costs is read from Linux's /proc, and its cores are set by Linux's calls"
    );
}

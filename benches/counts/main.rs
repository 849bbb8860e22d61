//! What can be counted, and so does not depend on the machine's mood: `cargo bench --bench counts`.
//!
//! System calls a message and a short connection, allocations and instructions a message, bytes a connection. They are
//! compared with `benches/counts/expected.json`; a difference is an error, for better or for worse, until
//! `cargo bench --bench counts -- --update` has written it down.

#[cfg(target_os = "linux")]
#[path = "../common/cases.rs"]
mod cases;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod gate;
#[cfg(target_os = "linux")]
mod instructions;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod system_calls;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    common::own::serve_if_asked().unwrap_or_else(gate::main)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("these counts are Linux's: they are read from /proc and made by strace and valgrind");
}

//! Counts that do not depend on the speed and load of the machine: `cargo bench --bench counts`.
//!
//! System calls a message and a short connection, allocations and instructions a message, memory bytes an idle
//! connection. The bench compares them with `benches/counts/expected.json`. A difference beyond the tolerance is an
//! error, also an improvement; `cargo bench --bench counts -- --update` writes the new counts to that file.

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
    println!("this bench needs Linux: it counts with strace and valgrind and reads /proc");
}

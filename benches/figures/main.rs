//! The four figures of the README, measured where this runs: `cargo bench --bench figures`.
//!
//! System calls a message, memory an idle client, a burst of connections, and processor time a message beside a minimal
//! epoll server in one interleaved run. Exits with 1 if a figure misses its bound.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod client_limit;
#[cfg(target_os = "linux")]
mod epoll_limit;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod measure;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    measure::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("these figures are Linux's: they are read from /proc and counted by strace");
}

//! The load generator beside a minimal epoll client: `cargo bench --bench client`.
//!
//! Exits with 1 if it costs more than a tenth more a verified message, or sees another median.

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod compared;
#[cfg(target_os = "linux")]
mod limit;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    compared::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the client to compare with is Linux's: epoll");
}

//! The load generator beside a minimal epoll client: `cargo bench --bench client`.
//!
//! It says whether it costs at most a tenth more a verified message, and sees the same median; with `--check` a miss is an
//! error (exit code 1).

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod compared;
#[cfg(target_os = "linux")]
mod limit;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    common::own::serve_if_asked().unwrap_or_else(compared::main)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the client to compare with is Linux's: epoll");
}

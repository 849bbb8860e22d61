//! The load generator beside a minimal epoll client: `cargo bench --bench client`.
//!
//! Two goals: the generator needs at most 10 % more processor time a verified message, and its median latency differs
//! by at most 5 %. With `--check` a missed goal is an error (exit code 1).

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
    println!("this bench needs Linux: the minimal client uses epoll");
}

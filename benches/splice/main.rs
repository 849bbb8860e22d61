//! Compares bulk through a pipe (`splice(2)`) with plain read and write: `cargo bench --bench splice`.
//!
//! Both servers are our own, one of them with `--no-splice`. The load is a plain epoll client that does not verify
//! the echo: verification reads every byte, which would hide what the pipe costs the peer. So this bench does not
//! show whether the echo is right.

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod generator;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod pairs;
#[cfg(target_os = "linux")]
mod report;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    common::own::serve_if_asked().unwrap_or_else(options::main)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!(
        "this bench needs Linux: splice(2) is a Linux system call, and elsewhere the server uses no pipe"
    );
}

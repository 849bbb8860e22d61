//! The faults that an echo server has to survive, each as a test on real sockets.
//!
//! Those that need a tool (strace, a network namespace) are in `tests/tools`, those that need ten thousand clients in
//! `tests/crowd.rs`.

#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod accepting;
mod bulk;
mod endings;
mod events;
mod logging;
mod pressure;
mod shutdown;
mod timers;

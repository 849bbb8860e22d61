//! The faults that an echo server must survive, each as a test on real sockets.
//!
//! The numbers of the faults are those of `docs/FAULTS.md`. Faults that need a tool (strace, a network namespace) are
//! in `tests/tools`, faults that need ten thousand clients in `tests/crowd.rs`.

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
mod threads;
mod timers;

//! A conformance tester for echo servers, in any language: it finds out what an echo server survives.
//!
//! [`checks()`] returns the list of checks. [`run`] makes them on one server and returns a [`ServerReport`]. The crate
//! knows nothing of the server under test but its address, and its process if that is known.
//!
//! The client's sockets are blocking, with time limits, and a thread is started where two things happen at once. A
//! tester should be simpler than what it tests.
//!
//! It needs a Unix system. Checks that need proc(5) are inconclusive or skipped on systems other than Linux.

#![cfg(unix)]

mod check;
mod checks;
mod client;
mod context;
mod endpoint;
mod grid;
mod junit;
mod launcher;
mod markdown;
mod outcome;
mod page;
mod payload;
pub mod plain;
mod process;
mod queues;
mod reference;
mod report;
mod rungs;
mod runner;
mod words;

pub use check::{Check, Group, Needs};
pub use checks::all as checks;
pub use endpoint::Endpoint;
pub use junit::junit;
pub use launcher::{Launcher, Started};
pub use markdown::markdown;
pub use outcome::{Level, Verdict};
pub use page::page;
pub use process::Process;
pub use report::{CheckReport, Overall, Report, SCHEMA, ServerReport};
pub use rungs::{Place, RUNGS, Rung, Standing};
pub use runner::{Plan, Progress, Server, run};
pub use words::{Language, Text, Words};

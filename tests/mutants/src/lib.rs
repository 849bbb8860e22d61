//! The server with every mutant of `mutants.toml` in it, each behind a switch, and the hunt for them.
//!
//! A mutant is a bug on purpose: one that echo servers really have. The simulator must find each, by the check that is there
//! for it. The build script writes the copy, which is compiled once.

// The copy's unit tests are the server's own, and run there.
#![cfg(not(test))]

#[macro_use]
mod switch;
mod hunt;

pub use hunt::{Find, actions, hunt, report, shrunk, violation};

include!(concat!(env!("OUT_DIR"), "/root.rs"));

/// A bug on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name in the table.
    pub name: &'static str,
    /// What goes wrong.
    pub wrong: &'static str,
    /// A part of what the check that must find it says.
    pub found_by: &'static str,
}

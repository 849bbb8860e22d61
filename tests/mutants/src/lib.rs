//! A copy of the server that contains every mutant of `mutants.toml`, each behind a switch, and the search for them.
//!
//! A mutant is a bug on purpose, of a kind that real echo servers have. The simulator must find each mutant by the
//! check that the table names. The build script writes one copy with all mutants, so they are compiled only once.

// The copy contains the unit tests of the server. They run in the server's own crate.
#![cfg(not(test))]

#[macro_use]
mod switch;
mod hunt;

pub use hunt::{Find, actions, hunt, report, shrunk, violation};

include!(concat!(env!("OUT_DIR"), "/root.rs"));

/// A bug on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The name in the table.
    pub name: &'static str,
    /// A description of the bug.
    pub wrong: &'static str,
    /// A part of the violation that the expected check reports.
    pub found_by: &'static str,
}

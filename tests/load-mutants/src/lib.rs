//! A copy of the load generator that contains every mutant of `mutants.toml`, each behind a switch.
//!
//! A mutant is a bug on purpose, of a kind that real load generators have. The comparison with the ledger of a
//! simulated network must find each mutant. The crate has the name of the original, so that its tests run on the copy
//! as they are.

// The copy contains the unit tests of the original, which run there.
#![cfg(not(test))]

#[macro_use]
#[path = "../../mutants/src/switch.rs"]
mod switch;

include!(concat!(env!("OUT_DIR"), "/root.rs"));

pub use load::*;

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

impl Mutant {
    /// Runs a function with this mutant switched on.
    pub fn with<T>(&self, run: impl FnOnce() -> T) -> T {
        switch::with(self.name, run)
    }
}

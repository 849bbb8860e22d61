//! Proves the load generator against a known truth: the driver runs over a simulated kernel in virtual nanoseconds,
//! whose ledger has the true times of every message.
//!
//! - `case.rs` runs a plan over a network and returns the recording and the ledger.
//! - `due.rs` calculates when each message is due, without the code of the generator.
//! - `truth.rs` calculates from the ledger what the recording must say, and returns the first violation.
//! - `seeds.rs` makes random cases with faults, and hunts for a violation.
//!
//! `known.rs`, `queues.rs` and `verdicts.rs` compare with results that are known without the ledger. `bugs.rs` has the
//! known bugs of the generator.

#![cfg(unix)]
#![allow(missing_docs, reason = "a test has no public interface")]

mod bugs;
mod case;
mod due;
mod known;
mod queues;
mod seeds;
mod truth;
mod verdicts;

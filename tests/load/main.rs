//! The load generator: what it must see, what it must not be fooled by, and what it writes.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod figures;
mod reports;
mod servers;
mod wrong;

pub(crate) use common::benched::{Benched, bench, bench_command, benched};

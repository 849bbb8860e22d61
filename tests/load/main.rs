//! Tests of the load generator: the errors that it must find, the figures that it must measure and the reports that
//! it writes.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod figures;
mod omitted;
mod reports;
mod servers;
mod wrong;

pub(crate) use common::benched::{Benched, bench, bench_command, benched, measure_until_it_holds};

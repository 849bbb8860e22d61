//! The comparison with the ledger must find each mutant, by the check that the table names.

#![cfg(unix)]
#![allow(
    dead_code,
    missing_docs,
    reason = "the modules are those of another test"
)]

#[path = "../../../crates/load/tests/truth/case.rs"]
mod case;
#[path = "../../../crates/load/tests/truth/due.rs"]
mod due;
#[path = "../../../crates/load/tests/truth/seeds.rs"]
mod seeds;
#[path = "../../../crates/load/tests/truth/truth.rs"]
mod truth;

use mio_echo_load::MUTANTS;

/// The number of seeds within which each mutant must be found.
const SEEDS: u64 = 3000;

#[test]
fn every_mutant_is_found() {
    let mut missed = Vec::new();
    println!("{:<29} {:>6}  violation", "mutant", "seeds");
    for mutant in &MUTANTS {
        match mutant.with(|| seeds::hunt(0..SEEDS)) {
            Some(find) if find.violation.contains(mutant.found_by) => {
                println!(
                    "{:<29} {:>6}  {}",
                    mutant.name,
                    find.seed + 1,
                    find.violation
                );
            }
            other => missed.push((mutant, other)),
        }
    }
    assert!(
        missed.is_empty(),
        "not found as expected within {SEEDS} seeds: {missed:#?}"
    );
}

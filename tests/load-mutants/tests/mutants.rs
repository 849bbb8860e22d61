//! The comparison with the ledger must find each mutant, by the check that the table names.

#![cfg(unix)]
#![allow(
    dead_code,
    missing_docs,
    reason = "the modules are those of another test"
)]

#[path = "../../../crates/load/tests/truth/bugs.rs"]
mod bugs;
#[path = "../../../crates/load/tests/truth/case.rs"]
mod case;
#[path = "../../../crates/load/tests/truth/due.rs"]
mod due;
#[path = "../../../crates/load/tests/truth/seeds.rs"]
mod seeds;
#[path = "../../../crates/load/tests/truth/truth.rs"]
mod truth;
#[path = "../../../crates/load/tests/truth/verdicts.rs"]
mod verdicts;

use mio_echo_load::MUTANTS;

/// The number of seeds within which each mutant must be found, and of seeds for each verdict.
const SEEDS: u64 = 3000;
const SEEDS_OF_A_VERDICT: u64 = 3;

#[test]
fn every_mutant_is_found() {
    let mut missed = Vec::new();
    println!("{:<29} {:>6}  violation", "mutant", "seeds");
    for mutant in &MUTANTS {
        let (seeds, violation) = match mutant.with(|| hunt(mutant.found_by)) {
            Some(find) => find,
            None => (SEEDS, "none".to_owned()),
        };
        let shown = violation.lines().next().unwrap_or_default();
        println!("{:<29} {seeds:>6}  {shown}", mutant.name);
        if !violation.contains(mutant.found_by) {
            missed.push((mutant, violation));
        }
    }
    assert!(
        missed.is_empty(),
        "not found as expected within {SEEDS} seeds: {missed:#?}"
    );
}

/// Looks for a violation with the check that should find the mutant. Returns the number of seeds that it took.
fn hunt(found_by: &str) -> Option<(u64, String)> {
    if found_by.starts_with("verdict") {
        let found = verdicts::disagreement(SEEDS_OF_A_VERDICT);
        return found.map(|found| (SEEDS_OF_A_VERDICT, found));
    }
    if found_by == "echoes that had arrived" {
        return bugs::faults_of_arrived_echoes().map(|found| (1, found));
    }
    seeds::hunt(0..SEEDS).map(|find| (find.seed + 1, find.violation))
}

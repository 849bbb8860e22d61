//! The simulator must find each mutant, by the check that the table names.

use mio_echo_mutants::{MUTANTS, Mutant, actions, hunt, report, shrunk, violation};
use sim::seeds::tape_of;
use sim::tape::Tape;

/// The number of seeds within which each mutant must be found.
const SEEDS: u64 = 10_000;

#[test]
fn every_mutant_is_found() {
    let mut missed = Vec::new();
    println!("{:<29} {:>6}  violation", "mutant", "seeds");
    for mutant in &MUTANTS {
        match hunt(mutant, SEEDS) {
            Some(find) => {
                println!(
                    "{:<29} {:>6}  {}",
                    mutant.name,
                    find.seed + 1,
                    find.violation
                );
            }
            None => missed.push(mutant),
        }
    }
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds: {missed:#?}"
    );
}

/// With every mutant switched off, the copy behaves as the server.
#[test]
fn without_a_mutant_no_seed_goes_wrong() {
    for seed in 0..2000 {
        assert_eq!(violation(None, &tape_of(seed)), None, "seed {seed}");
    }
}

/// The report of a violation has a short script, and its tape repeats the violation. `MIO_ECHO_MUTANT` chooses another
/// mutant, whose report is printed.
#[test]
fn a_violation_is_shrunk_to_a_short_script() {
    let mutant = mutant_from_environment().unwrap_or_else(|| named("DropThePendingWriteAtTheEnd"));
    let find = hunt(mutant, SEEDS).unwrap();
    let tape = shrunk(mutant, tape_of(find.seed));
    let text = report(mutant, &tape);
    println!("{text}");
    assert!(actions(&tape) <= 8, "{} actions are left", actions(&tape));
    let again: Tape = tape.to_string().parse().unwrap();
    assert!(violation(Some(mutant), &again).is_some());
    assert!(text.contains("WRONG"), "{text}");
    let command = format!("MIO_ECHO_TAPE='{tape}' MIO_ECHO_MUTANT={}", mutant.name);
    assert!(text.contains(&command), "{text}");
    if mutant.name == "DropThePendingWriteAtTheEnd" {
        assert_eq!(
            violation(None, &tape),
            None,
            "the violation must come from the mutant, not from the server"
        );
    }
}

/// With `MIO_ECHO_TAPE` and `MIO_ECHO_MUTANT`, prints the report of that run, shrunk if it causes a violation.
#[test]
fn replay() {
    let (Ok(tape), Some(mutant)) = (std::env::var("MIO_ECHO_TAPE"), mutant_from_environment())
    else {
        return;
    };
    let tape: Tape = tape.parse().unwrap();
    assert!(
        violation(Some(mutant), &tape).is_none(),
        "{}",
        report(mutant, &shrunk(mutant, tape))
    );
    println!("{}", report(mutant, &tape));
}

fn mutant_from_environment() -> Option<&'static Mutant> {
    std::env::var("MIO_ECHO_MUTANT")
        .ok()
        .map(|name| named(&name))
}

fn named(name: &str) -> &'static Mutant {
    let names = MUTANTS.map(|mutant| mutant.name);
    MUTANTS
        .iter()
        .find(|mutant| mutant.name == name)
        .unwrap_or_else(|| panic!("{name} is not one of the mutants {names:?}"))
}

//! Tests that run the server in the simulator, and tests of the simulator itself.

mod honesty;
mod orders;
mod regressions;
mod seeds;
mod spurious;
#[cfg(feature = "load")]
mod together;

use sim::seeds::tape_of;

use super::*;

/// Shrinks a tape that causes a violation to the smallest one that still does.
fn shrunk(tape: Tape) -> Tape {
    sim::seeds::shrunk(tape, |tape| run(tape).violation)
}

/// Returns the report of a tape's run.
fn report_of(tape: &Tape) -> String {
    report(&Case::decode(tape), tape, REPLAY)
}

/// Reads a number from the environment, for runs that are longer than those of `.ci/run`.
fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}"))
    })
}

/// With `MIO_ECHO_TAPE`, prints the report of that tape, shrunk if it causes a violation. Without it, checks that a
/// tape gives the same run after formatting and parsing.
#[test]
fn replay() {
    if let Ok(text) = std::env::var("MIO_ECHO_TAPE") {
        let tape: Tape = text.parse().unwrap();
        if run(&tape).violation.is_some() {
            panic!("{}", report_of(&shrunk(tape)));
        }
        println!("{}", report_of(&tape));
        return;
    }
    for seed in 0..50 {
        let tape = tape_of(seed);
        let again: Tape = tape.to_string().parse().unwrap();
        assert_eq!(run(&tape).hash, run(&again).hash, "{tape}");
    }
}

//! What the simulator finds, and whether it can find anything.

mod honesty;
mod orders;
mod regressions;
mod seeds;
mod spurious;

use sim::seeds::tape_of;

use super::*;

/// The smallest tape that can be made of one that goes wrong, such that it still does.
fn shrunk(tape: Tape) -> Tape {
    sim::seeds::shrunk(tape, |tape| run(tape).violation)
}

/// The report of a tape's run.
fn story(tape: &Tape) -> String {
    report(&Case::decode(tape), tape, REPLAY)
}

/// A number from the environment, for runs longer than the gate's.
fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}"))
    })
}

/// With `MIO_ECHO_TAPE` it shows that run, shrunk if it goes wrong; without, that a tape survives being written down.
#[test]
fn replay() {
    if let Ok(text) = std::env::var("MIO_ECHO_TAPE") {
        let tape: Tape = text.parse().unwrap();
        if run(&tape).violation.is_some() {
            panic!("{}", story(&shrunk(tape)));
        }
        println!("{}", story(&tape));
        return;
    }
    for seed in 0..50 {
        let tape = tape_of(seed);
        let again: Tape = tape.to_string().parse().unwrap();
        assert_eq!(run(&tape).hash, run(&again).hash, "{tape}");
    }
}

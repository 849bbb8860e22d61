//! What the simulator finds, and whether it can find anything.

mod honesty;
mod orders;
mod planted;
mod readiness;
mod regressions;
mod seeds;
mod shrinking;
mod spurious;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::*;
pub(crate) use planted::bearing_on_what_is_planted;

/// Tapes of any world, up to 24 actions, and several hundred decisions; what comes after them is tame.
fn tapes() -> impl Strategy<Value = Tape> {
    let any = proptest::num::u32::ANY;
    ([any; tape::WORLD], vec(any, 0..=24), vec(any, 0..=400)).prop_map(
        |(world, script, schedule)| Tape {
            world,
            script,
            schedule,
        },
    )
}

/// A seed's tape.
fn tape_of(seed: u64) -> Tape {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = runner(&bytes);
    let tree = tapes().new_tree(&mut runner).unwrap();
    tree.current()
}

fn runner(seed: &[u8; 32]) -> TestRunner {
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, seed))
}

/// The smallest tape that proptest can make of one that goes wrong, such that it still does.
fn shrunk(tape: Tape) -> Tape {
    let tree = shrinking::Shrinking::of(tape);
    let result = runner(&[0; 32]).run_one(tree, |tape| match run(&tape).violation {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(violation)),
    });
    match result {
        Err(TestError::Fail(_, tape)) => tape,
        other => panic!("it went wrong, and now: {other:?}"),
    }
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
        crate::planted::with(planted::bug_from_environment(), || {
            if run(&tape).violation.is_some() {
                panic!("{}", report(&shrunk(tape)));
            }
            println!("{}", report(&tape));
        });
        return;
    }
    for seed in 0..50 {
        let tape = tape_of(seed);
        let again: Tape = tape.to_string().parse().unwrap();
        assert_eq!(run(&tape).hash, run(&again).hash, "{tape}");
    }
}

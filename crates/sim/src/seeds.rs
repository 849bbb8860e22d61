//! Tapes from seeds, and small tapes from large ones.

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::shrinking::Shrinking;
use crate::tape::{Tape, WORLD};

/// Returns a seed's tape: any world, up to 24 actions, and up to 400 decisions; those after them are tame.
///
/// # Panics
/// Never: the strategy rejects nothing.
pub fn tape_of(seed: u64) -> Tape {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = runner(&bytes);
    tapes().new_tree(&mut runner).unwrap().current()
}

/// Returns the smallest tape that can be made of one that goes wrong, such that it still does. `violation` runs a
/// tape and returns what was wrong.
///
/// # Panics
/// If the tape does not go wrong.
pub fn shrunk(tape: Tape, violation: impl Fn(&Tape) -> Option<String>) -> Tape {
    let result = runner(&[0; 32]).run_one(Shrinking::of(tape), |tape| match violation(&tape) {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(violation)),
    });
    match result {
        Err(TestError::Fail(_, tape)) => tape,
        other => panic!("it went wrong, and now: {other:?}"),
    }
}

fn tapes() -> impl Strategy<Value = Tape> {
    let any = proptest::num::u32::ANY;
    ([any; WORLD], vec(any, 0..=24), vec(any, 0..=400)).prop_map(|(world, script, schedule)| Tape {
        world,
        script,
        schedule,
    })
}

fn runner(seed: &[u8; 32]) -> TestRunner {
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, seed))
}

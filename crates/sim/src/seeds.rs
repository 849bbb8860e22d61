//! The tape of a seed, and the shrinking of a tape that causes a violation.

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::shrinking::Shrinking;
use crate::tape::{Tape, WORLD};

/// Returns the tape of a seed: any world, up to 24 actions, and up to 400 decisions. Every later decision is the
/// simplest choice.
///
/// # Panics
/// Never: the strategy rejects nothing.
pub fn tape_of(seed: u64) -> Tape {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = runner(&bytes);
    tapes().new_tree(&mut runner).unwrap().current()
}

/// Shrinks a tape that causes a violation. Returns the smallest tape found that still causes one. `violation` runs a
/// tape and returns its violation, if any.
///
/// # Panics
/// If the given tape causes no violation.
pub fn shrunk(tape: Tape, violation: impl Fn(&Tape) -> Option<String>) -> Tape {
    let result = runner(&[0; 32]).run_one(Shrinking::of(tape), |tape| match violation(&tape) {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(violation)),
    });
    match result {
        Err(TestError::Fail(_, tape)) => tape,
        other => panic!("the tape causes no violation: {other:?}"),
    }
}

/// The strategy that draws tapes.
fn tapes() -> impl Strategy<Value = Tape> {
    let any = proptest::num::u32::ANY;
    ([any; WORLD], vec(any, 0..=24), vec(any, 0..=400)).prop_map(|(world, script, schedule)| Tape {
        world,
        script,
        schedule,
    })
}

/// A proptest runner whose random numbers depend on the seed only.
fn runner(seed: &[u8; 32]) -> TestRunner {
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, seed))
}

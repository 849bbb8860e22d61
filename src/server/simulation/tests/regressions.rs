//! What the simulator has found in the server, each script by its name.

use super::script::Action::{Send, SendUrgent};
use super::*;
use crate::planted::{Bug, with};

/// Found by the fuzzer. SIGTERM came after the urgent byte and before its event: the read of the last words stopped in
/// front of that byte, short, unhinted, and was taken for all.
#[test]
fn last_words_behind_an_urgent_byte() {
    let world = World {
        stop: Some(2),
        ..World::tame()
    };
    let script = Script::of(world, &[&[Send(5), SendUrgent]]);
    never_goes_wrong_again(&script, Bug::LastWordsEndAtAShortRead);
}

/// Under thousands of schedules, some of which bring the bug to light while it is planted.
fn never_goes_wrong_again(script: &Script, bug: Bug) {
    let mut wrong = 0;
    for seed in 0..2000 {
        let schedule = tape_of(seed).schedule;
        let run = || simulate(script, Choices::of(&schedule)).violation;
        assert_eq!(run(), None, "seed {seed}");
        wrong += u64::from(with(bug, run).is_some());
    }
    println!("{bug:?}: {wrong} of 2000 schedules would go wrong");
    assert!(wrong > 0);
}

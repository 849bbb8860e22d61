//! Tests of tapes as text, of tapes from a fuzzer's bytes, and of shrinking.

use crate::seeds::{shrunk, tape_of};
use crate::tape::Tape;

#[test]
fn a_tape_is_the_same_after_formatting_and_parsing() {
    for seed in 0..200 {
        let tape = tape_of(seed);
        let again: Tape = tape.to_string().parse().unwrap();
        assert_eq!((again.world, &again.script), (tape.world, &tape.script));
        // The text leaves out zeros at the end of a schedule, because every later decision is zero anyway.
        assert!(tape.schedule.starts_with(&again.schedule), "{tape}");
    }
    assert!("1/2".parse::<Tape>().is_err());
    assert!("1.2.3.4.5.6//".parse::<Tape>().is_err());
}

#[test]
fn bytes_are_read_as_world_script_and_schedule() {
    let bytes: Vec<u8> = [1, 2, 3, 4, 5, 2, 8, 9, 7, 7, 7]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .collect();
    let tape = Tape::from_bytes(&bytes);
    assert_eq!(tape.to_string(), "1.2.3.4.5/8.9/7.7.7");
    assert_eq!(Tape::from_bytes(&[]), Tape::default());
}

#[test]
fn shrinking_leaves_only_the_words_that_cause_the_violation() {
    let wrong = |tape: &Tape| tape.script.iter().any(|word| *word > 1000);
    let tape = (0..).map(tape_of).find(wrong).unwrap();
    let small = shrunk(tape, |tape| wrong(tape).then(|| "too large".to_owned()));
    assert_eq!(small.script.len(), 1, "{small}");
    assert!(small.script[0] < 3000, "{small}");
    assert_eq!((small.world, small.schedule.len()), ([0; 5], 0));
}

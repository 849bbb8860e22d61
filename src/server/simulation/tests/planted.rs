//! Kept honest: bugs that echo servers really have, planted on purpose, must each be found.

use super::script::{Action, Events, Faults};
use super::*;
use crate::planted::{Bug, with};

/// Each bug is found by one of so many seeds.
const SEEDS: u64 = 10_000;

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    println!("{:<26} {:>6}  what was seen first", "bug", "seeds");
    for bug in Bug::ALL {
        match hunt(bug) {
            Some((seeds, violation)) => {
                println!("{:<26} {seeds:>6}  {violation}", format!("{bug:?}"))
            }
            None => missed.push(bug),
        }
    }
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds: {missed:?}"
    );
}

/// How many seeds it took, and what was seen.
fn hunt(bug: Bug) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let tape = tape_of(seed);
        let mut script = Script::decode(&tape);
        match bug {
            Bug::CloseOnAStaleEvent => leave_only_stale_events(&mut script),
            // Rare: it took a fuzzer to find it, and 28,000 seeds.
            Bug::LastWordsEndAtAShortRead => script.world.stop = Some(2 + seed % 4),
            _ => {}
        }
        let run = with(bug, || simulate(&script, Choices::of(&tape.schedule)));
        run.violation.map(|violation| (seed + 1, violation))
    })
}

/// Takes out of a script all but the reused key that could show a stale event's harm: nonsense, and events that tell of
/// an end and of room at once.
fn leave_only_stale_events(script: &mut Script) {
    script.world.faults = Faults::None;
    script.world.events = Events::Split;
    for peer in &mut script.peers {
        peer.retain(|action| !matches!(action, Action::HalfClose | Action::Close));
    }
}

/// A failure's report is what a person needs: the shrunk script is short, its tape repeats it, and the story is there.
/// `MIO_ECHO_BUG` names another bug whose story somebody would like to read.
#[test]
fn a_find_is_shrunk_to_a_short_script() {
    let name = std::env::var("MIO_ECHO_BUG").unwrap_or("DropTheSpillAtTheEnd".to_owned());
    let named = |bug: &Bug| format!("{bug:?}") == name;
    let bug = Bug::ALL.into_iter().find(named);
    let bug = bug.unwrap_or_else(|| panic!("there is no {name} among {:?}", Bug::ALL));
    let (seeds, _) = hunt(bug).unwrap();
    let (tape, text) = with(bug, || {
        let tape = shrunk(tape_of(seeds - 1));
        let text = report(&tape);
        (tape, text)
    });
    println!("{text}");
    let script = Script::decode(&tape);
    let actions: usize = script.peers.iter().map(Vec::len).sum();
    assert!(actions <= 6, "{actions} actions are left:\n{script}");
    let again: Tape = tape.to_string().parse().unwrap();
    assert!(with(bug, || run(&again)).violation.is_some());
    assert!(text.contains("WRONG"), "{text}");
    assert!(text.contains(&format!("MIO_ECHO_TAPE='{tape}'")), "{text}");
    assert_eq!(
        run(&tape).violation,
        None,
        "it is the bug's, not the server's"
    );
}

//! Kept honest: bugs that echo servers really have, planted on purpose, must each be found, and by the check that is there
//! for them.

use super::script::{Action, Events, Faults};
use super::*;
use crate::planted::{Bug, now, with};

/// Each bug is found by one of so many seeds.
const SEEDS: u64 = 10_000;

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    println!("{:<29} {:>6}  what was seen", "bug", "seeds");
    for bug in Bug::ALL {
        match hunt(bug) {
            Some((seed, violation)) => {
                println!("{:<29} {:>6}  {violation}", format!("{bug:?}"), seed + 1);
            }
            None => missed.push((bug, sign_of(bug))),
        }
    }
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds: {missed:?}"
    );
}

/// The first seed that shows a bug for what it is, and what was seen.
fn hunt(bug: Bug) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let violation = with(bug, || run(&tape_of(seed))).violation?;
        violation
            .contains(sign_of(bug))
            .then_some((seed, violation))
    })
}

/// Of all that a bug may lead to, what it is known by.
fn sign_of(bug: Bug) -> &'static str {
    match bug {
        Bug::AcceptOncePerEvent
        | Bug::NoReadyQueueAfterYield
        | Bug::StopAfterShortRead
        | Bug::ForgetTheHintAfterATurn
        | Bug::TrustShortReadsEverywhere
        | Bug::LoseAListenerDuringAPause
        | Bug::LoseTheListenerAtTheCap
        | Bug::ShortSpliceIsDrained
        | Bug::TrustASplicesWouldBlock
        | Bug::NoRetryAfterEmfile => "a stall",
        Bug::CloseOnAFlag | Bug::CloseOnAStaleEvent => "nothing had asked for it",
        Bug::DropTheSpillAtTheEnd | Bug::NewBeforeOld => "of its echo is",
        Bug::ReadWhilePending => "and a read is",
        Bug::PartialWriteIsWhole | Bug::KeepTheSpill => "and the spills hold",
        Bug::SpillBeyondTheBudget => "and the budget has",
        Bug::ForgetWhoWaitsForAPause | Bug::NoRetryWhenAConnectionCloses => {
            "nobody tries to accept again"
        }
        Bug::RetryAtOnce | Bug::WakeUpForNothing | Bug::TryWhatIsNotAwaited => "a spin",
        Bug::ForgetTheStallTimer => "the stall timeout",
        Bug::TurnAwayTooEarly => "there was room",
        Bug::LeaveItRegistered => "still registered",
        Bug::CountWhatWasOffered => "bytes out: the server counts",
        Bug::GiveUpTooEarly => "abandoned before the drain timeout",
        Bug::TurnWithoutEnd => "times in one turn",
        Bug::NoLingeringClose => "did not linger",
        Bug::NoLastWords | Bug::LastWordsEndAtAShortRead => "and owing",
        Bug::WaitForALostWakeUp => "the drain",
        Bug::LeaveItInThePipe | Bug::PartialSpliceIsWhole => "the pipe still holds",
        Bug::DieOfEintr => "nothing had asked for it",
        Bug::TrustATimer => "a timer closed it with something to read",
        Bug::TrustAStallTimer => "there was room again",
        Bug::TakeAWriteForProgress => "the stall timeout",
        Bug::IdleWhileItReads => "its echo is on its way",
        Bug::IdleWhileItAcknowledges => "had just acknowledged bytes",
        Bug::CloseWithOutputInTheKernel => "closed before its echo is delivered",
        Bug::LetTheKernelDecide => "was cut off by the kernel",
        Bug::EndWithOutputInTheKernel => "with bytes in the send queue",
        Bug::ForgetTheBacklog => "is closed unanswered",
        Bug::KeepFreeMemory => "sleeps without a timer",
    }
}

/// Scripts in which a planted bug that is rare, or hidden by others, comes to light.
pub(crate) fn bearing_on_what_is_planted(mut script: Script) -> Script {
    match now() {
        // Takes out all but the reused key that could show a stale event's harm: nonsense, and events that tell of an
        // end and of room at once.
        Some(Bug::CloseOnAStaleEvent) => {
            script.world.faults = Faults::None;
            script.world.events = Events::Split;
            for peer in &mut script.peers {
                peer.retain(|action| !matches!(action, Action::HalfClose | Action::Close));
            }
        }
        // Slow readers, for which the kernel's timer is not exact.
        Some(Bug::LetTheKernelDecide) => {
            script.world.tells_delivery = true;
            script.world.kernel_times_stalls = true;
            script.world.stall = Some(300);
            for peer in &mut script.peers {
                let slowly = [Action::Read(1), Action::Pause(100)];
                let slowly = slowly.into_iter().cycle().take(20);
                *peer = [Action::Send(60)].into_iter().chain(slowly).collect();
            }
        }
        // It took a fuzzer to find it, and 28,000 seeds.
        Some(Bug::LastWordsEndAtAShortRead) => {
            script.world.stop = Some(2 + script.peers.len() as u64 % 4);
        }
        _ => {}
    }
    script
}

/// A failure's report is what a person needs: the shrunk script is short, its tape repeats it, and the story is there.
/// `MIO_ECHO_BUG` names another bug whose story somebody would like to read.
#[test]
fn a_find_is_shrunk_to_a_short_script() {
    let bug = bug_from_environment().unwrap_or(Bug::DropTheSpillAtTheEnd);
    let (seed, _) = hunt(bug).unwrap();
    let (tape, text) = with(bug, || {
        let tape = shrunk(tape_of(seed));
        let text = report(&tape);
        (tape, text)
    });
    println!("{text}");
    let actions: usize = Script::decode(&tape).peers.iter().map(Vec::len).sum();
    assert!(actions <= 8, "{actions} actions are left");
    let again: Tape = tape.to_string().parse().unwrap();
    assert!(with(bug, || run(&again)).violation.is_some());
    assert!(text.contains("WRONG"), "{text}");
    let command = format!("MIO_ECHO_BUG={bug:?} MIO_ECHO_TAPE='{tape}'");
    assert!(text.contains(&command), "{text}");
    assert_eq!(
        run(&tape).violation,
        None,
        "it is the bug's, not the server's"
    );
}

/// The bug that `MIO_ECHO_BUG` names.
pub(super) fn bug_from_environment() -> Option<Bug> {
    let name = std::env::var("MIO_ECHO_BUG").ok()?;
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    Some(bug.unwrap_or_else(|| panic!("there is no {name} among {:?}", Bug::ALL)))
}

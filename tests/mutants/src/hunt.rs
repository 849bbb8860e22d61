//! The hunt: seeds are run with a mutant switched on until the check that is there for it fails.

use sim::script::{Action, Events, Faults, Script, World};
use sim::seeds;
use sim::tape::{Choices, Tape};

use crate::Mutant;
use crate::server::simulation::{Case, report as report_of, simulate};
use crate::switch::with;

/// How a mutant was found.
#[derive(Debug)]
pub struct Find {
    /// The seed of its tape.
    pub seed: u64,
    /// What the check said.
    pub violation: String,
}

/// Returns the first of so many seeds in which the mutant's check finds it.
#[must_use]
pub fn hunt(mutant: &Mutant, seeds: u64) -> Option<Find> {
    (0..seeds).find_map(|seed| {
        let violation = violation(Some(mutant), &seeds::tape_of(seed))?;
        let is_known = violation.contains(mutant.found_by);
        is_known.then_some(Find { seed, violation })
    })
}

/// Runs a tape with a mutant switched on, or with none. Returns what was wrong.
#[must_use]
pub fn violation(mutant: Option<&Mutant>, tape: &Tape) -> Option<String> {
    let case = case_of(mutant, tape);
    let run = || simulate(&case, Choices::of(&tape.schedule)).violation;
    match mutant {
        Some(mutant) => with(mutant.name, run),
        None => run(),
    }
}

/// The smallest tape that can be made of one that goes wrong, such that it still does.
///
/// # Panics
/// If the tape does not go wrong.
#[must_use]
pub fn shrunk(mutant: &Mutant, tape: Tape) -> Tape {
    seeds::shrunk(tape, |tape| violation(Some(mutant), tape))
}

/// What was wrong with a tape's run, its script, its trace, and the command that repeats it.
#[must_use]
pub fn report(mutant: &Mutant, tape: &Tape) -> String {
    let case = case_of(Some(mutant), tape);
    let command = format!(
        "MIO_ECHO_MUTANT={} cargo test -p mio-echo-mutants replay -- --nocapture",
        mutant.name
    );
    with(mutant.name, || report_of(&case, tape, &command))
}

/// How many things the peers of a tape's script do.
#[must_use]
pub fn actions(tape: &Tape) -> usize {
    Case::decode(tape).script.peers.iter().map(Vec::len).sum()
}

/// A tape's case. For mutants that are rare, or hidden by the harm that they do elsewhere, it is bent towards them.
fn case_of(mutant: Option<&Mutant>, tape: &Tape) -> Case {
    let mut case = Case::decode(tape);
    let script = &mut case.script;
    match mutant.map_or("", |mutant| mutant.name) {
        // Takes out everything but the reused key that could show a stale event's harm: nonsense, and events that tell of an
        // end and of room at once.
        "CloseOnAStaleEvent" => {
            script.world.faults = Faults::None;
            script.world.events = Events::Split;
            for peer in &mut script.peers {
                peer.retain(|action| !matches!(action, Action::HalfClose | Action::Close));
            }
        }
        // Slow readers, for which the kernel's timer is not exact.
        "LetTheKernelDecide" => {
            script.world.tells_delivery = true;
            script.world.kernel_times_stalls = true;
            case.settings.stall = Some(300);
            for peer in &mut script.peers {
                let slowly = [Action::Read(1), Action::Pause(100)];
                let slowly = slowly.into_iter().cycle().take(20);
                *peer = [Action::Send(60)].into_iter().chain(slowly).collect();
            }
        }
        // It took a fuzzer to find it, and 28,000 seeds.
        "FinalEchoEndsAtAShortRead" => {
            script.world.stop = Some(2 + script.peers.len() as u64 % 4);
        }
        // It took 24,722 seeds.
        "NoHintFromATimer" => {
            let world = World {
                faults: Faults::Harmless,
                ..World::tame()
            };
            let actions = [4, 4].map(Action::Send);
            let actions = [&actions[..], &[Action::Pause(1), Action::SendUrgent]].concat();
            *script = Script::of(world, &[&actions, &actions, &actions]);
            case.settings.read_buffer = 4;
            case.settings.turn = 1;
            case.settings.splices = true;
            case.settings.idle = Some(400);
        }
        _ => {}
    }
    case
}

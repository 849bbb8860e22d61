//! The search for mutants: runs seeds with a mutant switched on until the expected check fails.

use sim::script::{Action, Events, Faults, Script, World};
use sim::seeds;
use sim::tape::{Choices, Tape};

use crate::Mutant;
use crate::server::simulation::{Case, report as report_of, simulate};
use crate::switch::with;

/// The seed that found a mutant, and the violation.
#[derive(Debug)]
pub struct Find {
    /// The seed.
    pub seed: u64,
    /// The violation that the check reported.
    pub violation: String,
}

/// Runs the seeds `0..seeds`. Returns the first one that makes the mutant's expected check fail.
#[must_use]
pub fn hunt(mutant: &Mutant, seeds: u64) -> Option<Find> {
    (0..seeds).find_map(|seed| {
        let violation = violation(Some(mutant), &seeds::tape_of(seed))?;
        let is_known = violation.contains(mutant.found_by);
        is_known.then_some(Find { seed, violation })
    })
}

/// Runs a tape with a mutant switched on, or without one. Returns the violation, if any.
#[must_use]
pub fn violation(mutant: Option<&Mutant>, tape: &Tape) -> Option<String> {
    let case = case_of(mutant, tape);
    let run = || simulate(&case, Choices::of(&tape.schedule)).violation;
    match mutant {
        Some(mutant) => with(mutant.name, run),
        None => run(),
    }
}

/// Shrinks a tape that causes a violation with this mutant to the smallest one found that still does.
///
/// # Panics
/// If the tape causes no violation.
#[must_use]
pub fn shrunk(mutant: &Mutant, tape: Tape) -> Tape {
    seeds::shrunk(tape, |tape| violation(Some(mutant), tape))
}

/// Returns the report of a tape's run: the violation, the script, the trace, and the command that repeats the run.
#[must_use]
pub fn report(mutant: &Mutant, tape: &Tape) -> String {
    let case = case_of(Some(mutant), tape);
    let command = format!(
        "MIO_ECHO_MUTANT={} cargo test -p mio-echo-mutants replay -- --nocapture",
        mutant.name
    );
    with(mutant.name, || report_of(&case, tape, &command))
}

/// Returns the number of actions in a tape's script.
#[must_use]
pub fn actions(tape: &Tape) -> usize {
    Case::decode(tape).script.peers.iter().map(Vec::len).sum()
}

/// Returns the case of a tape. Random cases rarely find some mutants, or find them by another check first. For these
/// mutants the case is changed.
fn case_of(mutant: Option<&Mutant>, tape: &Tape) -> Case {
    let mut case = Case::decode(tape);
    let script = &mut case.script;
    match mutant.map_or("", |mutant| mutant.name) {
        // Only a stale event of a reused key may make the check fail. So there are no spurious events, and no event
        // reports both an end of stream and room.
        "CloseOnAStaleEvent" => {
            script.world.faults = Faults::None;
            script.world.events = Events::Split;
            for peer in &mut script.peers {
                peer.retain(|action| !matches!(action, Action::HalfClose | Action::Close));
            }
        }
        // Peers that read slowly: the kernel's timer counts from the first unacknowledged byte. So it may end their
        // connections although they acknowledge bytes.
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
        // Random cases needed a fuzzer, or 28,000 seeds, to find this mutant.
        "FinalEchoEndsAtAShortRead" => {
            script.world.stop = Some(2 + script.peers.len() as u64 % 4);
        }
        // Random cases needed 24,722 seeds to find this mutant.
        "NoHintFromATimer" => {
            let world = World {
                faults: Faults::Harmless,
                ..World::simple()
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

//! What the simulator has found in the server, each script by its name.

use sim::script::Action::{Pause, Send, SendUrgent};
use sim::script::{Faults, Script, World};

use super::settings::Settings;
use super::*;

/// Found by the fuzzer. SIGTERM came after the urgent byte and before its event: the final echo's read stopped
/// in front of that byte, short, unhinted, and was taken for all.
#[test]
fn a_final_echo_behind_an_urgent_byte() {
    let world = World {
        stop: Some(2),
        ..World::tame()
    };
    let case = Case {
        script: Script::of(world, &[&[Send(5), SendUrgent]]),
        settings: Settings::tame(),
    };
    never_goes_wrong_again(&case);
}

/// Under thousands of schedules. That some of them can go wrong is shown by the mutant of each find (`tests/mutants`).
fn never_goes_wrong_again(case: &Case) {
    for seed in 0..2000 {
        let run = simulate(case, Choices::of(&tape_of(seed).schedule));
        assert_eq!(run.violation, None, "seed {seed}");
    }
}

/// Found by seeds. Bulk had gone through the pipe, an urgent byte came, and the server was stopped until its idle timer had
/// expired, before any event. The timer's pump trusted a splice, which would block in front of that byte. Without the fix
/// 110 of these schedules go wrong.
#[test]
fn an_idle_timer_before_the_event_of_an_urgent_byte() {
    let world = World {
        faults: Faults::Harmless,
        ..World::tame()
    };
    let settings = Settings {
        read_buffer: 4,
        turn: 1,
        splices: true,
        idle: Some(400),
        ..Settings::tame()
    };
    let actions = [Send(4), Send(4), Pause(1), SendUrgent];
    let case = Case {
        script: Script::of(world, &[&actions, &actions, &actions]),
        settings,
    };
    never_goes_wrong_again(&case);
}

//! Scripts of the bugs that the simulator has found in the server.

use sim::script::Action::{Pause, Send, SendUrgent};
use sim::script::{Faults, Script, World};

use super::settings::ServerSettings;
use super::*;

/// Found by the fuzzer. SIGTERM arrived after the urgent byte and before its event. A read stops in front of an urgent
/// byte, so the read of the final echo was short. The server had no hint of the urgent byte, so it concluded that it
/// had read all received bytes.
#[test]
fn the_final_echo_includes_an_urgent_byte_without_its_event() {
    let world = World {
        stop: Some(2),
        ..World::simple()
    };
    let case = Case {
        script: Script::of(world, &[&[Send(5), SendUrgent]]),
        settings: ServerSettings::simple(),
    };
    assert_no_violation(&case);
}

/// Runs a case under 2000 schedules. For each bug, a mutant shows that some schedules detect the bug (`tests/mutants`).
fn assert_no_violation(case: &Case) {
    for seed in 0..2000 {
        let run = simulate(case, Choices::of(&tape_of(seed).schedule));
        assert_eq!(run.violation, None, "seed {seed}");
    }
}

/// Found by seeds. The connection was splicing when an urgent byte arrived. Then the server was suspended until the
/// idle timer expired, before it got the event of that byte. The timer pumped the connection, and the splice returned
/// `WouldBlock` in front of the urgent byte. The server concluded that the receive queue was empty. Without the fix,
/// 110 of the 2000 schedules cause a violation.
#[test]
fn the_idle_timer_finds_an_urgent_byte_without_its_event() {
    let world = World {
        faults: Faults::Harmless,
        ..World::simple()
    };
    let settings = ServerSettings {
        read_buffer: 4,
        turn: 1,
        splices: true,
        idle: Some(400),
        ..ServerSettings::simple()
    };
    let actions = [Send(4), Send(4), Pause(1), SendUrgent];
    let case = Case {
        script: Script::of(world, &[&actions, &actions, &actions]),
        settings,
    };
    assert_no_violation(&case);
}

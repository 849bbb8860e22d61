//! Fault 29: events for nothing, on the side of the listeners and on that of the streams.

use sim::script::{Action, Faults, Script, Selector};

use super::honesty::real_case;
use super::*;

/// Whether a peer sends more without reading than the queues hold.
fn fills_the_queues(script: &Script) -> bool {
    let room = (script.world.receive_queue + script.world.send_queue) as u32;
    script.peers.iter().any(|actions| {
        let mut unread = 0_u32;
        actions.iter().any(|action| {
            match action {
                Action::Send(n) => unread += n,
                Action::SendUrgent => unread += 1,
                Action::Read(n) => unread = unread.saturating_sub(*n),
                _ => {}
            }
            unread > room
        })
    })
}

/// Events for nothing, polls that return early, interrupted calls, accepts that fail for a while, and a server that
/// is stopped for longer than its timeout change no byte, no ending and no reason.
#[test]
fn harmless_faults_change_nothing() {
    let mut met = [(Selector::Edge, 0), (Selector::Rearm, 0)];
    let mut lost_times = 0;
    for seed in 0..1000 {
        let mut case = real_case(seed);
        // Peers here do what they can at once, so a timer has nothing to close, however long the server was stopped.
        // A peer that sends without reading is another matter: its timeout may come, or the last phase, in which it
        // reads.
        case.settings.idle = (!fills_the_queues(&case.script)).then_some(400);
        let undisturbed = simulate(&case, Choices::of(&[]));
        case.script.world.faults = Faults::Harmless;
        let disturbed = simulate(&case, Choices::of(&tape_of(seed).schedule));
        assert!(
            disturbed.violation.is_none(),
            "seed {seed}: {}",
            report(&case, &tape_of(seed), "(a script of this test)")
        );
        let outcome = |run: &Run| (run.endings.clone(), run.stats.closed.clone());
        assert_eq!(
            outcome(&disturbed),
            outcome(&undisturbed),
            "seed {seed}\n{case}"
        );
        lost_times += disturbed.seen.lost_times;
        for (selector, spurious) in &mut met {
            if *selector == case.script.world.selector {
                *spurious += disturbed.seen.spurious;
            }
        }
    }
    println!("events for nothing: {met:?}; stopped: {lost_times} times");
    assert!(lost_times > 100, "stopped only {lost_times} times");
    assert!(met.iter().all(|(_, spurious)| *spurious > 500), "{met:?}");
}

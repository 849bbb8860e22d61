//! Fault 29 (docs/FAULTS.md): spurious events, for listeners and for streams.

use sim::script::{Action, Faults, Script, Selector};

use super::honesty::real_case;
use super::*;

/// Whether a peer sends more bytes without reading than both queues hold.
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

/// Harmless faults change no outcome: neither the bytes that a peer gets, nor the way in which its connection ends, nor
/// the server's reason for the close.
///
/// Harmless faults are spurious events, polls that return early or late, interrupted calls, accepts and splices that
/// fail for a while, and suspensions of the server that may be longer than its timeouts.
#[test]
fn harmless_faults_change_nothing() {
    let mut spurious_events = [(Selector::Edge, 0), (Selector::Rearm, 0)];
    let mut suspensions = 0;
    for seed in 0..1000 {
        let mut case = real_case(seed);
        // The peers act as soon as they can. So no timer closes a connection, even after a long suspension of the
        // server. A peer that fills the queues is an exception: its idle timeout may expire before the last phase of
        // the run, in which it reads. So such a script runs without an idle timeout.
        case.settings.idle = (!fills_the_queues(&case.script)).then_some(400);
        let undisturbed = simulate(&case, Choices::of(&[]));
        case.script.world.faults = Faults::Harmless;
        let disturbed = simulate(&case, Choices::of(&tape_of(seed).schedule));
        assert!(
            disturbed.violation.is_none(),
            "seed {seed}: {}",
            report(
                &case,
                &tape_of(seed),
                "(the tape alone does not repeat this run: the test changes its case)"
            )
        );
        let outcome = |run: &Run| (run.endings.clone(), run.stats.closed.clone());
        assert_eq!(
            outcome(&disturbed),
            outcome(&undisturbed),
            "seed {seed}\n{case}"
        );
        suspensions += disturbed.seen.suspensions;
        for (selector, spurious) in &mut spurious_events {
            if *selector == case.script.world.selector {
                *spurious += disturbed.seen.spurious;
            }
        }
    }
    println!("spurious events: {spurious_events:?}; suspensions: {suspensions}");
    assert!(suspensions > 100, "only {suspensions} suspensions");
    assert!(
        spurious_events.iter().all(|(_, spurious)| *spurious > 500),
        "{spurious_events:?}"
    );
}

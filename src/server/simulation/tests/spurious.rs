//! Fault 29: events for nothing, on the side of the listeners and on that of the streams.

use super::honesty::real_script;
use super::script::{Faults, Selector};
use super::*;

/// Events for nothing, polls that return early, interrupted calls, and accepts that fail for a while change no byte, no
/// ending and no reason.
#[test]
fn harmless_faults_change_nothing() {
    let mut met = [(Selector::Edge, 0), (Selector::Rearm, 0)];
    for seed in 0..1000 {
        let mut script = real_script(seed);
        let undisturbed = simulate(&script, Choices::of(&[]));
        script.world.faults = Faults::Harmless;
        let disturbed = simulate(&script, Choices::of(&tape_of(seed).schedule));
        assert_eq!(disturbed.violation, None, "seed {seed}\n{script}");
        let outcome = |run: &Run| (run.endings.clone(), run.stats.closed.clone());
        assert_eq!(
            outcome(&disturbed),
            outcome(&undisturbed),
            "seed {seed}\n{script}"
        );
        for (selector, spurious) in &mut met {
            if *selector == script.world.selector {
                *spurious += disturbed.seen.spurious;
            }
        }
    }
    println!("events for nothing: {met:?}");
    assert!(met.iter().all(|(_, spurious)| *spurious > 500), "{met:?}");
}

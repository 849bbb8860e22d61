//! Runs small scripts in every order of the peers' steps and the server's calls. A script has at most two peers and a
//! few steps.

use std::collections::BTreeSet;

use sim::script::Action::{self, HalfClose, Reset, Send};
use sim::script::{Events, Script, Selector, World};

use super::settings::ServerSettings;
use super::*;

/// The results of all orders of a script.
#[derive(Debug, Default)]
struct Orders {
    /// The number of orders.
    runs: u64,
    /// The hashes of the traces. The number of different ones is the number of orders that really differ.
    traces: BTreeSet<u64>,
    /// The number of orders in which a key was reused within one batch of events.
    reused: u64,
    /// The number of orders in which a peer ended its stream while the server had bytes to write.
    pending_at_end: u64,
}

/// Runs a script in every order.
#[track_caller]
fn every_order(world: World, settings: ServerSettings, peers: &[&[Action]]) -> Orders {
    let script = Script::of(world, peers);
    let case = Case { script, settings };
    let mut orders = Orders::default();
    let mut next = Some(Choices::every());
    while let Some(choices) = next {
        let run = simulate(&case, choices.clone());
        if let Some(violation) = run.violation {
            let (_, lines) = trace::record(|| simulate(&case, choices));
            panic!("{violation}\n\n{case}\n{}", lines.join("\n"));
        }
        orders.runs += 1;
        orders.traces.insert(run.hash);
        orders.reused += u64::from(run.seen.keys_reused_in_a_batch > 0);
        orders.pending_at_end += u64::from(run.seen.ends_with_output_pending > 0);
        next = run.choices.next_order();
    }
    println!(
        "{} orders, {} different: {case}",
        orders.runs,
        orders.traces.len()
    );
    orders
}

/// Returns every kind of selector, each with queues of one byte, so that each byte has to wait.
fn tight_worlds() -> impl Iterator<Item = World> {
    let selectors = [Selector::Edge, Selector::Rearm];
    let styles = [Events::Merged, Events::Split];
    let pairs = selectors
        .into_iter()
        .flat_map(move |s| styles.map(|e| (s, e)));
    pairs.map(|(selector, events)| World {
        selector,
        events,
        receive_queue: 1,
        send_queue: 1,
        ..World::simple()
    })
}

/// ServerSettings with a read buffer of one byte.
fn small_reads() -> ServerSettings {
    ServerSettings {
        read_buffer: 1,
        ..ServerSettings::simple()
    }
}

#[test]
fn one_byte_each_in_every_order() {
    for world in tight_worlds() {
        let orders = every_order(world, small_reads(), &[&[Send(1)], &[Send(1)]]);
        assert!(orders.traces.len() > 100, "{orders:?}");
    }
}

#[test]
fn a_half_close_in_every_order() {
    for world in tight_worlds() {
        let orders = every_order(world, small_reads(), &[&[Send(2), HalfClose]]);
        assert!(orders.pending_at_end > 0, "{orders:?}");
    }
}

/// Fault 28 (docs/FAULTS.md). The key of the first peer is freed and given to the second peer within one batch of
/// events. The batch has another event for this key. The second peer gets its own bytes and its own end of stream, and
/// none of the first peer's.
#[test]
fn a_key_reused_within_one_batch_gives_the_new_peer_nothing_of_the_old() {
    for selector in [Selector::Edge, Selector::Rearm] {
        let world = World {
            selector,
            events: Events::Split,
            ..World::simple()
        };
        let first: [&[Action]; 3] = [&[Reset], &[HalfClose], &[Send(1), Reset]];
        for first in first {
            let orders = every_order(
                world.clone(),
                ServerSettings::simple(),
                &[first, &[Send(2)]],
            );
            assert!(orders.reused > 0, "{orders:?}");
        }
    }
}

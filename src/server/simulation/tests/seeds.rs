//! Thousands of seeds: each gives a world, the scripts of its peers and the decisions of the kernel.

use std::collections::BTreeMap;
use std::time::Instant;

use sim::script::{Action, Script, World};

use super::settings::{CROWD, ServerSettings};
use super::*;

/// The number of seeds that `.ci/run` runs. `MIO_ECHO_SEEDS` sets another number, `MIO_ECHO_FIRST_SEED` another first
/// seed.
const SEEDS: u64 = 10_000;

/// Runs each seed twice. Every check must hold after every turn and at the end, and both runs must have the same hash.
#[test]
fn no_seed_goes_wrong() {
    let first = from_environment("MIO_ECHO_FIRST_SEED", 0);
    let seeds = from_environment("MIO_ECHO_SEEDS", SEEDS);
    let mut occurred = BTreeMap::new();
    let start = Instant::now();
    for seed in first..first + seeds {
        let tape = tape_of(seed);
        let once = run(&tape);
        if once.violation.is_some() {
            let small = shrunk(tape);
            panic!(
                "seed {seed}: {}or, without shrinking: MIO_ECHO_FIRST_SEED={seed} MIO_ECHO_SEEDS=1 cargo test --lib \
                 simulation",
                report_of(&small)
            );
        }
        let again = run(&tape);
        assert_eq!(
            once.hash, again.hash,
            "seed {seed} runs differently each time"
        );
        for (what, times) in encounters(&once) {
            *occurred.entry(what).or_insert(0) += u64::from(times > 0);
        }
    }
    let rate = 2.0 * seeds as f64 / start.elapsed().as_secs_f64();
    println!("{seeds} seeds, each twice: {rate:.0} scripts a second");
    println!("number of seeds in which each situation occurred: {occurred:?}");
    // The checks prove nothing about a situation that never occurs.
    if seeds >= SEEDS {
        for (what, times) in &occurred {
            assert!(
                *times >= seeds / 1000,
                "{what}: only {times} of {seeds} seeds"
            );
        }
    }
    // The aim is to run tens of thousands of scripts in a minute. It does not apply to a debug build.
    if cfg!(not(debug_assertions)) {
        assert!(rate >= 1000.0, "{rate:.0} scripts a second");
    }
}

/// Returns the name of each situation, and the number of times that it occurred in a run.
fn encounters(run: &Run) -> [(&'static str, u64); 37] {
    let (seen, stats) = (&run.seen, &run.stats);
    let (closed, refused) = (&stats.closed, &stats.accept_errors);
    [
        ("ended streams", closed.end_of_stream),
        ("resets", closed.reset),
        ("keep-alives unanswered", closed.failed),
        ("idle timeouts", closed.idle),
        ("stall timeouts", closed.stalled),
        ("drained", closed.drained),
        ("abandoned", closed.abandoned),
        ("unregistered", closed.unregistered),
        ("turned away", stats.rejected),
        ("pending writes", stats.spills),
        ("peeks", stats.peeks),
        ("yields", stats.yields),
        ("bytes discarded", stats.bytes_discarded),
        ("EMFILE", refused.process_descriptors),
        ("ENFILE", refused.system_descriptors),
        ("ENOMEM", refused.memory),
        ("ECONNABORTED", refused.aborted),
        ("full send queues", seen.would_block_writes),
        ("spurious events", seen.spurious),
        ("events left for later", seen.left_for_later),
        ("keys reused within a batch", seen.keys_reused_in_a_batch),
        ("ends with output pending", seen.ends_with_output_pending),
        ("jumps of the clock", seen.time_jumps),
        ("EPROTO", refused.network),
        ("urgent bytes", seen.urgent_bytes),
        ("EINTR", seen.interrupted),
        ("lost wake-ups", seen.lost_wake_ups),
        ("splices", seen.splices),
        ("splices held up by an urgent byte", seen.splices_held_up),
        ("pipes that fail", seen.failed_pipes),
        ("suspensions of the server", seen.suspensions),
        ("busy polls", seen.busy_polls),
        ("periodic statistics", run.reports),
        ("crowds", u64::from(stats.peak > CROWD as u64)),
        (
            "in the backlog at the request to stop",
            seen.waiting_at_stop,
        ),
        ("time-outs of the kernel", seen.kernel_time_outs),
        ("send queues that grow", seen.grown_queues),
    ]
}

/// The lines of the trace are as repeatable as its hash.
#[test]
fn a_seed_gives_the_same_lines_twice() {
    for seed in 0..300 {
        let tape = tape_of(seed);
        let (_, once) = trace::record(|| run(&tape));
        let (_, again) = trace::record(|| run(&tape));
        assert_eq!(once, again, "seed {seed}");
    }
}

/// The trace of the echo of one message has each action of the peer, and each line that `serve -vv` logs.
#[test]
fn a_trace_has_every_action_and_log_line() {
    let case = Case {
        script: Script::of(World::simple(), &[&[Action::Send(3)]]),
        settings: ServerSettings::simple(),
    };
    let (_, lines) = trace::record(|| simulate(&case, Choices::of(&[])));
    let text = lines.join("\n");
    println!("{text}");
    for sentence in [
        "peer 0 sends 3 bytes",
        "server: #1 accepted, from peer 0",
        "server: #1 read 3 bytes",
        "server: #1 wrote 3 of 3 bytes",
        "peer 0 reads 3 bytes of its echo",
        "server: #1 read the end of the stream",
        "server: #1 closed after 3 bytes: the peer ended its stream and its echo is complete",
    ] {
        assert!(text.contains(sentence), "{sentence:?} is missing");
    }
}

//! Thousands of seeds, each of which is a world, its peers and a fate.

use std::collections::BTreeMap;
use std::time::Instant;

use sim::script::{Action, Script, World};

use super::settings::{CROWD, Settings};
use super::*;

/// How many seeds the gate runs. `MIO_ECHO_SEEDS` sets another number, `MIO_ECHO_FIRST_SEED` another beginning.
const SEEDS: u64 = 10_000;

/// Safety after every turn, liveness at the end, and each seed twice with the same outcome.
#[test]
fn no_seed_goes_wrong() {
    let first = from_environment("MIO_ECHO_FIRST_SEED", 0);
    let seeds = from_environment("MIO_ECHO_SEEDS", SEEDS);
    let mut met = BTreeMap::new();
    let start = Instant::now();
    for seed in first..first + seeds {
        let tape = tape_of(seed);
        let once = run(&tape);
        if once.violation.is_some() {
            let small = shrunk(tape);
            panic!(
                "seed {seed}: {}or, unshrunk: MIO_ECHO_FIRST_SEED={seed} MIO_ECHO_SEEDS=1 cargo test --lib simulation",
                story(&small)
            );
        }
        let again = run(&tape);
        assert_eq!(
            once.hash, again.hash,
            "seed {seed} runs differently each time"
        );
        for (what, times) in encounters(&once) {
            *met.entry(what).or_insert(0) += u64::from(times > 0);
        }
    }
    let rate = 2.0 * seeds as f64 / start.elapsed().as_secs_f64();
    println!("{seeds} seeds, each twice: {rate:.0} scripts a second");
    println!("seeds that met with: {met:?}");
    // A simulator that meets with nothing proves nothing.
    if seeds >= SEEDS {
        for (what, times) in &met {
            assert!(
                *times >= seeds / 1000,
                "{what}: only {times} of {seeds} seeds"
            );
        }
    }
    // The aim is a minute for tens of thousands of scripts; a debug build is another matter.
    if cfg!(not(debug_assertions)) {
        assert!(rate >= 1000.0, "{rate:.0} scripts a second");
    }
}

/// What a run met with, by name.
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
        ("spills", stats.spills),
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
        ("time lost while stopped", seen.lost_times),
        ("busy polls", seen.busy_polls),
        ("periodic statistics", run.reports),
        ("crowds", u64::from(stats.peak > CROWD as u64)),
        ("complete in the backlog at the end", seen.complete_at_stop),
        ("time-outs of the kernel", seen.kernel_time_outs),
        ("send queues that grow", seen.grown_queues),
    ]
}

/// The words, too: what a learner reads is as repeatable as the hash.
#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..300 {
        let tape = tape_of(seed);
        let (_, once) = trace::record(|| run(&tape));
        let (_, again) = trace::record(|| run(&tape));
        assert_eq!(once, again, "seed {seed}");
    }
}

/// The trace of a run in which one message is echoed leaves nothing out, and reads as `serve -vv` does.
#[test]
fn a_trace_reads_as_the_log_does() {
    let case = Case {
        script: Script::of(World::tame(), &[&[Action::Send(3)]]),
        settings: Settings::tame(),
    };
    let (_, lines) = trace::record(|| simulate(&case, Choices::of(&[])));
    let story = lines.join("\n");
    println!("{story}");
    for sentence in [
        "peer 0 sends 3 bytes",
        "server: #1 accepted, from peer 0",
        "server: #1 read 3 bytes",
        "server: #1 wrote 3 of 3",
        "peer 0 reads 3 bytes of its echo",
        "server: #1 read the end of the stream",
        "server: #1 closed after 3 bytes: the peer ended its stream and has everything",
    ] {
        assert!(story.contains(sentence), "{sentence:?} is missing");
    }
}

//! The event loop itself, unchanged, over a simulated kernel: faults that need luck on real sockets, by the thousand.
//!
//! A run is a function of its [`Tape`]: the same tape, the same trace. The tape says what the world is like, what the
//! peers do, and what the kernel decides on the way; it comes from a seed, from proptest, which shrinks it, or from a
//! fuzzer. What must hold is checked at each close, after each turn and at the end (`checks.rs`). When nothing will
//! ever happen again, faults cease and everybody reads: whoever is stuck even then was forgotten by the server.
//!
//! Compiled for tests and fuzzing only. `docs/TESTING.md` tells how to use it.

// A fuzzer uses a part of what the tests use.
#![cfg_attr(not(test), allow(dead_code))]

mod acting;
mod calls;
mod checks;
mod counts;
mod kernel;
mod peer;
mod script;
mod selector;
mod sockets;
mod splicing;
mod tape;
#[cfg(test)]
mod tests;
mod trace;

use std::cell::RefCell;
#[cfg(test)]
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::control::Control;
use super::event_loop::EventLoop;
use super::stats::Stats;
use counts::Seen;
use kernel::Kernel;
use peer::{Ended, Peer};
use script::{Script, World};
use sockets::Simulated;
use tape::Choices;
pub(crate) use tape::Tape;

/// How a run went.
#[derive(Debug)]
pub(crate) struct Run {
    /// What was wrong, if anything was.
    pub(crate) violation: Option<String>,
    /// A number that equal runs have in common.
    pub(crate) hash: u64,
    /// How it ended for each peer, and how many bytes it got.
    pub(crate) endings: Vec<(Option<Ended>, u64)>,
    /// What the server counted.
    pub(crate) stats: Stats,
    /// What the run met with.
    pub(crate) seen: Seen,
    /// The decisions, as far as they went.
    pub(crate) choices: Choices,
}

/// Runs a tape.
pub(crate) fn run(tape: &Tape) -> Run {
    simulate(&script_of(tape), Choices::of(&tape.schedule))
}

/// A tape's script. For a bug that has been planted it may be made to bear on that bug.
fn script_of(tape: &Tape) -> Script {
    let script = Script::decode(tape);
    #[cfg(test)]
    let script = tests::bearing_on_what_is_planted(script);
    script
}

/// Runs a script with these decisions. A panic of the server is a violation like any other.
pub(crate) fn simulate(script: &Script, choices: Choices) -> Run {
    let control = Arc::new(Control::default());
    let kernel = Kernel::new(script, choices, control.clone());
    let kernel = Rc::new(RefCell::new(kernel));
    let driven = catch_unwind(AssertUnwindSafe(|| drive(&kernel, &control)));
    let mut kernel = kernel.borrow_mut();
    kernel.seen.crowds += u64::from(control.counters().peak.get() > CROWD as u64);
    if let Err(panic) = driven {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or(panic.downcast_ref::<&str>().copied());
        kernel.violate(format!("a panic: {}", said.unwrap_or("without words")));
    }
    if let Some(violation) = &kernel.violation {
        trace::say(format_args!("{:>6} ms WRONG: {violation}", kernel.now));
    }
    let ending = |peer: &Peer| (peer.ended, peer.got);
    Run {
        violation: kernel.violation.take(),
        hash: kernel.trace.hash(),
        endings: kernel.peers.iter().map(ending).collect(),
        stats: control.counters().snapshot(),
        seen: kernel.seen,
        choices: kernel.choices.clone(),
    }
}

/// What `EventLoop::run` does, with a look at everything after each turn.
fn drive(kernel: &Rc<RefCell<Kernel>>, control: &Arc<Control>) {
    let poller = Simulated {
        kernel: kernel.clone(),
    };
    let (listeners, limits) = {
        let world = &kernel.borrow().world;
        (world.listeners, limits_of(world))
    };
    let mut event_loop = EventLoop::new(poller, limits, control.clone());
    for _ in 0..listeners {
        let listener = event_loop.poller_mut().listener();
        if let Err(error) = event_loop.listen(listener) {
            kernel.borrow_mut().violate(format!("listen: {error}"));
        }
    }
    let mut events = Vec::new();
    while !event_loop.is_over() {
        kernel.borrow_mut().begin_turn();
        let turned = event_loop.turn(&mut events);
        let observed = event_loop.observe();
        let mut kernel = kernel.borrow_mut();
        if let Err(error) = turned {
            kernel.violate(format!("the turn failed: {error}"));
        }
        kernel.check_turn(&observed, &control.counters().snapshot());
        if kernel.violation.is_some() {
            return;
        }
    }
    kernel.borrow_mut().abandoning = true;
    event_loop.abandon_the_rest();
    let observed = event_loop.observe();
    let mut kernel = kernel.borrow_mut();
    kernel.check_turn(&observed, &control.counters().snapshot());
    kernel.settle();
    kernel.check_end();
}

fn limits_of(world: &World) -> Limits {
    let after = |ms: Option<u64>| ms.map(Duration::from_millis);
    Limits {
        max_connections: world.max_connections,
        expected: 0,
        backlog: world.backlog,
        crowd: CROWD,
        read_buffer: world.read_buffer,
        memory: world
            .memory
            .map_or(1 << 20, |spills| spills * world.read_buffer),
        bulk: world.splices.then_some(world.read_buffer),
        idle_timeout: after(world.idle),
        stall_timeout: after(world.stall),
        drain_timeout: Duration::from_millis(world.drain),
        busy_poll: after(world.busy_poll),
        stats_every: after(world.stats_every),
        turn: world.turn * super::connection::LEAST_CHARGE,
        accepts_a_turn: world.accepts_a_turn,
    }
}

/// More connections than these at once are a crowd, after which tables shrink.
const CROWD: usize = 100;

/// All that somebody needs who has to find the cause: what was wrong, the script, the trace, and how to repeat it.
pub(crate) fn report(tape: &Tape) -> String {
    let (run, lines) = trace::record(|| run(tape));
    format!(
        "{}\n\n{}\n{}\n\nto repeat it:\n{}MIO_ECHO_TAPE='{tape}' cargo test --lib replay -- --nocapture\n",
        run.violation.as_deref().unwrap_or("nothing went wrong"),
        script_of(tape),
        lines.join("\n"),
        what_is_planted(),
    )
}

/// What has to be set for the bug that is planted here.
#[cfg(test)]
fn what_is_planted() -> String {
    crate::planted::now().map_or(String::new(), |bug| format!("MIO_ECHO_BUG={bug:?} "))
}

#[cfg(not(test))]
fn what_is_planted() -> &'static str {
    ""
}

/// One input of a fuzzer's. Panics on a violation, with the tape that repeats it.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let tape = Tape::from_bytes(bytes);
    // A fuzzer ends the process in the panic hook, before anybody could catch it: so the tape is told there.
    TAPE.set(tape.to_string());
    static TELL: std::sync::Once = std::sync::Once::new();
    TELL.call_once(|| {
        let end = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("MIO_ECHO_TAPE='{}'", TAPE.with_borrow(String::clone));
            end(panic);
        }));
    });
    if run(&tape).violation.is_some() {
        panic!("{}", report(&tape));
    }
}

#[cfg(fuzzing)]
thread_local! {
    /// The tape that runs on this thread.
    static TAPE: RefCell<String> = const { RefCell::new(String::new()) };
}

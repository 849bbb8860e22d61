//! Runs the unchanged event loop over the simulated kernel of `crates/sim`. Faults that are rare on real sockets happen
//! there thousands of times.
//!
//! Each peer has an account. The kernel reports the server's calls, and each report updates the account (`account.rs`).
//! Checks run at each call, after each turn and at the end (`checks.rs`). The kernel itself detects a server that hangs
//! or spins.
//!
//! This module is compiled for tests and fuzzing only. `docs/TESTING.md` explains its use.

#![cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "a fuzzer does not use everything that the tests use"
    )
)]
// A panic here reports a violation of the server, or a bug of the simulator.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "peers are indexed by number, and a fuzzer expects a panic on a violation"
)]

mod account;
mod checks;
mod observation;
mod settings;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use sim::kernel::{Kernel, Seen};
use sim::peer::Ended;
use sim::sockets::SimulatedPoller;
use sim::tape::{Choices, Tape};
use sim::trace;

use super::control::Control;
use super::event_loop::EventLoop;
use super::stats::Stats;
use account::Accounts;
use observation::observe;
pub(crate) use settings::Case;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    /// The first violation, if there was one.
    pub(crate) violation: Option<String>,
    /// The hash of the trace: equal runs have equal hashes.
    hash: u64,
    /// The outcome of each peer: the way in which it ended, and the number of bytes that it received.
    endings: Vec<(Option<Ended>, u64)>,
    /// The statistics of the server.
    stats: Stats,
    /// How often each situation has occurred in the run.
    seen: Seen,
    /// The number of times that a report of the server's statistics was due.
    reports: u64,
    /// The decisions of the run.
    choices: Choices,
}

/// Decodes a tape and runs it.
pub(crate) fn run(tape: &Tape) -> Run {
    simulate(&Case::decode(tape), Choices::of(&tape.schedule))
}

/// Runs a case with the given decisions. A panic of the server is a violation too.
pub(crate) fn simulate(case: &Case, choices: Choices) -> Run {
    let control = Arc::new(Control::default());
    let peers = case.script.peers.len();
    let accounts = Accounts::new(&case.settings, control.clone(), peers);
    let accounts = Rc::new(RefCell::new(accounts));
    let kernel = Kernel::new(&case.script, choices, accounts.clone());
    let kernel = Rc::new(RefCell::new(kernel));
    let driven = catch_unwind(AssertUnwindSafe(|| {
        drive(case, &kernel, &accounts, &control)
    }));
    let mut kernel = kernel.borrow_mut();
    if let Err(panic) = driven {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or(panic.downcast_ref::<&str>().copied());
        kernel.violate(format!("a panic: {}", said.unwrap_or("no message")));
    }
    Run {
        violation: kernel.take_violation(),
        hash: kernel.hash(),
        endings: kernel.endings(),
        stats: control.counters().snapshot(),
        seen: *kernel.seen(),
        reports: accounts.borrow().reports,
        choices: kernel.choices().clone(),
    }
}

/// Runs the event loop as `EventLoop::run` does, and checks everything after each turn.
fn drive(
    case: &Case,
    kernel: &Rc<RefCell<Kernel>>,
    accounts: &RefCell<Accounts>,
    control: &Arc<Control>,
) {
    let settings = &case.settings;
    let world = &case.script.world;
    let poller = SimulatedPoller::new(kernel.clone());
    let limits = settings.limits(world.backlog);
    let mut event_loop = EventLoop::new(poller, limits, control.clone());
    for _ in 0..world.listeners {
        let listener = event_loop.poller_mut().listener(settings.give_up_after());
        if let Err(error) = event_loop.listen(listener) {
            kernel.borrow_mut().violate(format!("listen: {error}"));
        }
    }
    let check_turn = |event_loop: &EventLoop<SimulatedPoller>| {
        let mut kernel = kernel.borrow_mut();
        let mut accounts = accounts.borrow_mut();
        let stats = control.counters().snapshot();
        let checked = accounts.check_turn(&kernel, &observe(event_loop), &stats);
        kernel.check(checked);
        let reports = accounts.reports_in_this_turn(kernel.now());
        if accounts.idle_timer_may_have_expired(&kernel) || reports {
            kernel.mark_progress();
        }
    };
    let mut events = Vec::new();
    while !event_loop.is_over() {
        if let Err(error) = event_loop.turn(&mut events) {
            let what = format!("the turn failed: {error}");
            kernel.borrow_mut().violate(what);
        }
        check_turn(&event_loop);
        if kernel.borrow().is_violated() {
            return;
        }
    }
    accounts.borrow_mut().is_abandoning = true;
    event_loop.abandon_the_rest();
    check_turn(&event_loop);
    let mut kernel = kernel.borrow_mut();
    kernel.run_remaining_peers();
    let checked = accounts.borrow().check_end(&kernel);
    kernel.check(checked);
}

/// Returns the report of a run: the violation, the script, the trace, and the command that repeats the run.
pub(crate) fn report(case: &Case, tape: &Tape, command: &str) -> String {
    let (run, lines) = trace::record(|| simulate(case, Choices::of(&tape.schedule)));
    format!(
        "{}\n\n{case}\n{}\n\nto repeat it:\nMIO_ECHO_TAPE='{tape}' {command}\n",
        run.violation.as_deref().unwrap_or("no violation"),
        lines.join("\n"),
    )
}

/// The command that repeats a run of the server without a mutant.
pub(crate) const REPLAY: &str = "cargo test -p mio-echo --lib replay -- --nocapture";

/// Runs a fuzzer's tape. On a violation, panics with a report that has the tape.
#[cfg(feature = "simulation")]
pub fn check_tape(tape: &Tape) {
    // The fuzzer aborts the process in its panic hook, so a panic of the server is not caught. The hook below therefore
    // prints the tape first.
    TAPE.set(tape.to_string());
    static INSTALL_HOOK: std::sync::Once = std::sync::Once::new();
    INSTALL_HOOK.call_once(|| {
        let fuzzers_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("MIO_ECHO_TAPE='{}'", TAPE.with_borrow(String::clone));
            fuzzers_hook(panic);
        }));
    });
    if run(tape).violation.is_some() {
        panic!("{}", report(&Case::decode(tape), tape, REPLAY));
    }
}

#[cfg(feature = "simulation")]
thread_local! {
    /// The tape that runs on this thread.
    static TAPE: RefCell<String> = const { RefCell::new(String::new()) };
}

//! Runs the event loop, unchanged, over the simulated kernel of `crates/sim`: thousands of faults that need luck on
//! real sockets.
//!
//! Each peer has its account, which the kernel's reports keep up to date (`account.rs`). Checks run at each call,
//! after each turn and at the end (`checks.rs`). The kernel itself finds a server that forgets a peer or spins.
//!
//! Compiled for tests and fuzzing only. `docs/TESTING.md` tells how to use it.

// A fuzzer uses a part of what the tests use.
#![cfg_attr(not(test), allow(dead_code))]
// A panic here is a finding of the simulator, or its own.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "peers are numbered, and a fuzzer's find is a panic"
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

/// How a run went.
#[derive(Debug)]
pub(crate) struct Run {
    /// The first violation, if there was one.
    pub(crate) violation: Option<String>,
    /// A number that equal runs have in common.
    hash: u64,
    /// How it ended for each peer, and how many bytes it got.
    endings: Vec<(Option<Ended>, u64)>,
    /// The counts of the server.
    stats: Stats,
    /// How often the run met with what.
    seen: Seen,
    /// How often the server was due to report its statistics.
    reports: u64,
    /// The decisions, as far as they went.
    choices: Choices,
}

/// Runs a tape.
pub(crate) fn run(tape: &Tape) -> Run {
    simulate(&Case::decode(tape), Choices::of(&tape.schedule))
}

/// Runs a script with these decisions. A panic of the server is a violation like any other.
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
        kernel.violate(format!("a panic: {}", said.unwrap_or("without words")));
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

/// Does what `EventLoop::run` does, and checks everything after each turn.
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
        if accounts.expires_in_vain(&kernel) || reports {
            kernel.excuse_turn();
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
    kernel.settle();
    let checked = accounts.borrow().check_end(&kernel);
    kernel.check(checked);
}

/// All that is needed to find the cause: what was wrong, the script, the trace, and the command that repeats it.
pub(crate) fn report(case: &Case, tape: &Tape, command: &str) -> String {
    let (run, lines) = trace::record(|| simulate(case, Choices::of(&tape.schedule)));
    format!(
        "{}\n\n{case}\n{}\n\nto repeat it:\nMIO_ECHO_TAPE='{tape}' {command}\n",
        run.violation.as_deref().unwrap_or("nothing went wrong"),
        lines.join("\n"),
    )
}

/// The command that repeats a run of the server as it is.
pub(crate) const REPLAY: &str = "cargo test -p mio-echo --lib replay -- --nocapture";

/// Runs a fuzzer's tape. Panics on a violation, with the tape that repeats it.
#[cfg(feature = "simulation")]
pub fn check_tape(tape: &Tape) {
    // A fuzzer ends the process in the panic hook, before the panic is caught: so the hook prints the tape.
    TAPE.set(tape.to_string());
    static TELL: std::sync::Once = std::sync::Once::new();
    TELL.call_once(|| {
        let end = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("MIO_ECHO_TAPE='{}'", TAPE.with_borrow(String::clone));
            end(panic);
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

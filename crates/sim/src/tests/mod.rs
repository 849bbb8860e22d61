//! Tests of the simulated selector against a real one, and of the checks that the kernel makes itself.

mod checks;
mod readiness;
mod tapes;

use std::cell::RefCell;
use std::rc::Rc;

use crate::kernel::Kernel;
use crate::observer::NullObserver;
use crate::script::{Action, Script, Selector, World};
use crate::sockets::{SimulatedListener, SimulatedPoller, SimulatedStream};
use crate::tape::Choices;

/// The poller of a kernel that runs this script, with the simplest decisions.
fn poller_of(script: &Script) -> SimulatedPoller {
    let observer = Rc::new(RefCell::new(NullObserver));
    let kernel = Kernel::new(script, Choices::of(&[]), observer);
    SimulatedPoller::new(Rc::new(RefCell::new(kernel)))
}

/// Reads a number from the environment, for runs that are longer than those of `.ci/run`.
fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}"))
    })
}

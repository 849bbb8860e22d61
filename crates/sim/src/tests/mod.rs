//! The simulated selector against a real one, and the checks that the kernel makes itself.

mod checks;
mod readiness;
mod tapes;

use std::cell::RefCell;
use std::rc::Rc;

use crate::kernel::Kernel;
use crate::observer::Indifferent;
use crate::script::{Action, Script, Selector, World};
use crate::sockets::{SimulatedListener, SimulatedPoller, SimulatedStream};
use crate::tape::Choices;

/// The poller of a kernel that runs this script, with tame decisions.
fn poller_of(script: &Script) -> SimulatedPoller {
    let observer = Rc::new(RefCell::new(Indifferent));
    let kernel = Kernel::new(script, Choices::of(&[]), observer);
    SimulatedPoller::new(Rc::new(RefCell::new(kernel)))
}

/// A number from the environment, for runs longer than the gate's.
fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}"))
    })
}

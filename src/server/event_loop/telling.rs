//! The loop's part that counts each step and, for `serve -vv`, writes it down.

use crate::server::stats::Counters;
use crate::server::step::{Step, Witness};

/// Counts and logs the steps of one peer, while the loop's other parts are borrowed.
pub(crate) struct PeerWitness<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) key: usize,
}

impl Witness for PeerWitness<'_> {
    // Always inlined: what a step counts as is then known where it is noted, and costs an addition or two.
    #[inline(always)]
    fn note(&mut self, step: Step<'_>) {
        tell(self.counters, Some(self.key), step);
    }
}

/// Counts a step and logs it. It takes the step itself, so that one which is only counted is never put together.
#[inline(always)]
pub(super) fn tell(counters: &Counters, key: Option<usize>, step: Step<'_>) {
    counters.count(&step);
    if step.level() <= log::max_level() {
        write_down(key, step);
    }
}

/// Apart, so that counting alone is small enough to be inlined at each step.
#[cold]
#[inline(never)]
fn write_down(key: Option<usize>, step: Step<'_>) {
    let level = step.level();
    match key {
        Some(key) => log::log!(target: LOG, level, "#{key} {step}"),
        None => log::log!(target: LOG, level, "{step}"),
    }
}

/// The target of the log lines of a turn.
const LOG: &str = "mio_echo";

//! The ladder of `examples/`: each step breaks on the check that its header names, and the next step survives it. The
//! beginnings of `examples/others` stand on the rungs that their headers name.
//!
//! The steps are modules of this test, and the test starts itself again as one of them. So it does not depend on which
//! examples were built.

#![allow(missing_docs, reason = "a test has no public interface")]

#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
#[path = "ladder/beginnings.rs"]
mod beginnings;
#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
#[path = "ladder/steps.rs"]
mod steps;
#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
#[path = "ladder/turns.rs"]
mod turns;

#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
fn main() -> std::process::ExitCode {
    steps::main()
}

/// The checks need Linux, and the faults of the steps 08 and 09 need a selector that reports an edge once.
#[cfg(not(all(target_os = "linux", not(mio_unsupported_force_poll_poll))))]
fn main() {
    println!("the ladder needs epoll(7)");
}

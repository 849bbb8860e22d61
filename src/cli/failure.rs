//! Why a command fails, and the exit codes.

use std::fmt;

/// Why a command failed.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "load"),
    allow(dead_code, reason = "some are failures of a measurement")
)]
pub(super) enum Failure {
    /// What to say on standard error.
    Told(String),
    /// What to say of arguments that are impossible or contradict each other.
    Usage(String),
    /// What to say when somebody interrupts before there is anything to report.
    Interrupted(String),
    /// The exit code of what the report has said.
    Code(u8),
    /// Whoever read our output has gone. There is nobody to tell.
    OutputClosed,
}

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Told(error.to_string())
    }
}

pub(super) const FAILURE: u8 = 1;
pub(super) const USAGE: u8 = 2;

/// What a shell reports of a program that SIGINT has ended: 128 + 2.
pub(super) const INTERRUPTED: u8 = 130;

/// What a shell reports of a program that SIGPIPE has ended, as it ends most: 128 + 13.
pub(super) const OUTPUT_CLOSED: u8 = 141;

/// An echo was wrong.
#[cfg(feature = "load")]
pub(super) const WRONG_ECHO: u8 = 3;

/// The measurement is not to be believed.
#[cfg(feature = "load")]
pub(super) const INVALID: u8 = 4;

/// A condition of `--fail-if` was met.
#[cfg(feature = "load")]
pub(super) const CONDITION_MET: u8 = 99;

//! The reasons for which a command fails, and the exit codes.

use std::fmt;

/// The reason for which a command failed.
#[derive(Debug)]
#[cfg_attr(
    not(all(feature = "load", feature = "check")),
    allow(
        dead_code,
        reason = "only the commands of the feature use some variants"
    )
)]
pub(super) enum Failure {
    /// A failure with this message for standard error. The exit code is [`FAILURE`].
    Message(String),
    /// The arguments are impossible or contradict each other. The message says how.
    Usage(String),
    /// A signal interrupted the command before it had results. The message says so.
    Interrupted(String),
    /// The report has the reason. The command exits with this code and prints nothing more.
    Code(u8),
    /// The reader of standard output has gone. The command prints nothing more.
    OutputClosed,
}

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Message(error.to_string())
    }
}

/// The command failed.
pub(super) const FAILURE: u8 = 1;

/// The arguments are wrong. clap exits with the same code.
pub(super) const USAGE: u8 = 2;

/// A signal interrupted the command. A shell reports 128 + 2 for a program that SIGINT has ended.
pub(super) const INTERRUPTED: u8 = 130;

/// The reader of standard output has gone. A shell reports 128 + 13 for a program that SIGPIPE has ended.
pub(super) const OUTPUT_CLOSED: u8 = 141;

/// An echo had a wrong byte.
#[cfg(feature = "load")]
pub(super) const WRONG_ECHO: u8 = 3;

/// A required check failed.
#[cfg(all(unix, feature = "check"))]
pub(super) const CHECK_FAILED: u8 = 3;

/// No required check failed, and one could not be decided.
#[cfg(all(unix, feature = "check"))]
pub(super) const INCONCLUSIVE: u8 = 4;

/// The measurement is invalid, or a condition could not be decided.
#[cfg(feature = "load")]
pub(super) const INVALID: u8 = 4;

/// The server, or the connections of the plan, could not keep the rate that was asked for.
#[cfg(feature = "load")]
pub(super) const OVERLOADED: u8 = 5;

/// A condition of `--fail-if` was met.
#[cfg(feature = "load")]
pub(super) const CONDITION_MET: u8 = 99;

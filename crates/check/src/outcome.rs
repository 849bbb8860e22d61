//! What a check found.

use std::io;

use serde::{Deserialize, Serialize};

use crate::words::{Text, text};

/// The result of a check: a figure or a remark if it passed, otherwise the problem.
pub(crate) type Outcome = Result<Option<Text>, Problem>;

/// The reason why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The server did something wrong. The text says what came instead.
    Failed(Text),
    /// This machine could not decide it. The text says why.
    Inconclusive(Text),
    /// The check was not tried. The text says what it needs.
    Skipped(Text),
    /// The user interrupted the run.
    Interrupted,
}

/// An error of the tester's own calls: the check cannot be decided.
impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem::Inconclusive(text!(
            "a call of this program failed: {error}",
            "このプログラム自身の呼び出しが失敗した: {error}"
        ))
    }
}

/// How strictly a server must pass a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Bytes, their order, ends of streams, and that other clients are not harmed.
    Must,
    /// Bounded use of resources, fair service, and no processor time without work.
    Should,
    /// A figure or a choice. It is never required.
    Note,
}

/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The server did what it should.
    Pass,
    /// The server did something else.
    Fail,
    /// This machine could not decide it.
    Inconclusive,
    /// The check was not tried.
    Skipped,
}

//! The exit code of a command that has made a report.

use mio_echo::load::FaultKind;
use mio_echo::report::{Document, Verdict};

use super::failure::{CONDITION_MET, Failure, INTERRUPTED, INVALID, OVERLOADED, WRONG_ECHO};

/// Fails with the exit code that the report asks for. The order of the checks is the order of severity: an invalid
/// measurement cannot show that a condition is met.
pub(super) fn conclude(document: &Document) -> Result<(), Failure> {
    let mut errors = document.runs.iter().flat_map(|run| &run.errors);
    let wrong = errors.any(|error| FaultKind::is_a_wrong_echo(error.kind));
    let undecided = document.assertions.iter().any(|a| a.met.is_none());
    let met = document.assertions.iter().any(|a| a.met == Some(true));
    let code = if wrong {
        WRONG_ECHO
    } else if document.interrupted {
        INTERRUPTED
    } else if document.validity.verdict == Verdict::Invalid || undecided {
        INVALID
    } else if met {
        CONDITION_MET
    } else if document.validity.verdict == Verdict::Overloaded {
        OVERLOADED
    } else {
        return Ok(());
    };
    Err(Failure::Code(code))
}

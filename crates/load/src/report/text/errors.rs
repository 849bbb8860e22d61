//! Writes the errors of a run.

use super::lines::prose;
use crate::report::document::Run;
use crate::report::units;

/// Writes a sentence for each kind of error.
pub(super) fn errors(text: &mut String, run: &Run) {
    for error in &run.errors {
        let offset = error
            .first
            .offset
            .map_or(String::new(), |o| format!(", offset {o}"));
        prose(
            text,
            &format!("  {:<10} ", error.kind.to_string()),
            &format!(
                "{} ({} lost); the first: connection {}{offset}, after {}: {}",
                units::count(error.count),
                units::counted(error.messages, "message"),
                error.first.connection,
                units::time(error.first.at_ns as f64),
                error.first.detail
            ),
        );
    }
}

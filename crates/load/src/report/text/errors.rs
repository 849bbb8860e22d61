//! Writes the errors of a run.

use super::lines::line;
use crate::report::document::Run;
use crate::report::units;

/// Writes one line for each kind of error.
pub(super) fn errors(text: &mut String, run: &Run) {
    for error in &run.errors {
        let offset = error
            .first
            .offset
            .map_or(String::new(), |o| format!(", offset {o}"));
        line(
            text,
            &format!(
                "  {:<10} {} ({} messages lost); the first: connection {}{offset}, after {}: {}",
                error.kind.to_string(),
                units::count(error.count),
                units::count(error.messages),
                error.first.connection,
                units::time(error.first.at_ns as f64),
                error.first.detail
            ),
        );
    }
}

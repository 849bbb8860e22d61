//! The report: what was found about each server.

use serde::{Deserialize, Serialize};

use crate::check::{Check, Group};
use crate::checks;
use crate::outcome::{Level, Verdict};
use crate::rungs::Standing;
use crate::words::Text;

/// The value of [`Report::schema`].
pub const SCHEMA: &str = "mio-echo-check/1";

/// A report on one server or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Report {
    /// The version of the format: `mio-echo-check/1`. Within one version the names stay the same.
    pub schema: String,
    /// The version of the program that made the report.
    pub version: String,
    /// The day of the report in UTC, such as `2030-01-31`.
    pub date: String,
    /// The operating system and its version.
    pub system: String,
    /// The servers, in the order in which they were named.
    pub servers: Vec<ServerReport>,
}

/// What was found about one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ServerReport {
    /// The name of the server, or its address or command.
    pub name: String,
    /// The checks, in the order in which they were made.
    pub checks: Vec<CheckReport>,
    /// The check after which the server did not answer any more. The checks after it were not made.
    pub gone_since: Option<String>,
    /// Whether the user interrupted the run. Then checks are missing at the end.
    pub interrupted: bool,
    /// Where the server stands on the ladder.
    pub standing: Standing,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct CheckReport {
    /// The name of the check.
    pub name: String,
    /// Its group.
    pub group: Group,
    /// Its level.
    pub level: Level,
    /// The verdict.
    pub verdict: Verdict,
    /// What came, or why the check was not decided; a figure, if the check passed and has one.
    pub remark: Option<Text>,
    /// How long the check took, in milliseconds.
    pub took_ms: u64,
}

impl CheckReport {
    /// Returns the description of the check; `None` if this version does not know it.
    #[must_use]
    pub fn check(&self) -> Option<&'static Check> {
        checks::all().find(|check| check.name == self.name)
    }
}

/// The verdict on all servers of a report. The exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overall {
    /// Every required check passed or was skipped.
    Passed,
    /// A required check failed.
    Failed,
    /// No required check failed, and one was not decided.
    Inconclusive,
}

impl Report {
    /// Returns the verdict on all servers. The checks of level must are required, and with `strict` those of level
    /// should too.
    #[must_use]
    pub fn overall(&self, strict: bool) -> Overall {
        let least = if strict { Level::Should } else { Level::Must };
        let required = || {
            let checks = self.servers.iter().flat_map(|server| &server.checks);
            checks.filter(|check| check.level <= least)
        };
        if required().any(|check| check.verdict == Verdict::Fail) {
            Overall::Failed
        } else if required().any(|check| check.verdict == Verdict::Inconclusive) {
            Overall::Inconclusive
        } else {
            Overall::Passed
        }
    }

    /// Writes the report as JSON: indented, with a newline at the end.
    ///
    /// # Errors
    /// The errors of the encoder. No report is known to cause one.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl ServerReport {
    /// Returns the verdict of a check; `None` if it was not made.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<Verdict> {
        let check = self.checks.iter().find(|check| check.name == name)?;
        Some(check.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/check.schema.json` is generated from the types above. The command that writes it is
    /// `MIO_ECHO_WRITE_SCHEMA=1 cargo test -p mio-echo-check schema`.
    #[test]
    fn the_published_schema_matches_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/check.schema.json");
        let schema = schemars::schema_for!(Report);
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("MIO_ECHO_WRITE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == schema, "{path} does not match the types");
    }

    #[test]
    fn a_failed_should_counts_only_if_it_is_required() {
        let made = |level, verdict| CheckReport {
            name: "x".to_owned(),
            group: Group::Echo,
            level,
            verdict,
            remark: None,
            took_ms: 0,
        };
        let overall = |checks: Vec<CheckReport>, strict| {
            let server = ServerReport {
                name: "a".to_owned(),
                checks,
                gone_since: None,
                interrupted: false,
                standing: crate::rungs::Standing::of(|_| None),
            };
            let report = Report {
                schema: SCHEMA.to_owned(),
                version: String::new(),
                date: String::new(),
                system: String::new(),
                servers: vec![server],
            };
            report.overall(strict)
        };
        let should = || vec![made(Level::Should, Verdict::Fail)];
        assert_eq!(overall(should(), false), Overall::Passed);
        assert_eq!(overall(should(), true), Overall::Failed);
        let undecided = vec![made(Level::Must, Verdict::Inconclusive)];
        assert_eq!(overall(undecided, false), Overall::Inconclusive);
        let note = vec![made(Level::Note, Verdict::Fail)];
        assert_eq!(overall(note, true), Overall::Passed);
    }
}

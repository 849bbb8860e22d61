//! The report as a document: what the JSON file holds, name by name. `docs/bench.schema.json` says the same to programs.
//!
//! Times are integers in nanoseconds. What was not asked for is `null`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::findings::{AssertionResult, Comparison};
use super::latency::Latency;
use crate::environment::Environment;
use crate::{Arrivals, Counts, FaultKind};

/// The value of [`Document::schema`].
pub const SCHEMA: &str = "mio-echo-bench/1";

/// A whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Document {
    /// [`SCHEMA`]: programs may rely on the names in a document of this version.
    pub schema: String,
    /// What made it.
    pub program: Program,
    /// When the first run started: RFC 3339, in UTC.
    pub started_at: String,
    /// Every option, with its default where none was given.
    pub options: Options,
    /// Where it was measured.
    pub environment: Environment,
    /// Whether it may be believed: valid if every run is.
    pub validity: Validity,
    /// What was measured, run by run.
    pub runs: Vec<Run>,
    /// The second target beside the first.
    pub comparison: Option<Comparison>,
    /// What `--find-max` found.
    pub find_max: Option<KnownMaximum>,
    /// Each `--fail-if`, and whether it was met.
    pub assertions: Vec<AssertionResult>,
}

impl Document {
    /// The document as JSON, for people and programs: indented, with a line end.
    ///
    /// # Errors
    /// Those of the encoder; no document has been seen to cause one.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads a document that [`to_json`](Document::to_json) wrote.
    ///
    /// # Errors
    /// What the text is instead.
    pub fn from_json(text: &str) -> Result<Document, ReadError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(ReadError::NotJson)?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => serde_json::from_value(value).map_err(ReadError::Damaged),
            Some(other) => Err(ReadError::OtherVersion(other.to_owned())),
            None => Err(ReadError::NoReport),
        }
    }
}

/// Why a text is not a [`Document`]. The message goes behind the name of what was read: `a.json is no JSON: …`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not JSON.
    NotJson(serde_json::Error),
    /// It is a report of another version.
    OtherVersion(String),
    /// It is another JSON document.
    NoReport,
    /// It is a report with wrong or missing fields.
    Damaged(serde_json::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::NotJson(error) => write!(f, "is no JSON: {error}"),
            ReadError::OtherVersion(other) => write!(
                f,
                "is a report of version {other:?}, and this program reads {SCHEMA:?}"
            ),
            ReadError::NoReport => f.write_str("is no report of mio-echo bench"),
            ReadError::Damaged(error) => write!(f, "is damaged: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::NotJson(error) | ReadError::Damaged(error) => Some(error),
            ReadError::OtherVersion(_) | ReadError::NoReport => None,
        }
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Every option of `mio-echo bench`, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[allow(
    missing_docs,
    reason = "each is the command line's option of that name"
)]
pub struct Options {
    pub targets: Vec<String>,
    pub connections: usize,
    pub duration_ns: Option<u64>,
    pub count: Option<u64>,
    pub threads: usize,
    pub rate: Option<f64>,
    pub arrivals: Option<Arrivals>,
    pub size: String,
    pub pipeline: usize,
    pub connect_rate: Option<f64>,
    pub reconnect: Option<u64>,
    pub source: Vec<String>,
    pub no_delay: bool,
    #[serde(default)]
    pub never_sleep: bool,
    pub sndbuf: Option<usize>,
    pub rcvbuf: Option<usize>,
    pub warmup_ns: u64,
    pub timeout_ns: u64,
    pub seed: u64,
    pub verify: bool,
    pub sweep: Option<String>,
    pub find_max: Option<String>,
    pub runs: usize,
    pub order: Option<String>,
    pub fail_if: Vec<String>,
}

/// Whether a measurement may be believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Validity {
    /// Whether it may.
    pub verdict: Verdict,
    /// Why not. Empty if it may.
    pub reasons: Vec<String>,
    /// What to know when reading it.
    pub notes: Vec<String>,
}

/// Valid or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The figures are what they claim to be.
    Valid,
    /// They are not: see the reasons.
    Invalid,
}

/// How messages were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// When the schedule said so.
    Open,
    /// When an echo had come back.
    Closed,
}

/// What was measured in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Run {
    /// Its place in the order of the runs, from 0.
    pub index: usize,
    /// The echo server.
    pub target: String,
    /// In a comparison: `a` for a run of the first target, `b` for one of the second.
    pub side: Option<Side>,
    /// How messages were sent.
    #[serde(rename = "loop")]
    pub kind: Loop,
    /// What it was asked to do; these differ between the runs of a sweep.
    pub parameters: Parameters,
    /// When the window began, in nanoseconds since 1970 (UTC).
    pub started_at_ns: u64,
    /// How long the window was.
    pub window_ns: u64,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
    /// Whether it may be believed.
    pub validity: Validity,
    /// What became of the messages that were due within the window.
    pub counts: Counts,
    /// What went wrong, by kind, worst first.
    pub errors: Vec<ErrorSummary>,
    /// What came back within the window.
    pub throughput: Throughput,
    /// How long it took.
    pub latency: LatencySet,
    /// How the generator itself did.
    pub generator: Generator,
    /// Whether every connection got its share.
    pub fairness: Fairness,
    /// The window, second by second.
    pub intervals: Vec<IntervalSummary>,
}

/// A run's part in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What is compared with.
    A,
    /// What is compared.
    B,
}

/// What a run was asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Parameters {
    /// Connections.
    pub connections: usize,
    /// Messages a second, over all connections.
    pub rate: Option<f64>,
    /// How many messages, if not for a time.
    pub count: Option<u64>,
    /// Sizes of the messages, as on the command line.
    pub size: String,
    /// Messages that a connection may have under way.
    pub pipeline: usize,
    /// Whether every byte was compared, or lengths only.
    pub verify: bool,
}

/// The errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ErrorSummary {
    /// The kind.
    pub kind: FaultKind,
    /// How many.
    pub count: u64,
    /// How many messages they cost.
    pub messages: u64,
    /// The first of them.
    pub first: FirstError,
}

/// The first error of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct FirstError {
    /// The number of the connection.
    pub connection: u32,
    /// Where in its stream, in bytes.
    pub offset: Option<u64>,
    /// When, in nanoseconds from the start of the schedule.
    pub at_ns: u64,
    /// What was seen.
    pub detail: String,
}

/// What came back within the window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Throughput {
    /// Messages.
    pub messages: u64,
    /// Bytes, each way.
    pub bytes: u64,
    /// Messages a second.
    pub messages_per_second: f64,
    /// Bytes a second, each way.
    pub bytes_per_second: f64,
}

/// How long it took, from different moments on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct LatencySet {
    /// From when the schedule wanted the message sent. In a closed loop the same as `service`.
    pub response: Latency,
    /// From when it was sent.
    pub service: Latency,
    /// From when it was sent to the first byte of the echo.
    pub first_byte: Latency,
    /// Connections: from connect(2) on.
    pub connect: Latency,
    /// How old those were at the end that had not come back. They are in `response` too.
    pub unfinished: Latency,
}

/// How the generator itself did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Generator {
    /// Event loops, each on its own thread.
    pub threads: u64,
    /// Processor time within the window.
    pub cpu_ns: u64,
    /// The same, as a share of its threads' time: from 0 to 1.
    pub cpu_share: f64,
    /// The share of its threads' time in which they had something to do: from 0 to 1. Near 1, the generator is the limit.
    pub busy_share: f64,
    /// How late messages were sent that could have been sent.
    pub lateness: Latency,
    /// Time in which a loop stood still for more than 10 ms at once, as it was not given a processor.
    pub stalled_ns: u64,
    /// The longest turn of a loop, from when it was to wake up.
    pub longest_turn_ns: u64,
    /// Messages under way, on average, as counted.
    pub in_flight: f64,
    /// The same as Little's law has it: throughput × mean service time. The two agree in a measurement without gaps.
    pub in_flight_by_littles_law: f64,
    /// The longest time in which nothing came back although something was owed.
    pub longest_silence_ns: u64,
    /// When that began, from the start of the window.
    pub longest_silence_at_ns: u64,
    /// Connections that were open when the schedule started.
    pub connections_opened: u64,
    /// Connections that were made in all.
    pub connections_made: u64,
    /// Connections, on average over the window, that had failed and were not made anew yet.
    pub connections_down: f64,
}

/// How the messages that came back are spread over the connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Fairness {
    /// Connections.
    pub connections: usize,
    /// Messages of the connection that got least.
    pub min: u64,
    /// Messages of the connection in the middle.
    pub median: u64,
    /// Messages of the connection that got most.
    pub max: u64,
    /// Jain's index: from 1/n, where one gets everything, to 1, where all get the same.
    pub jain: f64,
    /// Messages of connections from the least to the most, at up to a hundred places between them.
    pub shares: Vec<u64>,
}

/// One second of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct IntervalSummary {
    /// When it began, from the start of the window.
    pub start_ns: u64,
    /// How long it was.
    pub length_ns: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that came back.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Connections that were open.
    pub connections: usize,
    /// The messages that came back.
    pub response: Latency,
}

impl IntervalSummary {
    /// Messages that came back, a second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        self.ok as f64 * 1e9 / self.length_ns.max(1) as f64
    }
}

/// The highest rate that held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct KnownMaximum {
    /// What had to hold.
    pub condition: String,
    /// The highest rate at which it did, messages a second; none if it never did.
    pub rate: Option<f64>,
    /// The lowest rate at which it did not.
    pub failed_at: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/bench.schema.json` is made from the types above. `MIO_ECHO_WRITE_SCHEMA=1 cargo test -p mio-echo-load schema` writes it
    /// anew.
    #[test]
    fn the_schema_in_the_documentation_is_that_of_the_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bench.schema.json");
        let schema = schemars::schema_for!(Document);
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("MIO_ECHO_WRITE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == schema, "{path} is not as the types are");
    }
}

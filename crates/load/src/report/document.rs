//! The report as a document: the types of the JSON file. `docs/bench.schema.json` is generated from them.
//!
//! Times are in nanoseconds. An option that was not given and has no default is `null`, and so is a result that was
//! not asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::findings::{AssertionResult, Comparison, Knee, KnownMaximum};
use super::latency::Latency;
use super::side::Side;
use crate::environment::Environment;
use crate::{Arrivals, Counts, FaultKind, SizeClass};

/// The value of [`Document::schema`].
pub const SCHEMA: &str = "mio-echo-bench/3";

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Document {
    /// The version of the format: `mio-echo-bench/3`. Within one version the names stay the same.
    pub schema: String,
    /// The program that made the report.
    pub program: Program,
    /// When the first run started, in the format of RFC 3339, in UTC.
    pub started_at: String,
    /// All options. An option that was not given has its default value, or `null` if it has none.
    pub options: Options,
    /// The system on which the generator ran.
    pub environment: Environment,
    /// Whether the whole report is valid. All its runs must be valid, with two exceptions. The runs of `--find-max` may
    /// have any verdict, because it also tries rates that are too high. The runs of `--sweep` may be overloaded.
    pub validity: Validity,
    /// The measured runs, in the order in which they were made.
    pub runs: Vec<Run>,
    /// The comparisons of the other targets with the first one.
    pub comparisons: Vec<Comparison>,
    /// Whether a signal ended the command before all planned runs were complete.
    pub interrupted: bool,
    /// The result of `--find-max`.
    pub find_max: Option<KnownMaximum>,
    /// The knee of a sweep over rates, if its runs show one.
    pub knee: Option<Knee>,
    /// The conditions of `--fail-if`, and whether they are met.
    pub assertions: Vec<AssertionResult>,
}

impl Document {
    /// Writes the document as JSON: indented, with a newline at the end.
    ///
    /// # Errors
    /// The errors of the encoder. No document is known to cause one.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads a document that [`to_json`](Document::to_json) wrote.
    ///
    /// # Errors
    /// The text is not JSON, not a report, or a report of another version.
    pub fn from_json(text: &str) -> Result<Document, ReadError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(ReadError::NotJson)?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => serde_json::from_value(value).map_err(ReadError::Damaged),
            Some(other) => Err(ReadError::OtherVersion(other.to_owned())),
            None => Err(ReadError::NoReport),
        }
    }
}

/// The reason why a text is not a [`Document`]. The message continues a sentence that starts with the name of the file:
/// `a.json is not JSON: …`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The text is not JSON.
    NotJson(serde_json::Error),
    /// The text is a report of this other version of the format.
    OtherVersion(String),
    /// The text is JSON, but not a report.
    NoReport,
    /// The text is a report with wrong or missing fields.
    Damaged(serde_json::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::NotJson(error) => write!(f, "is not JSON: {error}"),
            ReadError::OtherVersion(other) => write!(
                f,
                "is a report of version {other:?}, but this program reads {SCHEMA:?}"
            ),
            ReadError::NoReport => f.write_str("is not a report of mio-echo bench"),
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

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Program {
    /// The name of the program.
    pub name: String,
    /// The version of the program.
    pub version: String,
}

/// The options of `mio-echo bench`, with their default values. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[allow(
    missing_docs,
    reason = "each field is the option of that name on the command line"
)]
pub struct Options {
    pub targets: Vec<String>,
    pub commands: Vec<String>,
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
    pub never_sleep: bool,
    pub pin: Vec<usize>,
    pub sndbuf: Option<usize>,
    pub rcvbuf: Option<usize>,
    pub warmup_ns: u64,
    pub start_at: Option<String>,
    pub timeout_ns: u64,
    pub half_close: bool,
    pub seed: Option<u64>,
    pub payload_key: Option<u64>,
    pub verify: bool,
    pub sweep: Option<String>,
    pub find_max: Option<String>,
    pub runs: usize,
    pub order: Option<String>,
    pub fail_if: Vec<String>,
}

/// The judgement of a run or of a whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Validity {
    /// The judgement itself.
    pub verdict: Verdict,
    /// Why it is overloaded or invalid. Empty if it is valid.
    pub reasons: Vec<String>,
    /// The limit of the rate, if the rate that was asked for was not reached. In a document with several runs: `null`.
    pub limit: Option<Limit>,
    /// Limits of the figures that a reader must know. They do not make it invalid.
    pub notes: Vec<String>,
}

/// Whether a measurement is valid, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No check found a problem with the figures.
    Valid,
    /// The figures are right, but they are not of the rate that was asked for: the server, or the connections of the
    /// plan, could not keep it.
    Overloaded,
    /// The figures would mislead a reader, for the given reasons.
    Invalid,
}

/// The reason why a rate was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The server was too slow.
    Server,
    /// The connections of the plan could not carry the rate.
    Connections,
    /// The load generator was too slow.
    Generator,
}

/// What decides when a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// A schedule: each message is due at its time, whether or not earlier echoes have come back.
    Open,
    /// An echo: the next message is sent after an echo has come back.
    Closed,
}

/// The settings and figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Run {
    /// The number of the run, from 0, in the order in which the runs were made.
    pub index: usize,
    /// The address of the echo server, or the command of `--cmd` that started it.
    pub target: String,
    /// In a comparison of targets: `a` for the first target, `b` for the second, and so on. Otherwise `null`.
    pub side: Option<Side>,
    /// What decided when a message was sent.
    #[serde(rename = "loop")]
    pub kind: Loop,
    /// The settings of this run. They differ between the runs of a sweep.
    pub parameters: Parameters,
    /// When the window, the measured part of the run, began: in nanoseconds since the start of 1970 (UTC).
    pub started_at_ns: u64,
    /// The length of the window, in nanoseconds. In a merged report the window lasts from the start of the first window
    /// to the end of the last one.
    pub window_ns: u64,
    /// In a merged report: the length of the time in which all processes measured, in nanoseconds. The rates count this
    /// time alone. Otherwise `null`.
    pub common_window_ns: Option<u64>,
    /// Whether the run was stopped before its planned end.
    pub interrupted: bool,
    /// Whether this run is valid.
    pub validity: Validity,
    /// The messages that were due within the window, by their outcome.
    pub counts: Counts,
    /// The errors, by kind. The most serious kind is first.
    pub errors: Vec<ErrorSummary>,
    /// Messages and bytes that came back within the window.
    pub throughput: Throughput,
    /// The times of the messages and of the connections.
    pub latency: LatencySet,
    /// The response times of each size of message, if the messages have several sizes: in ascending order.
    pub sizes: Vec<SizeLatency>,
    /// The state of the generator: its load and its delays.
    pub generator: Generator,
    /// The numbers of messages on the connections, compared with each other.
    pub fairness: Fairness,
    /// The figures of each second of the window.
    pub intervals: Vec<IntervalSummary>,
}

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Parameters {
    /// The number of connections.
    pub connections: usize,
    /// Messages a second, over all connections; `null` in a closed loop.
    pub rate: Option<f64>,
    /// The number of messages after which the run ends; `null` if it ends after a time.
    pub count: Option<u64>,
    /// The sizes of the messages in bytes, in the syntax of `--size`.
    pub size: String,
    /// The most messages that a connection may have under way at the same time.
    pub pipeline: usize,
    /// The number of messages after which a connection is replaced; `null` if it never is.
    pub reconnect: Option<u64>,
    /// Whether every byte of the echoes was compared. If false, only the lengths were checked.
    pub verify: bool,
    /// Whether the client ended its own stream at each planned end of a connection, and read to the end of the server's
    /// stream. If false, bytes that came after the last echo were not checked.
    pub half_close: bool,
    /// The seed of the random sizes and sending times.
    pub seed: u64,
    /// The key of the payload: it decides which bytes are sent.
    pub payload_key: u64,
}

/// The errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ErrorSummary {
    /// The kind of error.
    pub kind: FaultKind,
    /// The number of these errors.
    pub count: u64,
    /// The number of messages that these errors lost.
    pub messages: u64,
    /// The first of these errors.
    pub first: FirstError,
}

/// The first error of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct FirstError {
    /// The number of the connection.
    pub connection: u32,
    /// Where it happened, in bytes from the start of the connection's stream; `null` if the connection never opened.
    pub offset: Option<u64>,
    /// When it happened, in nanoseconds from the start of the schedule; 0 if it happened before that.
    pub at_ns: u64,
    /// A sentence that describes it.
    pub detail: String,
}

/// Messages and bytes that came back within the window. In a closed loop this includes messages that were sent before
/// it. In an open loop, only messages that were due within the window count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Throughput {
    /// The number of messages.
    pub messages: u64,
    /// In an open loop: messages that came back within the window and were due before it. They are not in `messages`.
    pub backlog: u64,
    /// The number of bytes, counted in one direction.
    pub bytes: u64,
    /// Messages a second. In a merged report: within `common_window_ns`.
    pub messages_per_second: f64,
    /// Bytes a second, counted in one direction. In a merged report: within `common_window_ns`.
    pub bytes_per_second: f64,
}

/// The times of the messages and of the connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct LatencySet {
    /// Response times: from when a message was due to the last byte of its echo. For a message that did not come back:
    /// to the error of its connection, or to the end of the run. In a closed loop the same as `service`.
    pub response: Latency,
    /// Service times: from when the first byte of a message was offered to the kernel to the last byte of its echo.
    pub service: Latency,
    /// From when the first byte of a message was offered to the kernel to the first byte of its echo.
    pub first_byte: Latency,
    /// From the call of connect(2) to the established connection, of the connections whose connect(2) was within the
    /// window.
    pub connect: Latency,
    /// The same of the connections that were made before the start of the schedule.
    pub opening: Latency,
    /// From connect(2) within the window to the last byte of the connection's last echo, of connections that sent all
    /// their messages. Empty without `--reconnect`.
    pub cycle: Latency,
    /// The ages of the messages that did not come back: at the error of their connection, or at the end of the run.
    /// They are lower bounds of the response times, and are in `response` too.
    pub lower_bounds: Latency,
}

/// The response times of the messages of some sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SizeLatency {
    /// The sizes.
    #[serde(flatten)]
    pub class: SizeClass,
    /// Their response times. Messages that were never sent have no size, and are missing here.
    pub response: Latency,
}

/// The state of the generator: its load and its delays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Generator {
    /// The number of event loops, each on its own thread.
    pub threads: u64,
    /// Processor time of all threads within the window, in nanoseconds.
    pub cpu_ns: u64,
    /// Processor time as a share of the window, on average over the threads: from 0 to 1. In a merged report the
    /// highest share.
    pub cpu_share: f64,
    /// The share of the window in which the busiest thread had work to do: from 0 to 1. Near 1, the generator is the
    /// limit. In a merged report the busiest thread of all processes.
    pub busy_share: f64,
    /// The generator's own delays: from when a message was due and its connection could begin it, to when it was
    /// sent. Empty in a closed loop.
    pub lateness: Latency,
    /// Time within the window, in nanoseconds, in which a thread could run and waited for a processor: the scheduler's
    /// account. Of several threads or merged reports, the largest value.
    pub queued_ns: u64,
    /// Time within the window, in nanoseconds, in which a thread neither ran nor waited for a processor nor slept by
    /// its own choice: it was stopped, or its virtual processor was taken away. Of several threads or merged reports,
    /// the largest value.
    pub absent_ns: u64,
    /// The number of threads for which the system does not report how long they waited for a processor. Their waits and
    /// absences are not in the two figures above.
    pub threads_not_accounted: u64,
    /// The longest turn of an event loop, in nanoseconds, from the planned wake-up on.
    pub longest_turn_ns: u64,
    /// The measured number of messages under way, on average over the window.
    pub in_flight: f64,
    /// The number of messages under way by Little's law: messages a second × mean service time. It differs from
    /// `in_flight` if load or latency changed much during the run.
    pub in_flight_by_littles_law: f64,
    /// The longest time within the window, in nanoseconds, in which messages were under way and none came back.
    pub longest_silence_ns: u64,
    /// When the time of `longest_silence_ns` began, in nanoseconds from the start of the window.
    pub longest_silence_at_ns: u64,
    /// The shortest service time of a complete echo, in nanoseconds; `null` if no echo was complete. Together with the
    /// number of connections and the pipeline's depth it limits the rate.
    pub fastest_service_ns: Option<u64>,
    /// Planned ends of connections at which the server ended its stream after the client had ended its own, and every
    /// byte was right.
    pub ends_verified: u64,
    /// Planned ends at which the server did not end its stream in time, or reset the connection. No byte is
    /// known to be wrong.
    pub ends_without_end_of_stream: u64,
    /// Planned ends that were not checked, because too many connections were ending at the same time.
    pub ends_not_checked: u64,
    /// Connections that were silent at the end of the run: a message was under way or had timed out, and no byte
    /// had come for 1 s (or 10 % of the window, if that is longer), or since before the end of the window.
    pub connections_silent: u64,
    /// When the last byte came on one of the silent connections, in nanoseconds from the start of the window.
    pub silent_since_ns: u64,
    /// Connections that were open when the schedule started.
    pub connections_opened: u64,
    /// Connections that were made in the whole run.
    pub connections_made: u64,
    /// Connections that had failed and were not replaced yet, on average over the window.
    pub connections_down: f64,
}

/// The numbers of messages that came back on the connections, compared with each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Fairness {
    /// The number of connections.
    pub connections: usize,
    /// The messages of the connection with the fewest.
    pub min: u64,
    /// The median: half of the connections have this number of messages or fewer.
    pub median: u64,
    /// The messages of the connection with the most.
    pub max: u64,
    /// Jain's fairness index: 1 if all n connections have the same number of messages, 1/n if one connection has all
    /// messages.
    pub jain: f64,
    /// The messages of each connection, in ascending order. Of more than 101 connections, 101 at equal distances in
    /// this order.
    pub shares: Vec<u64>,
}

/// The figures of one second of the window. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct IntervalSummary {
    /// When it began, from the start of the window.
    pub start_ns: u64,
    /// Its length. The last one may be shorter than a second.
    pub length_ns: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that came back complete and right.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Connections that were open at its end.
    pub connections: usize,
    /// Time in which a thread of the generator could run and waited for a processor. Of several threads, the largest
    /// value.
    pub queued_ns: u64,
    /// Time in which a thread of the generator was away, and neither the scheduler nor its own sleep explains it. Of
    /// several threads, the largest value.
    pub absent_ns: u64,
    /// The response times of the messages that came back.
    pub response: Latency,
}

impl IntervalSummary {
    /// Returns how many messages came back, a second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        self.ok as f64 * 1e9 / self.length_ns.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/bench.schema.json` is generated from the types above. The command that writes it is
    /// `MIO_ECHO_WRITE_SCHEMA=1 cargo test -p mio-echo-load schema`.
    #[test]
    fn the_published_schema_matches_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bench.schema.json");
        let schema = schemars::schema_for!(Document);
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("MIO_ECHO_WRITE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == schema, "{path} does not match the types");
    }
}

//! The numbers of `bench`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use mio_echo::load::{Plan, Progress, Recording};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::http::Source;
use super::measured::{self, About, Kind, Quantity};
use super::status::{Cell, Chart, Status, Table, Value, chart, series};

/// A running load, as its metrics show it.
///
/// The drivers know nothing of it. After each second, the thread that shows the progress adds the results of that
/// second. So the numbers are at most one second old.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Load {
    live: Arc<Mutex<Live>>,
    started: SystemTime,
    since: Instant,
}

/// The sums over all runs so far, and the state of the current run.
#[derive(Debug, Default)]
struct Live {
    /// The number of the run, from 1.
    run: u64,
    target: String,
    phase: &'static str,
    connections: u64,
    sent: u64,
    ok: u64,
    errors: u64,
    /// The planned messages a second of an open loop.
    rate: Option<f64>,
    /// Number i counts the response times below 2^i ns that are not below 2^(i - 1) ns.
    responses: Vec<u64>,
    /// The sum of the response times, in seconds.
    response_sum_s: f64,
    /// The errors of the runs that have ended, by kind.
    kinds: BTreeMap<String, u64>,
}

impl Load {
    /// Creates the numbers of a load that has not started.
    pub(in crate::cli) fn new() -> Load {
        Load {
            live: Arc::new(Mutex::new(Live {
                responses: vec![0; BUCKETS],
                ..Live::default()
            })),
            started: SystemTime::now(),
            since: Instant::now(),
        }
    }

    /// Adds what is new in a run.
    pub(in crate::cli) fn add(&self, plan: &Plan, progress: &Progress<'_>) {
        let mut live = self.live();
        match progress {
            Progress::Connected(open) => {
                if live.phase != CONNECTING {
                    live.phase = CONNECTING;
                    live.run += 1;
                    live.target = plan.target.to_string();
                    live.rate = plan.rate;
                }
                live.connections = *open as u64;
            }
            Progress::Started => live.phase = "measuring",
            Progress::Second(second) => {
                live.connections = second.connections as u64;
                live.sent += second.sent;
                live.ok += second.ok;
                live.errors += second.errors;
                for value in second.response.iter_recorded() {
                    let ns = value.value_iterated_to();
                    let count = value.count_since_last_iteration();
                    let digits = (u64::BITS - ns.leading_zeros()) as usize;
                    if let Some(bucket) = live.responses.get_mut(digits.min(BUCKETS - 1)) {
                        *bucket += count;
                    }
                    live.response_sum_s += ns as f64 * count as f64 / 1e9;
                }
            }
        }
    }

    /// Adds the errors of a run that has ended: only its recording has their kinds.
    pub(in crate::cli) fn end_of_run(&self, recording: Option<&Recording>) {
        let mut live = self.live();
        live.phase = "between two runs";
        live.connections = 0;
        for (kind, faults) in recording.into_iter().flat_map(|made| &made.faults) {
            let name = serde_json::to_value(kind);
            let name = name.as_ref().ok().and_then(serde_json::Value::as_str);
            *live
                .kinds
                .entry(name.unwrap_or("other").to_owned())
                .or_default() += faults.count;
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Load {
    fn open_metrics(&self) -> Result<String, fmt::Error> {
        measured::text("mio_echo_bench", self.clone())
    }

    fn status(&self) -> serde_json::Result<String> {
        let live = self.live();
        serde_json::to_string(&Status {
            title: "mio-echo bench".to_owned(),
            about: format!("run {} against {}: {}", live.run, live.target, live.phase),
            uptime_s: self.since.elapsed().as_secs_f64(),
            charts: live.charts(),
            tables: live.tables(),
        })
    }
}

impl Collector for Load {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let (to, live) = (&mut to, self.live());
        measured::program(to, self.started)?;
        let about = |name, help| About {
            name,
            help,
            unit: None,
        };
        let gauges = [
            ("run", "Number of the run, from 1", live.run as f64),
            (
                "connections_open",
                "Connections that are open",
                live.connections as f64,
            ),
            (
                "planned_rate",
                "Planned messages a second of an open loop; 0 in a closed loop",
                live.rate.unwrap_or_default(),
            ),
        ];
        for (name, help, value) in gauges {
            measured::value(to, about(name, help), Kind::Gauge, value)?;
        }
        let counters = [
            ("messages_sent", "Messages that were sent", live.sent),
            (
                "messages_ok",
                "Messages that came back complete and right",
                live.ok,
            ),
            ("errors", "Errors of all kinds", live.errors),
        ];
        for (name, help, value) in counters {
            measured::value(to, about(name, help), Kind::Counter, value as f64)?;
        }
        measured::values(
            to,
            about("ended_run_errors", "Errors of the runs that have ended"),
            Kind::Counter,
            "kind",
            live.kinds.iter().map(|(kind, n)| (kind.clone(), *n as f64)),
        )?;
        measured::histogram(
            to,
            About {
                unit: Some(Quantity::Seconds),
                ..about(
                    "response_time",
                    "From when a message was due to the last byte of its echo",
                )
            },
            &live.buckets(),
            live.response_sum_s,
        )
    }
}

impl Live {
    fn buckets(&self) -> Vec<(f64, u64)> {
        measured::buckets(&self.responses, RESPONSES, 1e9)
    }

    fn charts(&self) -> Vec<Chart> {
        let total = |n: u64| Value::Total(n as f64);
        vec![
            chart(
                "Messages",
                "/s",
                vec![
                    series("sent", total(self.sent)),
                    series("came back", total(self.ok)),
                ],
            ),
            chart(
                "Response times",
                "seconds",
                vec![series("response", Value::Buckets(self.buckets()))],
            ),
            chart(
                "Open connections",
                "",
                vec![series("open", Value::Gauge(self.connections as f64))],
            ),
            chart("Errors", "/s", vec![series("errors", total(self.errors))]),
            chart(
                "Processors in use",
                "",
                vec![series("process", Value::Total(measured::cpu_seconds()))],
            ),
        ]
    }

    fn tables(&self) -> Vec<Table> {
        let number = |name: &str, n: u64| vec![Cell::from(name), n.into()];
        let kinds = self.kinds.iter();
        vec![
            Table {
                title: "Since the start",
                columns: vec!["number", "value"],
                rows: vec![
                    number("messages sent", self.sent),
                    number("messages that came back", self.ok),
                    number("errors", self.errors),
                ],
            },
            Table {
                title: "Errors of the runs that have ended",
                columns: vec!["kind", "errors"],
                rows: kinds
                    .map(|(kind, n)| number(&kind.replace('_', " "), *n))
                    .collect(),
            },
        ]
    }
}

const CONNECTING: &str = "connecting";

/// The number of counts of response times. The last one also has all times of more than half a minute.
const BUCKETS: usize = 36;

/// The powers of two that bound the buckets of response times: 1 µs to 17 s.
const RESPONSES: Range<usize> = 10..35;

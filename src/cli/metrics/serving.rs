//! The numbers of `serve`.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use mio_echo::{Config, Handle, Histogram, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::http::Source;
use super::measured::{self, About, Kind, Quantity};
use super::status::{Cell, Chart, Status, Table, Value, chart, series};

/// A running server, as its metrics show it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Serving {
    handle: Handle,
    config: Config,
    /// The addresses that the server listens on.
    about: String,
    started: SystemTime,
    since: Instant,
}

impl Serving {
    /// Shows the server of this handle. `addresses` are those that it listens on.
    pub(in crate::cli) fn new(handle: Handle, config: &Config, addresses: &[String]) -> Serving {
        Serving {
            handle,
            config: config.clone(),
            about: format!("listening on {}", addresses.join(", ")),
            started: SystemTime::now(),
            since: Instant::now(),
        }
    }
}

impl Source for Serving {
    fn open_metrics(&self) -> Result<String, fmt::Error> {
        measured::text("mio_echo", self.clone())
    }

    fn status(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Status {
            title: "mio-echo serve".to_owned(),
            about: self.about.clone(),
            uptime_s: self.since.elapsed().as_secs_f64(),
            charts: self.charts(),
            tables: self.tables(),
        })
    }
}

impl Collector for Serving {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let (to, stats, loops) = (&mut to, self.handle.stats(), self.handle.loop_stats());
        measured::program(to, self.started)?;
        let about = |name, help| About {
            name,
            help,
            unit: None,
        };
        measured::value(
            to,
            about("loops", "Event loops"),
            Kind::Gauge,
            loops.len() as f64,
        )?;
        measured::value(
            to,
            about(
                "connections_limit",
                "Connections that may be open at the same time",
            ),
            Kind::Gauge,
            self.handle.most_connections() as f64,
        )?;
        measured::value(
            to,
            About {
                unit: Some(Quantity::Bytes),
                ..about("memory_limit", "Memory for all pending writes together")
            },
            Kind::Gauge,
            self.config.memory as f64,
        )?;
        for number in NUMBERS {
            measured::value(to, number.about, number.kind, (number.of)(&stats) as f64)?;
        }
        for number in NUMBERS {
            let name = format!("loop_{}", number.about.name);
            let of_loops = loops.iter().enumerate();
            measured::values(
                to,
                About {
                    name: &name,
                    ..number.about
                },
                number.kind,
                "loop",
                of_loops.map(|(n, stats)| (n.to_string(), (number.of)(stats) as f64)),
            )?;
        }
        for (name, help, label, kinds) in [
            ("closed", "Closed connections", "reason", closed(&stats)),
            (
                "accept_errors",
                "Failures of accept",
                "kind",
                accept_errors(&stats),
            ),
        ] {
            let kinds = kinds.into_iter().map(|(name, count)| (name, count as f64));
            measured::values(to, about(name, help), Kind::Counter, label, kinds)?;
        }
        let (durations, events) = self.turns();
        measured::histogram(
            to,
            About {
                unit: Some(Quantity::Seconds),
                ..about(
                    "turn_duration",
                    "Time from the return of the poll to the end of the turn",
                )
            },
            &measured::buckets(&durations.counts, DURATIONS, 1e9),
            durations.sum as f64 / 1e9,
        )?;
        measured::histogram(
            to,
            about("turn_events", "Events that a poll returned"),
            &measured::buckets(&events.counts, EVENTS, 1.0),
            events.sum as f64,
        )
    }
}

impl Serving {
    /// Returns the durations in nanoseconds, and the numbers of events, of the turns of all loops.
    fn turns(&self) -> (Histogram, Histogram) {
        let (mut durations, mut events) = (Histogram::default(), Histogram::default());
        for turns in self.handle.loop_turns() {
            durations.add(&turns.durations_ns);
            events.add(&turns.events);
        }
        (durations, events)
    }

    fn charts(&self) -> Vec<Chart> {
        let stats = self.handle.stats();
        let (durations, events) = self.turns();
        let total = |n: u64| Value::Total(n as f64);
        let gauge = |n: u64| Value::Gauge(n as f64);
        vec![
            chart(
                "Open connections",
                "",
                vec![series("open", gauge(stats.open))],
            ),
            chart(
                "New and closed connections",
                "/s",
                vec![
                    series("accepted", total(stats.accepted)),
                    series("closed", total(stats.closed_in_all())),
                ],
            ),
            chart(
                "Bytes",
                "bytes/s",
                vec![
                    series("in", total(stats.bytes_in)),
                    series("out", total(stats.bytes_out)),
                ],
            ),
            chart(
                "System calls",
                "/s",
                vec![
                    series("reads", total(stats.reads)),
                    series("writes", total(stats.writes)),
                    series("polls", total(stats.polls)),
                ],
            ),
            chart(
                "Pending writes",
                "bytes",
                vec![series("pending", gauge(stats.pending_bytes))],
            ),
            chart(
                "Duration of a turn",
                "seconds",
                vec![series(
                    "turn",
                    Value::Buckets(measured::buckets(&durations.counts, DURATIONS, 1e9)),
                )],
            ),
            chart(
                "Events of a turn",
                "",
                vec![series(
                    "events",
                    Value::Buckets(measured::buckets(&events.counts, EVENTS, 1.0)),
                )],
            ),
            chart(
                "Processors in use",
                "",
                vec![series("process", Value::Total(measured::cpu_seconds()))],
            ),
        ]
    }

    fn tables(&self) -> Vec<Table> {
        let (stats, loops) = (self.handle.stats(), self.handle.loop_stats());
        let counted = |kinds: Vec<(String, u64)>| {
            kinds
                .into_iter()
                .map(|(name, count)| vec![Cell::from(name.replace('_', " ")), count.into()])
                .collect()
        };
        let of_loop = |(n, stats): (usize, &Stats)| {
            let numbers = [
                stats.open,
                stats.accepted,
                stats.bytes_in,
                stats.bytes_out,
                stats.pending_bytes,
                stats.polls,
            ];
            let mut row = vec![Cell::from(n as u64)];
            row.extend(numbers.map(Cell::from));
            row
        };
        let numbers = NUMBERS
            .iter()
            .map(|number| vec![Cell::from(number.about.help), (number.of)(&stats).into()]);
        vec![
            Table {
                title: "Limits",
                columns: vec!["limit", "value"],
                rows: self.limits(),
            },
            Table {
                title: "Closed connections",
                columns: vec!["reason", "connections"],
                rows: counted(closed(&stats)),
            },
            Table {
                title: "Errors of accept",
                columns: vec!["kind", "errors"],
                rows: counted(accept_errors(&stats)),
            },
            Table {
                title: "Since the start",
                columns: vec!["number", "value"],
                rows: numbers.collect(),
            },
            Table {
                title: "Event loops",
                columns: vec![
                    "loop",
                    "open",
                    "accepted",
                    "bytes in",
                    "bytes out",
                    "pending bytes",
                    "polls",
                ],
                rows: loops.iter().enumerate().map(of_loop).collect(),
            },
        ]
    }

    fn limits(&self) -> Vec<Vec<Cell>> {
        let time = |time: Option<Duration>| match time {
            Some(time) => humantime::format_duration(time).to_string(),
            None => "off".to_owned(),
        };
        let size = |bytes: usize| bytesize::ByteSize(bytes as u64).display().iec().to_string();
        let connections = self.handle.most_connections() as u64;
        vec![
            vec!["connections".into(), connections.into()],
            vec![
                "memory for pending writes".into(),
                size(self.config.memory).into(),
            ],
            vec!["read buffer".into(), size(self.config.read_buffer).into()],
            vec!["idle timeout".into(), time(self.config.idle_timeout).into()],
            vec![
                "stall timeout".into(),
                time(self.config.stall_timeout).into(),
            ],
            vec![
                "drain timeout".into(),
                time(Some(self.config.drain_timeout)).into(),
            ],
        ]
    }
}

/// A number of the statistics.
struct Number {
    about: About<'static>,
    kind: Kind,
    of: fn(&Stats) -> u64,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    unit: Option<Quantity>,
    of: fn(&Stats) -> u64,
) -> Number {
    Number {
        about: About { name, help, unit },
        kind: Kind::Counter,
        of,
    }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    unit: Option<Quantity>,
    of: fn(&Stats) -> u64,
) -> Number {
    Number {
        kind: Kind::Gauge,
        ..counter(name, help, unit, of)
    }
}

/// The powers of two that bound the buckets of durations: 1 µs to 1 s.
const DURATIONS: Range<usize> = 10..31;

/// The powers of two that bound the buckets of events: 0 to 4,095.
const EVENTS: Range<usize> = 0..13;

const BYTES: Option<Quantity> = Some(Quantity::Bytes);

/// The numbers of [`Stats`], except those that have a label.
#[rustfmt::skip]
const NUMBERS: &[Number] = &[
    gauge("connections_open", "Open connections", None, |s| s.open),
    gauge("connections_peak", "Most connections that were open at the same time", None, |s| s.peak),
    counter("connections_accepted", "Accepted connections", None, |s| s.accepted),
    counter("connections_rejected", "Connections turned away at the limit", None, |s| s.rejected),
    counter("connections_left_in_backlog", "Connections that a shutdown could not accept", None, |s| s.left_in_backlog),
    counter("received", "Bytes read from clients", BYTES, |s| s.bytes_in),
    counter("sent", "Bytes written to clients", BYTES, |s| s.bytes_out),
    counter("spliced", "Received bytes that went through a pipe in the kernel", BYTES, |s| s.bytes_spliced),
    counter("discarded", "Bytes read and discarded in a lingering close", BYTES, |s| s.bytes_discarded),
    counter("reads", "Reads that returned bytes or the end of the stream", None, |s| s.reads),
    counter("writes", "Writes of which the kernel accepted bytes", None, |s| s.writes),
    counter("would_blocks", "Reads and writes that returned WouldBlock", None, |s| s.would_blocks),
    counter("peeks", "Reads that consumed nothing, for lack of memory", None, |s| s.peeks),
    counter("pending_writes", "Times that the kernel did not accept all bytes of a read", None, |s| s.spills),
    gauge("pending", "Bytes that the kernel has not accepted yet", BYTES, |s| s.pending_bytes),
    gauge("pending_peak", "Most bytes that were pending at the same time", BYTES, |s| s.peak_pending_bytes),
    counter("yields", "Times that a connection used up its budget of a turn", None, |s| s.yields),
    counter("polls", "Calls of the poll", None, |s| s.polls),
    counter("events", "Events that the polls returned", None, |s| s.events),
];

/// Returns the closed connections by reason.
fn closed(stats: &Stats) -> Vec<(String, u64)> {
    fields(serde_json::to_value(&stats.closed))
}

/// Returns the failures of accept by kind.
fn accept_errors(stats: &Stats) -> Vec<(String, u64)> {
    fields(serde_json::to_value(&stats.accept_errors))
}

/// Returns the numbers of a struct with their names.
fn fields(numbers: serde_json::Result<serde_json::Value>) -> Vec<(String, u64)> {
    let Ok(serde_json::Value::Object(numbers)) = numbers else {
        return Vec::new();
    };
    numbers
        .into_iter()
        .map(|(name, number)| (name, number.as_u64().unwrap_or_default()))
        .collect()
}

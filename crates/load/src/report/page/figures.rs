//! Draws the figures of one run, except those over time.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::axis::Axis;
use super::plot::{Plot, legend};
use crate::report::document::{Loop, Run};
use crate::report::text::{KindOfTime, bounded, kinds_of_times};
use crate::report::units;

/// Draws response and service times by percentile, with a table.
pub(super) fn percentiles(run: &Run) -> Markup {
    let response = &run.latency.response.histogram;
    let service = &run.latency.service.histogram;
    // In a closed loop both are the same, and the second curve would hide the first.
    let is_one = response == service;
    let plot = percentile_plot(&[response, service]);
    let inside = html! {
        (plot.curve("one", &percentile_points(response)))
        @if !is_one { (plot.curve("two", &percentile_points(service))) }
    };
    html! {
        figure {
            figcaption { "Latency by percentile" }
            p.about {
                @match run.kind {
                    Loop::Open => "Response time starts when a message is due, service time when it is sent.",
                    Loop::Closed => "In a closed loop both are the same. Messages that it could not send while it \
                        waited are left out.",
                }
            }
            @if response.is_empty() {
                p { "No message came back." }
            } @else {
                @if !is_one { (legend(&["response", "service"])) }
                (plot.draw("Response and service time by percentile", &inside))
            }
            (percentile_table(&kinds_of_times(run)))
        }
    }
}

/// Makes a plot by percentile whose axes fit all these histograms.
pub(super) fn percentile_plot(histograms: &[&Histogram<u64>]) -> Plot {
    let counts = histograms.iter().map(|h| h.len()).max().unwrap_or(0);
    let all = histograms.iter().filter(|h| !h.is_empty());
    let low = all.clone().map(|h| h.min()).min().unwrap_or(1);
    let high = all.map(|h| h.max()).max().unwrap_or(1);
    Plot {
        x: Axis::rarity(counts as f64),
        y: Axis::times("latency", low as f64, high as f64),
    }
}

/// Returns points from the smallest to the largest value. They are so close that the line shows every step of the
/// histogram.
pub(super) fn percentile_points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let decades = (histogram.len() as f64).log10();
    let places = (decades * POINTS_A_DECADE).ceil() as u32;
    let rarities = (0..=places).map(|n| 10_f64.powf(f64::from(n) / POINTS_A_DECADE));
    let point = |rarity: f64| {
        (
            rarity,
            histogram.value_at_quantile(1.0 - 1.0 / rarity) as f64,
        )
    };
    rarities.map(point).collect()
}

/// Writes a table: one line for each kind of time, one column for each percentile.
pub(super) fn percentile_table(rows: &[KindOfTime<'_>]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "" } @for p in COLUMNS { th { "p" (p) } } th { "max" } th { "count" } } }
            tbody {
                @for (name, latency, at_least) in rows {
                    tr {
                        th { (name) }
                        @for p in COLUMNS {
                            td { (latency.percentile(p).map_or("–".to_owned(), |ns| bounded(ns, *at_least))) }
                        }
                        td { @if latency.count > 0 { (bounded(latency.max, *at_least)) } @else { "–" } }
                        td { (units::count(latency.count)) }
                    }
                }
            }
        } }
    }
}

/// Draws the number of messages of each connection, or says that all have the same number.
pub(super) fn fairness(run: &Run) -> Markup {
    let fairness = &run.fairness;
    let last = fairness.shares.len().saturating_sub(1).max(1) as f64;
    let plot = Plot {
        x: Axis::linear("connections, fewest messages first", 100.0, |v| {
            format!("{v:.0} %")
        }),
        y: Axis::linear("messages", fairness.max as f64, units::rate),
    };
    let shares = fairness.shares.iter().enumerate();
    let points: Vec<_> = shares
        .map(|(n, share)| (n as f64 * 100.0 / last, *share as f64))
        .collect();
    let spread = (fairness.max - fairness.min) as f64;
    let is_flat = spread <= (fairness.median as f64 * FLAT).max(1.0);
    html! {
        figure {
            figcaption { "Fairness across connections" }
            @if is_flat {
                p {
                    "All " (units::counted(fairness.connections as u64, "connection")) " had "
                    @if fairness.min == fairness.max { (units::counted(fairness.min, "message")) }
                    @else { (units::count(fairness.min)) " to " (units::count(fairness.max)) " messages" }
                    ". Jain's index is " (format!("{:.4}", fairness.jain)) "."
                }
            } @else {
                p.about {
                    "A horizontal line is fair: all connections have equally many messages. Jain's index is then 1."
                }
                (plot.draw("Messages of each connection", &plot.curve("one", &points)))
                div.scroll { table {
                    thead { tr {
                        th { "connections" } th { "least" } th { "median" } th { "most" } th { "Jain's index" }
                    } }
                    tbody { tr {
                        td { (units::count(fairness.connections as u64)) }
                        td { (units::count(fairness.min)) }
                        td { (units::count(fairness.median)) }
                        td { (units::count(fairness.max)) }
                        td { (format!("{:.4}", fairness.jain)) }
                    } }
                } }
            }
        }
    }
}

/// Writes the state of the generator, which shows whether it was the limit. In an open loop, draws its delays.
pub(super) fn generator(run: &Run) -> Markup {
    let generator = &run.generator;
    let plot = percentile_plot(&[&generator.lateness.histogram]);
    let points = percentile_points(&generator.lateness.histogram);
    let messages = run.throughput.messages.max(1) as f64;
    let rows = [
        ("messages scheduled", units::count(run.counts.scheduled)),
        ("of these sent", units::count(run.counts.sent)),
        ("came back complete and right", units::count(run.counts.ok)),
        ("unfinished", units::count(run.counts.unfinished)),
        ("failed", units::count(run.counts.failed)),
        ("busy", units::percent(generator.busy_share)),
        ("processor time", units::percent(generator.cpu_share)),
        (
            "processor time a message",
            units::time(generator.cpu_ns as f64 / messages),
        ),
        (
            "longest turn of the loop",
            units::time(generator.longest_turn_ns as f64),
        ),
        (
            "longest time without an echo",
            units::time(generator.longest_silence_ns as f64),
        ),
        (
            "messages under way, on average",
            format!("{:.2}", generator.in_flight),
        ),
        (
            "the same by Little's law",
            format!("{:.2}", generator.in_flight_by_littles_law),
        ),
    ];
    html! {
        figure {
            figcaption { "The generator itself" }
            @if run.kind == Loop::Open {
                p.about { "The generator's own delays in sending messages. Response times include them." }
                (plot.draw("Lateness of sends by percentile", &plot.curve("one", &points)))
                (percentile_table(&[("lateness".to_owned(), &generator.lateness, None)]))
            }
            div.scroll { table { tbody {
                @for (name, value) in rows { tr { th { (name) } td { (value) } } }
            } } }
        }
    }
}

/// Writes the errors. The most serious kind is first.
pub(super) fn errors(run: &Run) -> Markup {
    html! {
        @if !run.errors.is_empty() {
            section.errors {
                h3 { "Errors" }
                div.scroll { table {
                    thead { tr { th { "kind" } th { "count" } th { "messages lost" } th { "the first" } } }
                    tbody {
                        @for error in &run.errors {
                            tr {
                                td { (error.kind) }
                                td { (units::count(error.count)) }
                                td { (units::count(error.messages)) }
                                td {
                                    "connection " (error.first.connection)
                                    @if let Some(offset) = error.first.offset { ", offset " (offset) }
                                    ", after " (units::time(error.first.at_ns as f64)) ": " (error.first.detail)
                                }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// If the values of a curve differ by at most this share, a sentence is in its place.
pub(super) const FLAT: f64 = 0.02;

/// The percentiles of a table.
const COLUMNS: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// The number of points from 90 % to 99 %, from 99 % to 99.9 %, and so on.
const POINTS_A_DECADE: f64 = 40.0;

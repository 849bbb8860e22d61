//! Draws the figures of one run over time.

use maud::{Markup, html};

use super::axis::Axis;
use super::plot::{Plot, number};
use crate::report::document::{IntervalSummary, Run};
use crate::report::units;

/// Draws the response times over time as a heat map. It shows the whole distribution of each second, which a percentile
/// would hide.
pub(super) fn heat_map(run: &Run) -> Markup {
    let response = &run.latency.response;
    let (low, high) = (response.min.max(1) as f64, response.max.max(2) as f64);
    let plot = Plot {
        x: seconds_axis(run),
        y: Axis::times("response", low, high),
    };
    let groups = groups(run);
    let counts: Vec<[u64; ROWS]> = groups.iter().map(|group| rows(group, &plot.y)).collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    // A single message must be visible too, because the highest percentiles are few messages.
    let shade = |count: u64| 0.12 + 0.88 * (count as f64).ln_1p() / (most as f64).ln_1p();
    let inside = html! {
        @for (group, counts) in groups.iter().zip(&counts) {
            @let (left, right) = (plot.x_at(start(group)), plot.x_at(end(group)));
            @for (row, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let (top, bottom) = (row_edge(&plot, row + 1), row_edge(&plot, row));
                rect.heat x=(number(left)) y=(number(top)) width=(number(right - left)) height=(number(bottom - top))
                    fill-opacity=(format!("{:.2}", shade(*count)))
                { title { (units::count(*count)) " messages" } }
            }
        }
    };
    html! {
        figure {
            figcaption { "Latency over time" }
            p.about { "Darker cells have more messages. The scale is logarithmic, so a single message is visible too." }
            (plot.draw("Heat map of response times over time", &inside))
        }
    }
}

/// Returns where a row of the heat map begins. All rows have the same height.
fn row_edge(plot: &Plot, row: usize) -> f64 {
    let (bottom, top) = (plot.y_at(0.0), plot.y_at(f64::MAX));
    bottom + (top - bottom) * row as f64 / ROWS as f64
}

/// Counts the messages of each row.
fn rows(group: &[IntervalSummary], axis: &Axis) -> [u64; ROWS] {
    let mut counts = [0; ROWS];
    for second in group {
        for bar in second.response.histogram.iter_recorded() {
            let place = axis.place(bar.value_iterated_to() as f64) * ROWS as f64;
            if let Some(count) = counts.get_mut((place as usize).min(ROWS - 1)) {
                *count += bar.count_at_value();
            }
        }
    }
    counts
}

/// Draws how many messages came back in each second.
pub(super) fn throughput(run: &Run) -> Markup {
    let rate = IntervalSummary::messages_per_second;
    let most = run.intervals.iter().map(rate).fold(0.0, f64::max);
    let plot = Plot {
        x: seconds_axis(run),
        y: Axis::linear("messages a second", most, units::rate),
    };
    over_time(
        run,
        "Throughput over time",
        &plot,
        |second| Some(rate(second)),
        units::rate,
    )
}

/// Draws the p99 of each second.
pub(super) fn p99(run: &Run) -> Markup {
    let known = || run.intervals.iter().filter_map(tail);
    let plot = Plot {
        x: seconds_axis(run),
        y: Axis::times(
            "p99",
            known().fold(f64::MAX, f64::min).min(1e15) * 0.8,
            known().fold(1.0, f64::max) * 1.2,
        ),
    };
    over_time(run, "p99 over time", &plot, tail, units::time)
}

fn tail(second: &IntervalSummary) -> Option<f64> {
    second.response.tail().map(|ns| ns as f64)
}

/// Draws a figure of each second as a curve.
fn over_time(
    run: &Run,
    name: &str,
    plot: &Plot,
    value: impl Fn(&IntervalSummary) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> Markup {
    let middle = |second: &IntervalSummary| (second.start_ns + second.length_ns / 2) as f64 / 1e9;
    let known = run
        .intervals
        .iter()
        .filter_map(|second| Some((middle(second), value(second)?)));
    let points: Vec<(f64, f64)> = known.collect();
    let inside = html! {
        (plot.curve("one", &points))
        @if points.len() <= MOST_DOTS {
            @for point in &points { (plot.dot("one", *point, &show(point.1))) }
        }
    };
    html! {
        figure {
            figcaption { (name) }
            (plot.draw(name, &inside))
        }
    }
}

/// Writes the table of the seconds.
pub(super) fn seconds(run: &Run) -> Markup {
    let columns = [
        "from",
        "sent",
        "came back",
        "errors",
        "connections",
        "p50",
        "p99",
        "max",
    ];
    html! {
        section {
            details open[run.intervals.len() <= SHORT_TABLE] {
                summary { "Second by second" }
                div.scroll { table {
                    thead { tr { @for name in columns { th { (name) } } } }
                    tbody {
                        @for second in &run.intervals {
                            @let response = &second.response;
                            @let at = |p| response.percentile(p).map_or("–".to_owned(), |ns| units::time(ns as f64));
                            tr {
                                td { (units::time(second.start_ns as f64)) }
                                td { (units::count(second.sent)) }
                                td { (units::count(second.ok)) }
                                td { (units::count(second.errors)) }
                                td { (units::count(second.connections as u64)) }
                                td { (at(50.0)) }
                                td { (at(99.0)) }
                                td { (units::time(second.response.max as f64)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn seconds_axis(run: &Run) -> Axis {
    Axis::linear("seconds", run.window_ns as f64 / 1e9, |v| format!("{v}"))
}

/// Returns the columns of the heat map: one for each second, or for several seconds if there are more seconds than
/// columns.
fn groups(run: &Run) -> Vec<&[IntervalSummary]> {
    let each = run.intervals.len().div_ceil(MOST_COLUMNS).max(1);
    run.intervals.chunks(each).collect()
}

fn start(group: &[IntervalSummary]) -> f64 {
    group
        .first()
        .map_or(0.0, |second| second.start_ns as f64 / 1e9)
}

fn end(group: &[IntervalSummary]) -> f64 {
    group.last().map_or(0.0, |second| {
        (second.start_ns + second.length_ns) as f64 / 1e9
    })
}

/// The rows of the heat map.
const ROWS: usize = 32;
/// The most columns of the heat map.
const MOST_COLUMNS: usize = 90;
/// A curve of more points than this is drawn without dots.
const MOST_DOTS: usize = 60;
/// A table of more lines than this is folded at first.
const SHORT_TABLE: usize = 12;

//! Draws the figures of one run over time.

use maud::{Markup, html};

use super::axis::Axis;
use super::figures::FLAT;
use super::plot::{Plot, RIGHT, WIDTH, number, width_of};
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
                { title { (units::counted(*count, "message")) } }
            }
        }
        (colour_key(most, shade))
    };
    html! {
        figure {
            figcaption { "Latency over time" }
            p.about {
                "A cell is the messages of one time and one range of response times. The scale of the colours is \
                 logarithmic, so a single message is visible too."
            }
            (plot.draw("Heat map of response times over time", &inside))
        }
    }
}

/// Draws the colours of some counts, from one message to the most in a cell, above the right end of the frame.
fn colour_key(most: u64, shade: impl Fn(u64) -> f64) -> Markup {
    let most_text = units::counted(most, "message");
    let text_from = WIDTH - RIGHT - width_of(&most_text);
    let first = text_from - 6.0 - KEY_CELL * f64::from(KEY_CELLS);
    let count = |n: u32| {
        (most as f64)
            .powf(f64::from(n) / f64::from(KEY_CELLS - 1))
            .round()
    };
    html! {
        text x=(number(first - 6.0)) y="13" text-anchor="end" { "1" }
        @for n in 0..KEY_CELLS {
            rect.heat x=(number(first + KEY_CELL * f64::from(n))) y="3" width=(KEY_CELL) height="12"
                fill-opacity=(format!("{:.2}", shade(count(n) as u64))) {}
        }
        text x=(number(text_from)) y="13" { (most_text) }
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
    let points = points(run, |second| Some(rate(second)));
    let most = highest(&points);
    let plot = Plot {
        x: seconds_axis(run),
        y: Axis::linear("messages a second", most, units::rate),
    };
    let flat = flat(&points).map(|(low, high)| {
        let range = range(units::rate(low), units::rate(high));
        format!("In each second, {range} messages came back.")
    });
    over_time("Throughput over time", &plot, &points, flat, units::rate)
}

/// Draws the p99 of each second.
pub(super) fn p99(run: &Run) -> Markup {
    let points = points(run, |second| second.response.tail().map(|ns| ns as f64));
    let lowest = points.iter().map(|point| point.1).fold(f64::MAX, f64::min);
    let plot = Plot {
        x: seconds_axis(run),
        y: Axis::times("p99", lowest.min(1e15) * 0.8, highest(&points) * 1.2),
    };
    let flat = flat(&points).map(|(low, high)| {
        let range = range(units::time(low), units::time(high));
        format!("In each second, the p99 of the response time was {range}.")
    });
    over_time("p99 over time", &plot, &points, flat, units::time)
}

/// Returns the middle of each second and its value.
fn points(run: &Run, value: impl Fn(&IntervalSummary) -> Option<f64>) -> Vec<(f64, f64)> {
    let middle = |second: &IntervalSummary| (second.start_ns + second.length_ns / 2) as f64 / 1e9;
    let seconds = run.intervals.iter();
    seconds
        .filter_map(|second| Some((middle(second), value(second)?)))
        .collect()
}

fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).fold(1.0, f64::max)
}

/// Returns the lowest and the highest value, if a curve would show nothing: all values are nearly equal.
fn flat(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let lowest = points.iter().map(|point| point.1).fold(f64::MAX, f64::min);
    let highest = highest(points);
    (highest - lowest <= lowest * FLAT).then_some((lowest, highest))
}

/// Writes both ends of a range, or one value if they are the same in writing.
fn range(low: String, high: String) -> String {
    match low == high {
        true => low,
        false => format!("{low} to {high}"),
    }
}

/// Draws a figure of each second as a curve, or writes a sentence if the curve would be flat. Two points are no curve.
fn over_time(
    name: &str,
    plot: &Plot,
    points: &[(f64, f64)],
    flat: Option<String>,
    show: impl Fn(f64) -> String,
) -> Markup {
    let inside = html! {
        (plot.curve("one", points))
        @if points.len() <= MOST_DOTS {
            @for point in points { (plot.dot("one", *point, &show(point.1))) }
        }
    };
    html! {
        @if points.len() >= FEWEST_POINTS {
            figure {
                figcaption { (name) }
                @if let Some(sentence) = flat { p { (sentence) } }
                @else { (plot.draw(name, &inside)) }
            }
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
    let show = |v: f64| format!("{}", (v * 1000.0).round() / 1000.0);
    Axis::linear("seconds", run.window_ns as f64 / 1e9, show)
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

/// The number of colours in the key of the heat map, and their width.
const KEY_CELLS: u32 = 5;
const KEY_CELL: f64 = 16.0;
/// Fewer points than this are in the table of the seconds alone.
const FEWEST_POINTS: usize = 3;
/// The rows of the heat map.
const ROWS: usize = 32;
/// The most columns of the heat map.
const MOST_COLUMNS: usize = 90;
/// A curve of more points than this is drawn without dots.
const MOST_DOTS: usize = 60;
/// A table of more lines than this is folded at first.
const SHORT_TABLE: usize = 12;

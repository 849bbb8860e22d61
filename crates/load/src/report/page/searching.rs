//! Draws what several settings show: the latency by the setting that a sweep or a search varies, and the rates that a
//! search tried.

use maud::{Markup, html};

use super::axis::Axis;
use super::plot::{BOTTOM, HEIGHT, Plot, RIGHT, TOP, WIDTH, legend, number, width_of};
use crate::report::document::{Document, Parameters, Run, Verdict};
use crate::report::findings::KnownMaximum;
use crate::report::text::{knee, maximum, short_outcome};
use crate::report::units;

/// The setting that differs between the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Varied {
    Rate,
    Connections,
    Size,
}

/// Returns the setting that differs between the runs, if one does.
pub(super) fn varied(runs: &[Run]) -> Option<Varied> {
    let first = &runs.first()?.parameters;
    let differ = |of: &dyn Fn(&Parameters) -> bool| runs.iter().any(|run| of(&run.parameters));
    if differ(&|p| p.rate != first.rate) {
        Some(Varied::Rate)
    } else if differ(&|p| p.connections != first.connections) {
        Some(Varied::Connections)
    } else if differ(&|p| p.size != first.size) {
        Some(Varied::Size)
    } else {
        None
    }
}

impl Varied {
    /// Returns the value of the setting.
    fn of(self, run: &Run) -> Option<f64> {
        match self {
            Varied::Rate => run.parameters.rate,
            Varied::Connections => Some(run.parameters.connections as f64),
            Varied::Size => run.parameters.size.parse().ok(),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Varied::Rate => "Rate and latency",
            Varied::Connections => "Connections and latency",
            Varied::Size => "Size and latency",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Varied::Rate => "messages a second, asked for",
            Varied::Connections => "connections",
            Varied::Size => "bytes a message",
        }
    }
}

/// A run in the drawing.
struct Point {
    x: f64,
    p50: f64,
    /// `None` if the run has too few messages for it.
    p99: Option<f64>,
    is_valid: bool,
}

/// Draws p50 and p99 by the setting that varies: each run as a point, and a curve through the medians of each value.
pub(super) fn latency_by(varied: Varied, document: &Document) -> Markup {
    let points: Vec<Point> = document
        .runs
        .iter()
        .filter_map(|run| {
            let response = &run.latency.response;
            Some(Point {
                x: varied.of(run)?,
                p50: response.percentile(50.0)? as f64,
                p99: response.percentile(99.0).map(|ns| ns as f64),
                is_valid: run.validity.verdict == Verdict::Valid,
            })
        })
        .collect();
    let low = points.iter().map(|p| p.p50).fold(f64::MAX, f64::min);
    let highest = points.iter().map(|p| p.p99.unwrap_or(p.p50));
    let high = highest.fold(1.0, f64::max);
    if points.is_empty() {
        return html! {};
    }
    let plot = Plot {
        x: axis(varied.label(), &points),
        y: Axis::times("response", low.min(1e15) * 0.8, high * 1.2),
    };
    let inside = html! {
        @if varied == Varied::Rate { (knee_band(&plot, document)) }
        (plot.curve("one", &medians(&points, |p| p.p99)))
        (plot.curve("two", &medians(&points, |p| Some(p.p50))))
        @for point in &points {
            @for (class, y) in point.p99.map(|y| ("one", y)).into_iter().chain([("two", point.p50)]) {
                @let class = if point.is_valid { class.to_owned() } else { format!("{class} hollow") };
                (plot.dot(&class, (point.x, y), &format!("{} at {}", units::time(y), units::rate(point.x))))
            }
        }
    };
    html! {
        figure {
            figcaption { (varied.title()) }
            p.about {
                "A point is a run; it is empty if the run is overloaded or invalid. The lines connect the medians."
            }
            @if let Some(found) = &document.knee { p { (knee(found)) } }
            (legend(&["p99", "p50"]))
            (plot.draw("Response time by the varied setting", &inside))
        }
    }
}

/// Returns the median of each value of the setting, in ascending order.
fn medians(points: &[Point], of: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
    let mut places: Vec<f64> = points.iter().map(|p| p.x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let median = |x: f64| {
        let mut values: Vec<f64> = points.iter().filter(|p| p.x == x).filter_map(&of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).map(|y| (x, *y))
    };
    places.into_iter().filter_map(median).collect()
}

/// Makes the axis of the varied setting: logarithmic if the values have unequal distances, as those of a geometric
/// sweep have.
fn axis(label: &str, points: &[Point]) -> Axis {
    let places: Vec<f64> = medians(points, |p| Some(p.x))
        .into_iter()
        .map(|(x, _)| x)
        .collect();
    let next = places.iter().skip(1);
    let distances: Vec<f64> = places
        .iter()
        .zip(next)
        .map(|(one, next)| next - one)
        .collect();
    let closest = distances.iter().copied().fold(f64::MAX, f64::min);
    let furthest = distances.iter().copied().fold(0.0, f64::max);
    let (low, high) = (
        places.first().copied().unwrap_or(1.0),
        places.last().copied().unwrap_or(1.0),
    );
    match furthest > closest * 1.5 {
        true => Axis::logarithmic(label, low * 0.9, high * 1.1, units::rate),
        false => Axis::linear(label, high, units::rate),
    }
}

/// Marks the rates between which the knee is.
fn knee_band(plot: &Plot, document: &Document) -> Markup {
    let Some(knee) = &document.knee else {
        return html! {};
    };
    let (left, right) = (plot.x_at(knee.low), plot.x_at(knee.high));
    let is_room = right + 6.0 + width_of("knee") < WIDTH - RIGHT;
    let (x, anchor) = match is_room {
        true => (right + 6.0, "start"),
        false => (left - 6.0, "end"),
    };
    html! {
        rect.knee x=(number(left)) width=(number((right - left).max(3.0)))
            y=(number(TOP)) height=(number(HEIGHT - BOTTOM - TOP)) {}
        text.marked x=(number(x)) y=(number(TOP + 14.0)) text-anchor=(anchor) { "knee" }
    }
}

/// Writes the highest rate that a search found, and each rate that it tried.
pub(super) fn search(found: &KnownMaximum) -> Markup {
    html! {
        section {
            h2 { "The highest rate" }
            p.lead { (maximum(found)) }
            div.scroll { table.words {
                thead { tr {
                    th { "messages/s" } th { "runs that held" } th.left { "outcome" } th.left { "why" }
                } }
                tbody {
                    @for tried in &found.tried {
                        tr {
                            td { (units::rate(tried.rate)) }
                            td { (tried.held) " of " (tried.runs) }
                            td.left { (short_outcome(tried.outcome)) }
                            td.left.why { (tried.why) }
                        }
                    }
                }
            } }
        }
    }
}

//! Draws a comparison with the baseline: the curves of both sides, and the ratios with their intervals.

use maud::{Markup, html};

use super::figures::{percentile_plot, percentile_points, percentile_table};
use super::plot::{RIGHT, TOP, WIDTH, legend, number, width_of};
use crate::report::document::Run;
use crate::report::findings::{Comparison, Finding, Metric};
use crate::report::latency::Latency;
use crate::report::side::Side;
use crate::report::text::{detectable, different, heading, interval, show};
use crate::report::units;

/// Draws the comparison of two targets: both curves, and the ratios with their intervals.
pub(super) fn comparison(comparison: &Comparison, runs: &[Run]) -> Markup {
    let side = comparison.side.unwrap_or(Side::of(1));
    let (a, b) = (together(runs, Side::A), together(runs, side));
    let letter = comparison.letter().to_string();
    let plot = percentile_plot(&[&a.histogram, &b.histogram]);
    let overlay = html! {
        (plot.curve("one", &percentile_points(&a.histogram)))
        (plot.curve("two", &percentile_points(&b.histogram)))
    };
    html! {
        section.comparison {
            h2 { (letter) " compared with A" }
            p.what { (heading(comparison)) }
            div.figures {
                figure {
                    figcaption { "Ratio " (letter) " / A" }
                    @if comparison.metrics.iter().any(|metric| metric.interval.is_some()) {
                        p.about {
                            "A line is the confidence interval of a ratio ("
                            (format!("{:.0} %", comparison.confidence * 100.0)) " for all "
                            (comparison.intervals) " together). An arrow: it goes on outside the drawing. If it \
                             crosses 1, the difference may be chance."
                        }
                    }
                    (ratios(comparison))
                }
                figure {
                    figcaption { "Response time by percentile, all runs of each" }
                    (legend(&[&format!("A: {}", comparison.a), &format!("{letter}: {}", comparison.b)]))
                    (plot.draw("Response time of both targets by percentile", &overlay))
                    (percentile_table(&[("A".to_owned(), &a, None), (letter, &b, None)]))
                }
            }
            (table_of_metrics(comparison))
            @if !comparison.differences.is_empty() || !comparison.notes.is_empty() {
                ul.notes {
                    @for difference in &comparison.differences { li { (different(difference)) } }
                    @for note in &comparison.notes { li { (note) } }
                }
            }
        }
    }
}

/// Adds the response times of all runs of a side.
fn together(runs: &[Run], side: Side) -> Latency {
    let mut all = crate::histogram();
    for run in runs.iter().filter(|run| run.side == Some(side)) {
        crate::add(&mut all, &run.latency.response.histogram);
    }
    Latency::new(all)
}

/// Draws the ratios with their intervals, on a logarithmic axis with 1 in the middle.
fn ratios(comparison: &Comparison) -> Markup {
    let metrics = &comparison.metrics;
    let names = metrics.iter().map(|metric| width_of(&metric.name));
    let left = names.fold(0.0, f64::max) + 26.0;
    let reach = metrics
        .iter()
        .map(|metric| {
            let (low, high) = ends(metric);
            high.max(1.0 / low.max(1e-9))
        })
        .fold(1.05, f64::max)
        .min(FURTHEST);
    let axis = RatioAxis { left, reach };
    let bottom = TOP + ROW * metrics.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 24.0)) role="img" aria-label="Ratios with their intervals" {
            @for ratio in [1.0 / reach, 1.0, reach] {
                @let x = number(axis.at(ratio));
                line.grid x1=(x) x2=(x) y1=(TOP - 10.0) y2=(bottom) {}
                text x=(x) y=(bottom + 17.0) text-anchor="middle" { (units::plain(&units::ratio(ratio))) }
            }
            @for (n, metric) in metrics.iter().enumerate() {
                (ratio_row(metric, &axis, TOP + ROW / 2.0 + ROW * n as f64))
            }
        }
    }
}

/// Draws the ratio of one figure as a point, and its interval as a line. An end outside the axis has an arrow.
fn ratio_row(metric: &Metric, axis: &RatioAxis, y: f64) -> Markup {
    let is_a_difference = matches!(metric.finding, Finding::Worse | Finding::Better);
    let class = if is_a_difference { "two" } else { "one" };
    let (low, high) = ends(metric);
    let told = format!("{}: {}", units::ratio(metric.ratio), interval(metric));
    let (from, to) = (axis.at(low), axis.at(high));
    let arrow = |x: f64, forward: f64| {
        let (tip, base) = (number(x + 9.0 * forward), number(x));
        let (top, bottom, y) = (number(y - 5.0), number(y + 5.0), number(y));
        html! {
            path class=(format!("arrow {class}")) d=(format!("M{base} {top}L{tip} {y}L{base} {bottom}Z")) {
                title { (told) }
            }
        }
    };
    html! {
        text x="2" y=(number(y)) dy="4" { (metric.name) }
        line class=(format!("curve solid {class}")) x1=(number(from)) x2=(number(to)) y1=(number(y)) y2=(number(y)) {}
        @if low < 1.0 / axis.reach { (arrow(from, -1.0)) }
        @if high > axis.reach { (arrow(to, 1.0)) }
        @if (1.0 / axis.reach..=axis.reach).contains(&metric.ratio) {
            circle class=(format!("dot {class}")) cx=(number(axis.at(metric.ratio))) cy=(number(y)) r="5" {
                title { (told) }
            }
        }
    }
}

/// A logarithmic axis from 1 / `reach` to `reach`.
struct RatioAxis {
    left: f64,
    reach: f64,
}

impl RatioAxis {
    /// Returns the place of a ratio. A ratio outside has the place of the nearest end.
    fn at(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(1.0 / self.reach, self.reach);
        let share = (ratio.ln() / self.reach.ln() + 1.0) / 2.0;
        self.left + share * (WIDTH - RIGHT - self.left)
    }
}

/// Returns the ends of the interval. Without an interval, both are the ratio.
fn ends(metric: &Metric) -> (f64, f64) {
    match &metric.interval {
        Some(interval) => (interval.low, interval.high),
        None => (metric.ratio, metric.ratio),
    }
}

/// Writes the table of the compared figures.
fn table_of_metrics(comparison: &Comparison) -> Markup {
    let letter = comparison.letter();
    html! {
        div.scroll { table.words {
            thead { tr {
                th { "" } th { "A" } th { (letter) } th { (letter) " / A" } th { "interval" } th { "detectable" }
                th.left { "finding" }
            } }
            tbody {
                @for metric in &comparison.metrics {
                    tr {
                        th { (metric.name) }
                        td { (show(metric, metric.a)) }
                        td { (show(metric, metric.b)) }
                        td { (units::ratio(metric.ratio)) }
                        td { (interval(metric)) }
                        td { (detectable(metric)) }
                        td class=(format!("left {}", tone(metric.finding))) { (metric.finding.words(letter)) }
                    }
                }
            }
        } }
    }
}

/// Returns the class of a finding in the style sheet.
fn tone(finding: Finding) -> &'static str {
    match finding {
        Finding::Worse => "bad",
        Finding::Better => "good",
        Finding::TooNoisy | Finding::TwoSittings => "doubtful",
        Finding::Same | Finding::NotShown => "",
    }
}

/// The highest ratio of the axis.
const FURTHEST: f64 = 20.0;
/// The height of a row.
const ROW: f64 = 40.0;

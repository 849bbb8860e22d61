//! Draws the figures of several runs: the comparison of two targets, and the latency by rate.

use maud::{Markup, html};

use super::axis::Axis;
use super::figures::{percentile_plot, percentile_points, percentile_table};
use super::plot::{LEFT, Plot, TOP, number};
use crate::report::document::{Document, Run, Verdict};
use crate::report::findings::{Comparison, Finding, Metric};
use crate::report::latency::Latency;
use crate::report::side::Side;
use crate::report::units;

/// Draws the comparison of two targets: both curves, and the ratios with their intervals.
pub(super) fn comparison(comparison: &Comparison, runs: &[Run]) -> Markup {
    let side = comparison.side.unwrap_or(Side::of(1));
    let (a, b) = (together(runs, Side::A), together(runs, side));
    let letter = comparison.letter();
    let plot = percentile_plot(&[&a.histogram, &b.histogram]);
    let overlay = html! {
        (plot.curve("one", &percentile_points(&a.histogram)))
        (plot.curve("two", &percentile_points(&b.histogram)))
        (plot.legend(&[&format!("A: {}", comparison.a), &format!("{letter}: {}", comparison.b)]))
    };
    html! {
        div.figures {
            figure {
                figcaption { "Response time by percentile, all runs of each" }
                (plot.draw("Response time of both targets by percentile", &overlay))
                (percentile_table(&[("A", &a), (&letter.to_string(), &b)]))
            }
            figure {
                figcaption { "Ratio " (letter) " / A" }
                p.about {
                    "A: " (comparison.a) ". " (letter) ": " (comparison.b) ". "
                    (comparison.count_a) " and " (comparison.count_b) " runs"
                    @if comparison.paired { ", in pairs" }
                    ". Each line is the confidence interval of a ratio ("
                    (format!("{:.0} %", comparison.confidence * 100.0))
                    " for all together). If a line crosses 1, the difference may be chance."
                }
                (ratios(comparison))
                (table_of_metrics(comparison))
                @for note in &comparison.notes { p.about { (note) } }
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
    let ends = |metric: &Metric| match &metric.interval {
        Some(interval) => (interval.low, interval.high),
        None => (metric.ratio, metric.ratio),
    };
    let furthest = |metric: &Metric| {
        let (low, high) = ends(metric);
        high.max(1.0 / low.max(1e-9))
    };
    let reach = comparison
        .metrics
        .iter()
        .map(furthest)
        .fold(1.05, f64::max)
        .min(100.0);
    let place = |ratio: f64| LEFT + (ratio.ln() / reach.ln() + 1.0) / 2.0 * 390.0;
    let height = TOP + 44.0 * comparison.metrics.len() as f64;
    html! {
        svg viewBox=(format!("0 0 480 {}", height + 24.0)) role="img" aria-label="Ratios with their intervals" {
            @for (ratio, shown) in [
                (1.0 / reach, format!("{:.2}", 1.0 / reach)),
                (1.0, "1".into()),
                (reach, format!("{reach:.2}")),
            ] {
                @let x = number(place(ratio));
                line.grid x1=(x) x2=(x) y1=(TOP - 10.0) y2=(height) {}
                text x=(x) y=(height + 16.0) text-anchor="middle" { (shown) }
            }
            @for (n, metric) in comparison.metrics.iter().enumerate() {
                @let y = number(TOP + 22.0 + 44.0 * n as f64);
                @let is_a_difference = matches!(metric.finding, Finding::Worse | Finding::Better);
                @let class = if is_a_difference { "two" } else { "one" };
                @let (low, high) = ends(metric);
                text x="4" y=(y) dy="4" { (metric.name) }
                line class=(format!("curve {class}"))
                    x1=(number(place(low.max(1.0 / reach)))) x2=(number(place(high.min(reach))))
                    y1=(y) y2=(y) {}
                circle class=(format!("dot {class}")) cx=(number(place(metric.ratio))) cy=(y) r="5" {
                    title { (format!("{:.3}", metric.ratio)) }
                }
            }
        }
    }
}

/// Writes the table of the compared figures.
fn table_of_metrics(comparison: &Comparison) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th { "" } th { "A" } th { (comparison.letter()) }
                th { (comparison.letter()) " / A" } th { "interval" } th { "detectable" } th { "" }
            } }
            tbody {
                @for metric in &comparison.metrics {
                    @let show = |v| match metric.name.as_str() {
                        "rate" => format!("{}/s", units::rate(v)),
                        _ => units::time(v),
                    };
                    tr {
                        th { (metric.name) }
                        td { (show(metric.a)) }
                        td { (show(metric.b)) }
                        td { (format!("{:.3}", metric.ratio)) }
                        td { (metric.interval.map_or("–".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high))) }
                        td { (metric.interval.map_or("–".to_owned(), |i| units::percent(i.detectable))) }
                        td { (metric.finding.words(comparison.letter())) }
                    }
                }
            }
        } }
    }
}

/// Whether the runs have different settings.
pub(super) fn is_a_sweep(runs: &[Run]) -> bool {
    let mut pairs = runs.iter().zip(runs.iter().skip(1));
    pairs.any(|(one, next)| one.parameters != next.parameters)
}

/// Draws the latency by rate, and marks the knee: the point from which the latency rises faster than the rate.
pub(super) fn rate_and_latency(runs: &[Run], document: &Document) -> Markup {
    let mut points: Vec<(f64, f64, f64)> = runs
        .iter()
        .filter_map(|run| {
            let response = &run.latency.response;
            let (p50, p99) = (response.percentile(50.0)?, response.percentile(99.0)?);
            Some((run.throughput.messages_per_second, p50 as f64, p99 as f64))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let most = points.iter().map(|p| p.0).fold(0.0, f64::max);
    let low = points
        .iter()
        .map(|p| p.1)
        .fold(f64::MAX, f64::min)
        .min(1e15);
    let high = points.iter().map(|p| p.2).fold(1.0, f64::max);
    let plot = Plot {
        x: Axis::linear("messages a second, achieved", most, units::rate),
        y: Axis::times("response", low * 0.8, high * 1.2),
    };
    let p50: Vec<_> = points.iter().map(|p| (p.0, p.1)).collect();
    let p99: Vec<_> = points.iter().map(|p| (p.0, p.2)).collect();
    let inside = html! {
        (plot.curve("one", &p99))
        (plot.curve("two", &p50))
        @for point in &p99 {
            (plot.dot("one", *point, &format!("{}/s: p99 {}", units::rate(point.0), units::time(point.1))))
        }
        @if let Some(knee) = &document.knee {
            @let (left, right) = (plot.x_at(knee.low), plot.x_at(knee.high));
            rect.knee x=(number(left)) width=(number((right - left).max(2.0)))
                y=(number(plot.y_at(f64::MAX))) height=(number(plot.y_at(0.0) - plot.y_at(f64::MAX))) {}
            text.marked x=(number(right + 5.0)) y=(number(plot.y_at(0.0) - 6.0)) { "knee" }
        }
        (plot.legend(&["p99", "p50"]))
    };
    html! {
        figure {
            figcaption { "Rate and latency" }
            @if let Some(knee) = &document.knee {
                p.about { (super::super::text::knee(knee)) }
            }
            @if let Some(found) = &document.find_max {
                @if let Some(rate) = found.rate {
                    p.about { (found.condition) " holds up to " (units::rate(rate)) " messages/s." }
                }
            }
            (plot.draw("Response time by rate", &inside))
        }
    }
}

/// Writes a table with one line for each run.
pub(super) fn table_of_runs(runs: &[Run]) -> Markup {
    let columns = [
        "run",
        "target",
        "connections",
        "bytes",
        "asked/s",
        "achieved/s",
        "p50",
        "p99",
        "max",
        "errors",
        "",
    ];
    html! {
        section {
            h2 { "Runs" }
            div.scroll { table {
                thead { tr { @for name in columns { th { (name) } } } }
                tbody {
                    @for run in runs {
                        @let response = &run.latency.response;
                        @let at = |p| response.percentile(p).map_or("–".to_owned(), |ns| units::time(ns as f64));
                        tr {
                            td { (run.index + 1) }
                            td { (run.target) }
                            td { (units::count(run.parameters.connections as u64)) }
                            td { (run.parameters.size) }
                            td { (run.parameters.rate.map_or("–".to_owned(), units::rate)) }
                            td { (units::rate(run.throughput.messages_per_second)) }
                            td { (at(50.0)) }
                            td { (at(99.0)) }
                            td { (units::time(response.max as f64)) }
                            td { (units::count(run.counts.errors)) }
                            td { (verdict(run.validity.verdict)) }
                        }
                    }
                }
            } }
        }
    }
}

/// Writes the verdict of a run, unless it is valid.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "",
        Verdict::Overloaded => "overloaded",
        Verdict::Invalid => "invalid",
    }
}

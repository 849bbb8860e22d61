//! Writes the report as tables for other programs: each second as CSV, and the distribution in HdrHistogram's text
//! format.

use std::fmt::Write;

use super::document::{Document, Run};
use super::latency::Latency;

/// Writes the seconds of all runs as CSV: one line for each second, after a line with the names of the columns.
#[must_use]
pub fn csv(document: &Document) -> String {
    let mut text = String::from(
        "run,target,connections,asked_rate,size,start_ns,length_ns,sent,ok,errors,open_connections,\
         messages_per_second,p50_ns,p90_ns,p99_ns,p99.9_ns,max_ns,queued_ns,absent_ns\n",
    );
    for run in &document.runs {
        let (target, size) = (quoted(&run.target), quoted(&run.parameters.size));
        let asked = run
            .parameters
            .rate
            .map_or(String::new(), |rate| rate.to_string());
        for second in &run.intervals {
            let response = &second.response;
            let at = |percent| {
                response
                    .percentile(percent)
                    .map_or(String::new(), |ns| ns.to_string())
            };
            let rate = second.messages_per_second();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{},{target},{},{asked},{size},{},{},{},{},{},{},{rate:.1},{},{},{},{},{},{},{}",
                run.index,
                run.parameters.connections,
                second.start_ns,
                second.length_ns,
                second.sent,
                second.ok,
                second.errors,
                second.connections,
                at(50.0),
                at(90.0),
                at(99.0),
                at(99.9),
                response.max,
                second.queued_ns,
                second.absent_ns,
            );
        }
    }
    text
}

/// Quotes a field if CSV needs it (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Writes the response times of a run in milliseconds, in the text format of HdrHistogram's tools (`.hgrm`).
#[must_use]
pub fn hgrm(run: &Run) -> String {
    let Latency { histogram, .. } = &run.latency.response;
    let ms = |ns: f64| ns / 1e6;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut below = 0;
    for step in histogram.iter_quantiles(TICKS) {
        below += step.count_since_last_iteration();
        let (value, quantile) = (
            ms(step.value_iterated_to() as f64),
            step.quantile_iterated_to(),
        );
        let _ = match quantile < 1.0 {
            true => writeln!(
                text,
                "{value:>12.6} {quantile:>14.12} {below:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            ),
            false => writeln!(text, "{value:>12.6} {quantile:>14.12} {below:>10}"),
        };
    }
    let (mean, deviation) = (ms(histogram.mean()), ms(histogram.stdev()));
    let (max, count) = (ms(histogram.max() as f64), histogram.len());
    let _ = write!(
        text,
        "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]\n\
         #[Max     = {max:>12.6}, Total count    = {count:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]\n",
        histogram.buckets(),
        2048
    );
    text
}

/// The number of lines for each halving of the share of values above.
const TICKS: u32 = 5;

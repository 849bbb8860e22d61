//! Writes the report as tables for other programs: each second as CSV, and the distribution in HdrHistogram's text
//! format.

use std::fmt::Write;

use super::document::{Document, Run, Verdict};
use super::latency::Latency;

/// Writes the seconds of all runs as CSV: one line for each second, after a line with the names of the columns. The
/// first run has the number 1, as in the text.
#[must_use]
pub fn csv(document: &Document) -> String {
    let mut text = String::from(
        "run,target,connections,asked_rate,size,start_ns,length_ns,sent,ok,errors,open_connections,\
         messages_per_second,p50_ns,p90_ns,p99_ns,p99_9_ns,max_ns,queued_ns,absent_ns\n",
    );
    for run in &document.runs {
        for second in &run.intervals {
            let response = &second.response;
            let cells = [
                second.start_ns.to_string(),
                second.length_ns.to_string(),
                second.sent.to_string(),
                second.ok.to_string(),
                second.errors.to_string(),
                second.connections.to_string(),
                format!("{:.1}", second.messages_per_second()),
                at(response, 50.0),
                at(response, 90.0),
                at(response, 99.0),
                at(response, 99.9),
                response.max.to_string(),
                second.queued_ns.to_string(),
                second.absent_ns.to_string(),
            ];
            row(&mut text, settings(run).into_iter().chain(cells));
        }
    }
    text
}

/// Writes all runs as CSV: one line for each run, after a line with the names of the columns. The first run has the
/// number 1, as in the text.
#[must_use]
pub fn csv_of_runs(document: &Document) -> String {
    let mut text = String::from(
        "run,target,connections,asked_rate,size,side,verdict,window_ns,scheduled,ok,failed,unfinished,errors,\
         messages_per_second,bytes_per_second,p50_ns,p90_ns,p99_ns,p99_9_ns,p99_99_ns,max_ns,service_p50_ns,\
         service_p99_ns,first_byte_p50_ns,first_byte_p99_ns,connect_p50_ns,connect_p99_ns,cycle_p50_ns,cycle_p99_ns,\
         generator_cpu_ns,generator_busy_share\n",
    );
    for run in &document.runs {
        let (counts, latency) = (run.counts, &run.latency);
        let verdict = match run.validity.verdict {
            Verdict::Valid => "valid",
            Verdict::Overloaded => "overloaded",
            Verdict::Invalid => "invalid",
        };
        let side = run
            .side
            .map_or(String::new(), |side| side.letter().to_string());
        let mut cells = vec![side, verdict.to_owned()];
        let numbers = [
            run.window_ns,
            counts.scheduled,
            counts.ok,
            counts.failed,
            counts.unfinished,
            counts.errors,
        ];
        cells.extend(numbers.iter().map(ToString::to_string));
        let throughput = run.throughput;
        cells.push(format!("{:.1}", throughput.messages_per_second));
        cells.push(format!("{:.1}", throughput.bytes_per_second));
        let response = [50.0, 90.0, 99.0, 99.9, 99.99];
        cells.extend(response.map(|percent| at(&latency.response, percent)));
        cells.push(latency.response.max.to_string());
        for times in [
            &latency.service,
            &latency.first_byte,
            &latency.connect,
            &latency.cycle,
        ] {
            cells.extend([50.0, 99.0].map(|percent| at(times, percent)));
        }
        cells.push(run.generator.cpu_ns.to_string());
        cells.push(format!("{:.4}", run.generator.busy_share));
        row(&mut text, settings(run).into_iter().chain(cells));
    }
    text
}

/// Returns the columns that tell the runs apart.
fn settings(run: &Run) -> [String; 5] {
    let rate = run.parameters.rate;
    [
        (run.index + 1).to_string(),
        quoted(&run.target),
        run.parameters.connections.to_string(),
        rate.map_or(String::new(), |rate| rate.to_string()),
        quoted(&run.parameters.size),
    ]
}

/// Writes a percentile; nothing if there are too few values for it.
fn at(times: &Latency, percent: f64) -> String {
    let ns = times.percentile(percent);
    ns.map_or(String::new(), |ns| ns.to_string())
}

fn row(text: &mut String, cells: impl Iterator<Item = String>) {
    text.push_str(&cells.collect::<Vec<String>>().join(","));
    text.push('\n');
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

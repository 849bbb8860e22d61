//! Writes OpenMetrics: the few forms in which both commands have numbers.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{self, DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// Returns the numbers of a collector as OpenMetrics. The name of each metric starts with `prefix`.
pub(super) fn text(prefix: &str, numbers: impl Collector) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(prefix);
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The name of a metric, its help and its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// Without the prefix, the unit and `_total`.
    pub(super) name: &'a str,
    /// A sentence without its full stop.
    pub(super) help: &'static str,
    pub(super) unit: Option<Quantity>,
}

/// The unit of a metric. It becomes the end of the name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Quantity {
    Bytes,
    Seconds,
}

impl Quantity {
    fn unit(self) -> Unit {
        match self {
            Quantity::Bytes => Unit::Bytes,
            Quantity::Seconds => Unit::Seconds,
        }
    }
}

/// Whether the value of a metric only grows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Writes a metric that has one value.
pub(super) fn value(
    to: &mut DescriptorEncoder<'_>,
    about: About<'_>,
    kind: Kind,
    value: f64,
) -> fmt::Result {
    let unit = about.unit.map(Quantity::unit);
    let metric = to.encode_descriptor(about.name, about.help, unit.as_ref(), kind.of_metric())?;
    kind.write(metric, value)
}

/// Writes a metric that has a value for each value of a label.
pub(super) fn values(
    to: &mut DescriptorEncoder<'_>,
    about: About<'_>,
    kind: Kind,
    label: &str,
    values: impl IntoIterator<Item = (String, f64)>,
) -> fmt::Result {
    let unit = about.unit.map(Quantity::unit);
    let mut metric =
        to.encode_descriptor(about.name, about.help, unit.as_ref(), kind.of_metric())?;
    for (labelled, value) in values {
        kind.write(metric.encode_family(&[(label, labelled.as_str())])?, value)?;
    }
    Ok(())
}

impl Kind {
    fn of_metric(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        }
    }

    fn write(self, mut metric: MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self {
            Kind::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            Kind::Gauge => metric.encode_gauge(&value),
        }
    }
}

/// Writes a histogram. Each bucket has its upper bound, and the number of values above the previous bound and not above
/// its own.
pub(super) fn histogram(
    to: &mut DescriptorEncoder<'_>,
    about: About<'_>,
    buckets: &[(f64, u64)],
    sum: f64,
) -> fmt::Result {
    let unit = about.unit.map(Quantity::unit);
    let count = buckets.iter().map(|(_, count)| count).sum();
    to.encode_descriptor(about.name, about.help, unit.as_ref(), MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(sum, count, buckets, None)
}

/// Returns upper bounds, in the unit of the metric, and the number of values in each bucket. `counts[i]` is the number
/// of values below 2^i that are not below 2^(i - 1). A value of `per_unit` is one unit of the metric, such as 1e9 for
/// nanoseconds and seconds. Values below `range` are in its first bucket. Values above it are in a last bucket without
/// a bound.
pub(super) fn buckets(counts: &[u64], range: Range<usize>, per_unit: f64) -> Vec<(f64, u64)> {
    let mut buckets = Vec::with_capacity(range.len() + 1);
    let (mut sum, mut before) = (0, 0);
    for (i, count) in counts.iter().enumerate() {
        sum += count;
        if range.contains(&i) {
            // Values are whole numbers, so those below 2^i are those up to 2^i - 1. A quotient, unlike a product with
            // 1e-9, is the nearest number to the exact value, and prints as such.
            buckets.push((((1u64 << i) - 1) as f64 / per_unit, sum - before));
            before = sum;
        }
    }
    buckets.push((f64::INFINITY, sum - before));
    buckets
}

/// Writes what every program has: its version, its start and its processor time.
pub(super) fn program(to: &mut DescriptorEncoder<'_>, started: SystemTime) -> fmt::Result {
    let about = |name, help, unit| About { name, help, unit };
    let build = about("build", "The program; the value is always 1", None);
    to.encode_descriptor(build.name, build.help, None, MetricType::Info)?
        .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
    let since_1970 = started.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = Some(Quantity::Seconds);
    let start = about(
        "start_time",
        "When the command started: seconds since 1970",
        seconds,
    );
    value(
        to,
        start,
        Kind::Gauge,
        since_1970.unwrap_or_default().as_secs_f64(),
    )?;
    let cpu = about("cpu", "Processor time of the process", seconds);
    value(to, cpu, Kind::Counter, cpu_seconds())
}

/// Returns the processor time of this process in seconds; 0 where the system does not report it.
pub(super) fn cpu_seconds() -> f64 {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    }
    #[cfg(not(unix))]
    {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_of_the_range_are_in_the_first_and_the_last_bucket() {
        let counts = [1, 2, 4, 8, 16, 32];
        let expected = [(0.003, 7), (0.007, 8), (f64::INFINITY, 48)];
        assert_eq!(buckets(&counts, 2..4, 1000.0), expected);
    }
}

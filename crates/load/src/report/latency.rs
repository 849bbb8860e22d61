//! A set of times as the report has it: a histogram, and the percentiles for which it has enough values.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// A set of measured times, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Latency {
    /// The number of values.
    pub count: u64,
    /// The smallest value; 0 if there is no value.
    pub min: u64,
    /// The mean; 0 if there is no value.
    pub mean: f64,
    /// The largest value; 0 if there is no value.
    pub max: u64,
    /// The percentiles, by their number as text, such as `"50"` or `"99.9"`: this share of the values, in per cent, is
    /// at most the given value. A percentile with fewer than ten values above it is left out, because it would depend
    /// mostly on chance.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, u64>"))]
    pub percentiles: BTreeMap<Percentile, u64>,
    /// The HDR histogram with three significant digits, in HdrHistogram's V2 format, compressed, in base64.
    #[serde(with = "encoded")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub histogram: Histogram<u64>,
}

impl Latency {
    /// Calculates the figures of a histogram.
    #[must_use]
    pub fn new(histogram: Histogram<u64>) -> Latency {
        let count = histogram.len();
        let percentiles = PERCENTILES
            .iter()
            .filter_map(|name| {
                let value = percentile(&histogram, name.parse().ok()?)?;
                Some((Percentile((*name).to_owned()), value))
            })
            .collect();
        Latency {
            count,
            min: histogram.min(),
            mean: histogram.mean(),
            max: histogram.max(),
            percentiles,
            histogram,
        }
    }

    /// Returns the percentile of this number, above 0 and below 100. `None` if fewer than ten values are above it.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        percentile(&self.histogram, percent)
    }

    /// Returns true if at least `percent` per cent of the values are certainly at most `limit`. `bounds` of the values
    /// up to `limit` are only lower bounds: their true values may be above `limit`.
    pub(super) fn is_certainly_at_most(&self, percent: f64, limit: f64, bounds: u64) -> bool {
        let at_most = self.histogram.count_between(0, limit as u64);
        let needed = self.count as f64 * percent / 100.0;
        at_most.saturating_sub(bounds) as f64 + 1e-6 >= needed
    }

    /// Returns the 99th percentile, or the largest value if there are too few values for a percentile. `None` if there
    /// is no value.
    #[must_use]
    pub fn tail(&self) -> Option<u64> {
        let largest = (self.count > 0).then_some(self.max);
        self.percentile(99.0).or(largest)
    }
}

/// The number of a percentile as text. It is ordered as a number: `"9"` is before `"10"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Percentile(pub String);

impl Percentile {
    fn number(&self) -> f64 {
        self.0.parse().unwrap_or(f64::MAX)
    }
}

impl PartialOrd for Percentile {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Percentile {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_number = self.number().total_cmp(&other.number());
        by_number.then_with(|| self.0.cmp(&other.0))
    }
}

fn percentile(histogram: &Histogram<u64>, percent: f64) -> Option<u64> {
    let above = histogram.len() as f64 * (1.0 - percent / 100.0);
    // The small term allows for rounding: in floating point 1 - 0.999 is a little less than 0.001.
    (above + 1e-6 >= FEWEST_ABOVE).then(|| histogram.value_at_quantile(percent / 100.0))
}

/// Writes a histogram as text, and reads it back.
mod encoded {
    use super::*;
    use serde::de::Error as _;
    use serde::ser::Error as _;

    pub(super) fn serialize<S: serde::Serializer>(
        histogram: &Histogram<u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
        written.map_err(S::Error::custom)?;
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Histogram<u64>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let read = Deserializer::new().deserialize(&mut bytes.as_slice());
        let mut histogram: Histogram<u64> =
            read.map_err(|error| D::Error::custom(format!("not a V2 histogram: {error}")))?;
        histogram.auto(true);
        Ok(histogram)
    }
}

/// The percentiles of the JSON document.
const PERCENTILES: [&str; 8] = ["50", "75", "90", "95", "99", "99.9", "99.99", "99.999"];

/// A percentile needs this number of values above it. The number of values above it varies by chance with a standard
/// deviation of √10, a third of ten. With fewer values the percentile depends mostly on chance.
const FEWEST_ABOVE: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram;

    fn of(values: impl IntoIterator<Item = u64>) -> Latency {
        let mut histogram = histogram();
        for value in values {
            histogram.record(value).unwrap();
        }
        Latency::new(histogram)
    }

    #[test]
    fn a_percentile_needs_ten_values_above_it() {
        let keys = |count| -> Vec<String> {
            let percentiles = of(1..=count).percentiles;
            percentiles.into_keys().map(|key| key.0).collect()
        };
        assert_eq!(keys(19), [""; 0]);
        assert_eq!(keys(20), ["50"]);
        assert_eq!(keys(999), ["50", "75", "90", "95"]);
        assert_eq!(keys(1000), ["50", "75", "90", "95", "99"]);
        assert_eq!(keys(10_000).last().unwrap(), "99.9");
    }

    #[test]
    fn a_latency_reads_back_as_it_was_written() {
        let latency = of([1, 1_000, 123_456_789, 7_200_000_000_000]);
        let text = serde_json::to_string(&latency).unwrap();
        let back: Latency = serde_json::from_str(&text).unwrap();
        assert_eq!(back, latency);
        assert!(
            back.max >= 7_200_000_000_000,
            "large values are kept: {back:?}"
        );
    }

    #[test]
    fn a_text_that_is_not_a_histogram_is_refused() {
        for histogram in ["!", "AAAA"] {
            let text = serde_json::to_string(&of([1])).unwrap();
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value["histogram"] = histogram.into();
            serde_json::from_value::<Latency>(value).unwrap_err();
        }
    }
}

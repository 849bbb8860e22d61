//! Draws pictures with characters.

use hdrhistogram::Histogram;

use crate::report::document::IntervalSummary;
use crate::report::units;

/// Draws a histogram with a logarithmic axis: one line for each bin, with its lower end, a bar and its share of the
/// values.
pub(super) fn histogram(values: &Histogram<u64>) -> String {
    let (low, high) = (values.min().max(1) as f64, values.max().max(2) as f64);
    let step = (high / low).ln() / BINS as f64;
    let mut counts = [0_u64; BINS];
    for bar in values.iter_recorded() {
        let place = (bar.value_iterated_to() as f64 / low).ln() / step.max(f64::MIN_POSITIVE);
        if let Some(count) = counts.get_mut((place as usize).min(BINS - 1)) {
            *count += bar.count_at_value();
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let lines = counts.iter().enumerate().map(|(bin, count)| {
        let from = low * (step * bin as f64).exp();
        format!(
            "  {:>10} {:<width$} {}\n",
            units::time(from),
            bar(*count as f64 / most as f64),
            match *count as f64 / values.len() as f64 {
                0.0 => String::new(),
                share if share < 0.000_1 => "< 0.01 %".to_owned(),
                share => units::percent(share),
            },
            width = WIDTH
        )
    });
    lines.collect()
}

/// Draws a bar of up to [`WIDTH`] characters, in steps of an eighth of a character.
fn bar(share: f64) -> String {
    let eighths = (share * (WIDTH * 8) as f64).ceil() as usize;
    let rests = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let rest = rests.get(eighths % 8).copied().unwrap_or_default();
    "█".repeat(eighths / 8) + rest
}

/// Draws the p99 of each second in one line. If there are more seconds than characters, each character has the highest
/// p99 of several seconds.
pub(super) fn over_time(intervals: &[IntervalSummary]) -> String {
    let each = intervals.len().div_ceil(WIDEST);
    let worst =
        |seconds: &[IntervalSummary]| seconds.iter().filter_map(|s| s.response.tail()).max();
    let values: Vec<Option<u64>> = intervals.chunks(each).map(worst).collect();
    let known = || values.iter().flatten().copied();
    let (Some(low), Some(high)) = (known().min(), known().max()) else {
        return "  p99 of each second: nothing came back".to_owned();
    };
    let (floor, range) = ((low as f64).ln(), (high as f64 / low as f64).ln());
    let line: String = values
        .iter()
        .map(|value| match value {
            None => ' ',
            Some(_) if range == 0.0 => '▁',
            Some(ns) => {
                let height = ((*ns as f64).ln() - floor) / range * 7.0;
                let heights = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
                *heights.get(height.round() as usize).unwrap_or(&'█')
            }
        })
        .collect();
    let of = if each == 1 {
        "of each second".to_owned()
    } else {
        format!("of each {each} s")
    };
    format!(
        "  p99 {of}: {line} {} to {}",
        units::time(low as f64),
        units::time(high as f64)
    )
}

/// The number of bins of a histogram.
const BINS: usize = 12;
/// The length of the longest bar, in characters.
const WIDTH: usize = 40;
/// The most characters of the line with the p99 of each second.
const WIDEST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bin_and_the_largest_bin_is_full() {
        let mut values = crate::histogram();
        for n in 1..=1000_u64 {
            values.record(n * 1000).unwrap();
        }
        let drawn = histogram(&values);
        assert_eq!(drawn.lines().count(), BINS);
        assert!(drawn.contains(&"█".repeat(WIDTH)), "{drawn}");
        assert!(
            drawn.lines().all(|line| line.chars().count() < 80),
            "{drawn}"
        );
    }

    #[test]
    fn a_single_value_is_drawn_too() {
        let mut values = crate::histogram();
        values.record(5).unwrap();
        assert!(histogram(&values).contains("100 %"));
    }
}

//! Axes: the place of a value, and the values that are written on the axis.

use crate::report::units;

/// One axis of a plot.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: String,
    /// The value at the low end.
    low: f64,
    /// The value at the high end.
    high: f64,
    logarithmic: bool,
    /// The values that are written on the axis, and their text.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Makes an axis from 0 to a round number that is not less than `most`.
    pub(super) fn linear(label: &str, most: f64, show: impl Fn(f64) -> String) -> Axis {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 4.0);
        let steps = (most / step).ceil() as u32;
        Axis {
            label: label.to_owned(),
            low: 0.0,
            high: step * f64::from(steps),
            logarithmic: false,
            ticks: (0..=steps)
                .map(|n| step * f64::from(n))
                .map(|v| (v, show(v)))
                .collect(),
        }
    }

    /// Makes a logarithmic axis of times, in nanoseconds.
    pub(super) fn times(label: &str, low_ns: f64, high_ns: f64) -> Axis {
        Axis::logarithmic(label, low_ns, high_ns, |ns| units::plain(&units::time(ns)))
    }

    /// Makes a logarithmic axis with at least three values on it: powers of ten if enough of them are between the two
    /// ends, and otherwise round values between them too. If the ends are so close that even these are too few, the
    /// axis is longer than from `low` to `high`.
    pub(super) fn logarithmic(
        label: &str,
        low: f64,
        high: f64,
        show: impl Fn(f64) -> String,
    ) -> Axis {
        let low = low.max(1.0);
        let high = high.max(low);
        let between = |factors: &&[f64]| {
            let ticks = round_values(factors, low, high);
            ticks
                .into_iter()
                .filter(|v| *v >= low * 0.999 && *v <= high * 1.001)
                .collect::<Vec<f64>>()
        };
        let sets = [DECADES, STEPS, FINE_STEPS];
        let enough = sets
            .iter()
            .map(between)
            .find(|ticks| ticks.len() >= FEWEST_TICKS);
        let ticks = enough.unwrap_or_else(|| {
            let all = round_values(FINE_STEPS, low, high);
            let first = all.iter().rposition(|v| *v <= low).unwrap_or(0);
            let mut ticks: Vec<f64> = Vec::new();
            for value in all.into_iter().skip(first) {
                ticks.push(value);
                if ticks.len() >= FEWEST_TICKS && value >= high {
                    break;
                }
            }
            ticks
        });
        let low = ticks.first().map_or(low, |first| first.min(low));
        let high = ticks.last().map_or(high, |last| last.max(high));
        Axis {
            label: label.to_owned(),
            low,
            high,
            logarithmic: true,
            ticks: ticks.into_iter().map(|v| (v, show(v))).collect(),
        }
    }

    /// Makes an axis of percentiles. A percentile p has the value 1/(1-p) on a logarithmic scale, so 90 %, 99 %, 99.9 %
    /// and so on have equal distances. The axis begins at 0 %.
    pub(super) fn rarity(most: f64) -> Axis {
        let name = |n: i32| match n {
            1 => "p90".to_owned(),
            2 => "p99".to_owned(),
            n => format!("p99.{}", "9".repeat(n as usize - 2)),
        };
        let high = most.max(100.0);
        let decades = 1..=high.log10().floor() as i32;
        let mut ticks = vec![(2.0, "p50".to_owned())];
        ticks.extend(decades.map(|n| (10_f64.powi(n), name(n))));
        Axis {
            label: "percentile".to_owned(),
            low: 1.0,
            high,
            logarithmic: true,
            ticks,
        }
    }

    /// Returns the place of a value: 0 at the low end, 1 at the high end. Values outside get the place of the nearest
    /// end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.logarithmic {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        place.clamp(0.0, 1.0)
    }
}

/// Returns the values of these factors and all powers of ten, from below `low` to above `high`.
fn round_values(factors: &[f64], low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32 - 1..=high.log10().ceil() as i32 + 1;
    decades
        .flat_map(|n| factors.iter().map(move |f| f * 10_f64.powi(n)))
        .collect()
}

/// The factors of round values, from few to many.
const DECADES: &[f64] = &[1.0];
const STEPS: &[f64] = &[1.0, 2.0, 5.0];
const FINE_STEPS: &[f64] = &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0];

/// With fewer values than this, a reader cannot see what the axis shows.
const FEWEST_TICKS: usize = 3;

/// Returns a round number that is not less than `rough`: 1, 2, 2.5 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let decade = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fits = factor
        .into_iter()
        .map(|f| f * decade)
        .find(|step| *step >= rough * 0.999);
    fits.unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_at_a_round_number_above_all_values() {
        let axis = Axis::linear("", 98_357.0, units::rate);
        let shown: Vec<_> = axis.ticks.iter().map(|(_, shown)| shown.as_str()).collect();
        assert_eq!(shown, ["0", "25,000", "50,000", "75,000", "100,000"]);
        assert_eq!(axis.place(50_000.0), 0.5);
    }

    #[test]
    fn a_logarithmic_axis_gives_each_decade_the_same_length() {
        let axis = Axis::times("", 1e3, 1e7);
        let shown: Vec<_> = axis.ticks.iter().map(|(_, shown)| shown.as_str()).collect();
        assert_eq!(shown, ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms"]);
        assert!((axis.place(1e5) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn every_logarithmic_axis_has_three_values_and_its_ends() {
        for (low, high) in [
            (1e3, 1.2e3),
            (5e3, 5e3),
            (1.2e6, 1.9e6),
            (0.0, 0.0),
            (3e3, 9e7),
        ] {
            let axis = Axis::times("", low, high);
            assert!(
                (3..=9).contains(&axis.ticks.len()),
                "{low} {high}: {axis:?}"
            );
            assert!(axis.low <= low.max(1.0) && axis.high >= high, "{axis:?}");
            assert!(
                axis.ticks
                    .iter()
                    .all(|(v, _)| (0.0..=1.0).contains(&axis.place(*v)))
            );
        }
        let axis = Axis::times("", 1.2e6, 1.9e6);
        let shown: Vec<_> = axis.ticks.iter().map(|(_, shown)| shown.as_str()).collect();
        assert_eq!(shown, ["1 ms", "1.5 ms", "2 ms"]);
    }

    #[test]
    fn an_axis_of_percentiles_has_the_median() {
        let axis = Axis::rarity(10_000.0);
        let shown: Vec<_> = axis.ticks.iter().map(|(_, shown)| shown.as_str()).collect();
        assert_eq!(shown, ["p50", "p90", "p99", "p99.9", "p99.99"]);
        assert!(Axis::rarity(1.0).ticks.len() >= 3);
    }

    #[test]
    fn axes_without_values_have_finite_places() {
        assert!(Axis::linear("", 0.0, units::rate).place(0.0).is_finite());
        assert!(Axis::times("", 0.0, 0.0).place(0.0).is_finite());
        assert!(Axis::rarity(0.0).place(0.0).is_finite());
    }
}

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
        let low = low_ns.max(1.0);
        let high = high_ns.max(low * 2.0);
        let decades = (high / low).log10();
        let factors: &[f64] = if decades < 2.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        let values = (first..=last).flat_map(|n| factors.iter().map(move |f| f * 10_f64.powi(n)));
        let within: Vec<f64> = values
            .filter(|v| *v >= low * 0.999 && *v <= high * 1.001)
            .collect();
        Axis {
            label: label.to_owned(),
            low,
            high,
            logarithmic: true,
            ticks: within
                .into_iter()
                .map(|ns| (ns, units::plain(&units::time(ns))))
                .collect(),
        }
    }

    /// Makes an axis of percentiles. A percentile p has the value 1/(1-p) on a logarithmic scale, so 90 %, 99 %, 99.9 %
    /// and so on have equal distances.
    pub(super) fn rarity(most: f64) -> Axis {
        let percent = |n: i32| match n {
            0 => "0 %".to_owned(),
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            n => format!("99.{} %", "9".repeat(n as usize - 2)),
        };
        let decades = most.max(10.0).log10();
        Axis {
            label: "of the messages are as fast or faster".to_owned(),
            low: 1.0,
            high: most.max(10.0),
            logarithmic: true,
            ticks: (0..=decades.floor() as i32)
                .map(|n| (10_f64.powi(n), percent(n)))
                .collect(),
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
    fn axes_without_values_have_finite_places() {
        assert!(Axis::linear("", 0.0, units::rate).place(0.0).is_finite());
        assert!(Axis::times("", 0.0, 0.0).place(0.0).is_finite());
        assert!(Axis::rarity(0.0).place(0.0).is_finite());
    }
}

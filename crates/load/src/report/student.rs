//! Means, variances, and the quantiles of Student's t.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Returns the mean; `NaN` for no value.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the variance of the sample; `NaN` for fewer than two values.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    squares / (values.len() as f64 - 1.0)
}

/// Returns the quantile of Student's t with these degrees of freedom. `None` if there are none.
pub(super) fn t_quantile(freedom: f64, share: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(t.inverse_cdf(share))
}

/// Returns how many runs of each side would probably decide whether a ratio is above a limit. `error` is the standard
/// error that `runs` runs gave, `freedom` its degrees of freedom, and `distance` the logarithm of ratio ÷ limit.
/// `alpha` is the probability of an interval that does not contain its ratio, `power` the probability of a decision.
/// `None` if even [`MOST_RUNS`] runs would not decide.
pub(super) fn runs_that_decide(
    runs: usize,
    (error, freedom): (f64, f64),
    distance: f64,
    (alpha, power): (f64, f64),
) -> Option<usize> {
    let decides = |more: &usize| {
        let growth = *more as f64 / runs as f64;
        let quantiles = t_quantile(freedom * growth, 1.0 - alpha / 2.0)
            .zip(t_quantile(freedom * growth, power));
        quantiles.is_some_and(|(quantile, power)| {
            (quantile + power) * error / growth.sqrt() <= distance.abs()
        })
    };
    (runs + 1..=MOST_RUNS).find(decides)
}

/// The probability that a comparison finds a true change of the size
/// [`RatioInterval::detectable`](super::RatioInterval::detectable).
pub(super) const POWER: f64 = 0.8;

/// More runs than this are not suggested: with the default duration they take three hours.
const MOST_RUNS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggested_number_of_runs_grows_with_the_square_of_the_noise() {
        let needed = |error| runs_that_decide(5, (error, 4.0), 0.1, (0.05, 0.8));
        let (quiet, noisy) = (needed(0.05).unwrap(), needed(0.2).unwrap());
        // (1.96 + 0.84)² × 5 × (0.05 / 0.1)² = 9.8 without the correction for few degrees of freedom.
        assert!((10..=14).contains(&quiet), "{quiet}");
        assert!((150..=170).contains(&noisy), "{noisy}");
        assert_eq!(needed(2.0), None);
    }
}

//! `--fail-if` and `--find-max`: a condition on a report, such as `p99>2ms` or `regress(p99)>5%`.

use std::fmt;
use std::str::FromStr;

use super::document::{Document, Run};
use super::findings::{AssertionResult, Comparison};
use super::units;
use crate::{Number, ParseNumberError};

/// A condition on a report.
///
/// ```
/// use mio_echo_load::report::Assertion;
/// let condition: Assertion = "p99.9 >= 2ms".parse()?;
/// assert_eq!(condition.to_string(), "p99.9>=2ms");
/// assert!("p99>2".parse::<Assertion>().unwrap_err().to_string().contains("2ms"));
/// # Ok::<(), mio_echo_load::report::AssertionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    text: String,
    quantity: Quantity,
    operator: Operator,
    limit: f64,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    /// Errors of any kind.
    Errors,
    /// Messages a second.
    Rate,
    /// A percentile of the response times.
    Percentile(f64),
    /// The longest response time.
    Max,
    /// By how much a figure of a comparison is worse in the second than in the first: its name.
    Regression(String),
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what it is called")]
pub enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Assertion {
    /// What it looks at.
    #[must_use]
    pub fn quantity(&self) -> &Quantity {
        &self.quantity
    }

    /// How it compares.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Whether it needs a comparison.
    #[must_use]
    pub fn is_about_a_comparison(&self) -> bool {
        matches!(self.quantity, Quantity::Regression(_))
    }

    /// Whether it bounds response times from above, as `p99<2ms` does: such a condition holds at low rates and
    /// fails at high ones.
    #[must_use]
    pub fn bounds_latency(&self) -> bool {
        let is_a_time = matches!(self.quantity, Quantity::Percentile(_) | Quantity::Max);
        is_a_time && matches!(self.operator, Operator::Below | Operator::AtMost)
    }

    /// Looks at a report. A condition on runs is met if any of them meets it.
    #[must_use]
    pub fn check(&self, document: &Document) -> AssertionResult {
        if let Quantity::Regression(name) = &self.quantity {
            return self.check_regression(name, document.comparison.as_ref());
        }
        let seen: Vec<(f64, bool)> = document
            .runs
            .iter()
            .filter_map(|run| self.check_run(run))
            .collect();
        // Of several runs, one that meets it; or else the one that comes next to that.
        let worst = seen.iter().copied().reduce(|a, b| {
            let upwards = matches!(self.operator, Operator::Above | Operator::AtLeast);
            if (b.0 > a.0) == upwards { b } else { a }
        });
        match worst {
            Some((value, met)) => self.result(Some(met), self.quantity.show(value)),
            None => self.result(None, "too few messages to tell".to_owned()),
        }
    }

    /// What one run says, and whether that meets the condition; `None` if it cannot tell.
    #[must_use]
    pub fn check_run(&self, run: &Run) -> Option<(f64, bool)> {
        let response = &run.latency.response;
        let value = match &self.quantity {
            Quantity::Errors => run.counts.errors as f64,
            Quantity::Rate => run.throughput.messages_per_second,
            Quantity::Percentile(percent) => response.percentile(*percent)? as f64,
            Quantity::Max if response.count == 0 => return None,
            Quantity::Max => response.max as f64,
            Quantity::Regression(_) => return None,
        };
        Some((value, self.operator.holds(value, self.limit)))
    }

    fn check_regression(&self, name: &str, comparison: Option<&Comparison>) -> AssertionResult {
        let metric = comparison.and_then(|c| c.metrics.iter().find(|m| m.name == name));
        let Some(metric) = metric else {
            let why = format!("there is no comparison of {name}");
            return self.result(None, why);
        };
        let worse = metric.worse_by();
        let observed = format!("{:+.1} %", worse * 100.0);
        // A difference that may be chance is none, however large.
        let met = metric.difference && self.operator.holds(worse, self.limit);
        let chance = match metric.difference {
            true => String::new(),
            false => format!(
                ", which may be chance; a change of less than {} would hardly be found",
                units::percent(metric.detectable)
            ),
        };
        self.result(Some(met), observed + &chance)
    }

    fn result(&self, met: Option<bool>, observed: String) -> AssertionResult {
        AssertionResult {
            condition: self.text.clone(),
            met,
            observed,
        }
    }
}

impl Quantity {
    fn show(&self, value: f64) -> String {
        match self {
            Quantity::Errors => units::count(value as u64),
            Quantity::Rate => format!("{}/s", units::rate(value)),
            Quantity::Percentile(_) | Quantity::Max => units::time(value),
            Quantity::Regression(_) => units::percent(value),
        }
    }
}

impl Operator {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Operator::Above => value > limit,
            Operator::AtLeast => value >= limit,
            Operator::Below => value < limit,
            Operator::AtMost => value <= limit,
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Assertion {
    type Err = AssertionError;

    fn from_str(text: &str) -> Result<Self, AssertionError> {
        let text: String = text.split_whitespace().collect();
        let (name, rest) = text
            .find(['<', '>'])
            .map(|at| text.split_at(at))
            .ok_or_else(|| AssertionError::NoOperator(text.clone()))?;
        let (operator, limit) = [
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            (">", Operator::Above),
            ("<", Operator::Below),
        ]
        .iter()
        .find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)))
        .ok_or_else(|| AssertionError::NoOperator(text.clone()))?;
        let quantity = quantity(name)?;
        let limit = match &quantity {
            Quantity::Errors | Quantity::Rate => number(limit)?,
            Quantity::Percentile(_) | Quantity::Max => duration(limit)?,
            Quantity::Regression(_) => share(limit)?,
        };
        Ok(Assertion {
            text,
            quantity,
            operator,
            limit,
        })
    }
}

fn quantity(name: &str) -> Result<Quantity, AssertionError> {
    if let Some(inner) = name
        .strip_prefix("regress(")
        .and_then(|n| n.strip_suffix(')'))
    {
        return match inner {
            "rate" | "p50" | "p99" => Ok(Quantity::Regression(inner.to_owned())),
            _ => Err(AssertionError::UnknownMetric(inner.to_owned())),
        };
    }
    let percentile = name.strip_prefix('p').and_then(|n| n.parse::<f64>().ok());
    match (name, percentile) {
        ("errors", _) => Ok(Quantity::Errors),
        ("rate", _) => Ok(Quantity::Rate),
        ("max", _) => Ok(Quantity::Max),
        (_, Some(percent)) if percent > 0.0 && percent < 100.0 => Ok(Quantity::Percentile(percent)),
        (_, Some(_)) => Err(AssertionError::PercentileOutOfRange(name.to_owned())),
        _ => Err(AssertionError::UnknownQuantity(name.to_owned())),
    }
}

fn number(text: &str) -> Result<f64, AssertionError> {
    let number = text.parse::<Number>();
    number.map(Number::get).map_err(AssertionError::Number)
}

/// In nanoseconds.
fn duration(text: &str) -> Result<f64, AssertionError> {
    let duration = humantime::parse_duration(text).map_err(|error| AssertionError::Duration {
        text: text.to_owned(),
        why: error.to_string(),
    })?;
    Ok(duration.as_nanos() as f64)
}

fn share(text: &str) -> Result<f64, AssertionError> {
    let percent = text.strip_suffix('%').and_then(|n| number(n).ok());
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| AssertionError::Percentage(text.to_owned()))
}

/// Why a text is not a condition. The message says what is possible instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionError {
    /// The text compares nothing.
    NoOperator(String),
    /// A report has no such quantity.
    UnknownQuantity(String),
    /// A percentile that is not between 0 and 100.
    PercentileOutOfRange(String),
    /// A comparison has no such metric.
    UnknownMetric(String),
    /// The limit is not a number.
    Number(ParseNumberError),
    /// The limit is not a duration.
    Duration {
        /// The limit.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The limit is not a percentage.
    Percentage(String),
    /// The condition does not bound response times from above, as a [`RateSearch`](super::RateSearch) needs it.
    NotALatencyBound(String),
}

impl fmt::Display for AssertionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssertionError::NoOperator(text) => write!(
                f,
                "{text:?} compares nothing: write such as p99>2ms, errors>0 or rate<10k"
            ),
            AssertionError::UnknownQuantity(name) => write!(
                f,
                "{name:?} is not known: errors, rate, p50 to p99.99, max, or regress(…) of rate, p50 or p99"
            ),
            AssertionError::PercentileOutOfRange(name) => write!(
                f,
                "{name:?}: a percentile is above 0 and below 100; there is max"
            ),
            AssertionError::UnknownMetric(name) => {
                write!(f, "regress takes rate, p50 or p99, not {name:?}")
            }
            AssertionError::Number(error) => error.fmt(f),
            AssertionError::Duration { text, why } => {
                write!(f, "{text:?} is no duration: {why} (such as 2ms or 500us)")
            }
            AssertionError::Percentage(text) => {
                write!(f, "{text:?} is no percentage (such as 5%)")
            }
            AssertionError::NotALatencyBound(condition) => write!(
                f,
                "{condition}: it takes what holds at low rates and no longer at high ones, such as p99<2ms"
            ),
        }
    }
}

impl std::error::Error for AssertionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AssertionError::Number(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        text.parse::<Assertion>().unwrap_err().to_string()
    }

    #[test]
    fn conditions_read_as_they_are_written() {
        for text in [
            "p99>2ms",
            "p99.99<=500us",
            "max>=1s",
            "errors>0",
            "rate<10k",
            "regress(p99)>5%",
        ] {
            assert_eq!(text.parse::<Assertion>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn slips_are_answered_with_what_is_possible() {
        for (text, hint) in [
            ("p99", "such as p99>2ms"),
            ("p99=2ms", "compares nothing"),
            ("p99>2", "such as 2ms"),
            ("p100>2ms", "there is max"),
            ("p0>2ms", "above 0"),
            ("latency>2ms", "p50 to p99.99"),
            ("rate>fast", "10k"),
            ("rate>-5", "no number"),
            ("regress(p99)>5", "such as 5%"),
            ("regress(p99)>NaN%", "such as 5%"),
            ("regress(max)>5%", "rate, p50 or p99"),
        ] {
            let said = wrong(text);
            assert!(said.contains(hint), "{text:?} was answered with {said:?}");
        }
    }
}

//! Parses and checks the conditions of `--fail-if` and `--find-max`, such as `p99>2ms` or `regress(p99)>5%`.

use std::fmt;
use std::str::FromStr;

use super::document::{Document, Run};
use super::findings::{AssertionResult, Comparison};
use super::latency::Latency;
use super::units;
use crate::{FaultKind, Number, ParseNumberError};

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
    /// The condition as it was written, without spaces.
    text: String,
    quantity: Quantity,
    operator: Operator,
    /// The limit: messages a second, nanoseconds, a number of errors, or a share for [`Quantity::Regression`].
    limit: f64,
}

/// The figure that a condition is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    /// The number of errors of all kinds.
    Errors,
    /// The number of messages that were lost by errors.
    Failed,
    /// The number of messages that had not come back at the end.
    Unfinished,
    /// The number of timeouts.
    Timeouts,
    /// Messages a second.
    Rate,
    /// A percentile of these times: a number above 0 and below 100.
    Percentile(Times, f64),
    /// The longest of these times.
    Max(Times),
    /// By how much the second side of a comparison is worse than the first. The text is the name of the figure: `rate`,
    /// `p50` or `p99`.
    Regression(String),
}

/// The times that a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// From when a message was due to the last byte of its echo: `p99` or `response.p99`.
    Response,
    /// From when a message was sent to the last byte of its echo: `service.p99`.
    Service,
    /// From connect(2) to the established connection: `connect.p99`.
    Connect,
}

impl Times {
    fn of(self, run: &Run) -> &Latency {
        match self {
            Times::Response => &run.latency.response,
            Times::Service => &run.latency.service,
            Times::Connect => &run.latency.connect,
        }
    }
}

/// How a condition compares its figure with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it: >, >=, < and <=")]
pub enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Assertion {
    /// Returns the figure that the condition is about.
    #[must_use]
    pub fn quantity(&self) -> &Quantity {
        &self.quantity
    }

    /// Returns how the condition compares its figure with the limit.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Returns true for a `regress` condition, which needs a comparison.
    #[must_use]
    pub fn is_about_a_comparison(&self) -> bool {
        matches!(self.quantity, Quantity::Regression(_))
    }

    /// Returns true if the condition limits response times from above, such as `p99<2ms`. Such a condition holds at low
    /// rates and fails at high rates.
    #[must_use]
    pub fn bounds_latency(&self) -> bool {
        let is_a_time = matches!(self.quantity, Quantity::Percentile(..) | Quantity::Max(_));
        is_a_time && matches!(self.operator, Operator::Below | Operator::AtMost)
    }

    /// Checks the condition on a report. A condition on runs is met if any of the runs meets it.
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
        // The highest value for > and >=, the lowest for < and <=. If any run meets the condition, this one does.
        let decisive = seen.iter().copied().reduce(|a, b| {
            let upwards = matches!(self.operator, Operator::Above | Operator::AtLeast);
            if (b.0 > a.0) == upwards { b } else { a }
        });
        match decisive {
            Some((value, met)) => self.result(Some(met), self.quantity.show(value)),
            None => self.result(None, "too few messages to decide".to_owned()),
        }
    }

    /// Returns the figure of one run, and whether it meets the condition. `None` if the run has too few messages to
    /// decide, or if the condition needs a comparison.
    #[must_use]
    pub fn check_run(&self, run: &Run) -> Option<(f64, bool)> {
        let timeouts = || run.errors.iter().find(|e| e.kind == FaultKind::Timeout);
        let value = match &self.quantity {
            Quantity::Errors => run.counts.errors as f64,
            Quantity::Failed => run.counts.failed as f64,
            Quantity::Unfinished => run.counts.unfinished as f64,
            Quantity::Timeouts => timeouts().map_or(0, |error| error.count) as f64,
            Quantity::Rate => run.throughput.messages_per_second,
            Quantity::Percentile(times, percent) => times.of(run).percentile(*percent)? as f64,
            Quantity::Max(times) if times.of(run).count == 0 => return None,
            Quantity::Max(times) => times.of(run).max as f64,
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
        // A change that may be chance does not meet the condition, even if it is larger than the limit.
        let met = metric.difference && self.operator.holds(worse, self.limit);
        let chance = match metric.difference {
            true => String::new(),
            false => format!(
                ", which may be chance; a change of less than {} would probably not be found",
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
    /// Writes a value of this figure with its unit.
    fn show(&self, value: f64) -> String {
        match self {
            Quantity::Errors | Quantity::Failed | Quantity::Unfinished | Quantity::Timeouts => {
                units::count(value as u64)
            }
            Quantity::Rate => format!("{}/s", units::rate(value)),
            Quantity::Percentile(..) | Quantity::Max(_) => units::time(value),
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
            Quantity::Percentile(..) | Quantity::Max(_) => duration(limit)?,
            Quantity::Regression(_) => share(limit)?,
            _ => number(limit)?,
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
    let (times, figure) = match name.split_once('.') {
        Some(("response", figure)) => (Times::Response, figure),
        Some(("service", figure)) => (Times::Service, figure),
        Some(("connect", figure)) => (Times::Connect, figure),
        _ => (Times::Response, name),
    };
    let percentile = figure.strip_prefix('p').and_then(|n| n.parse::<f64>().ok());
    match (name, percentile) {
        ("errors", _) => Ok(Quantity::Errors),
        ("failed", _) => Ok(Quantity::Failed),
        ("unfinished", _) => Ok(Quantity::Unfinished),
        ("timeouts", _) => Ok(Quantity::Timeouts),
        ("rate", _) => Ok(Quantity::Rate),
        _ if figure == "max" => Ok(Quantity::Max(times)),
        (_, Some(percent)) if percent > 0.0 && percent < 100.0 => {
            Ok(Quantity::Percentile(times, percent))
        }
        (_, Some(_)) => Err(AssertionError::PercentileOutOfRange(name.to_owned())),
        _ => Err(AssertionError::UnknownQuantity(name.to_owned())),
    }
}

fn number(text: &str) -> Result<f64, AssertionError> {
    let number = text.parse::<Number>();
    number.map(Number::get).map_err(AssertionError::Number)
}

/// Parses a duration; returns nanoseconds.
fn duration(text: &str) -> Result<f64, AssertionError> {
    let duration = humantime::parse_duration(text).map_err(|error| AssertionError::Duration {
        text: text.to_owned(),
        why: error.to_string(),
    })?;
    Ok(duration.as_nanos() as f64)
}

/// Parses a percentage; returns it as a share.
fn share(text: &str) -> Result<f64, AssertionError> {
    let percent = text.strip_suffix('%').and_then(|n| number(n).ok());
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| AssertionError::Percentage(text.to_owned()))
}

/// The reason why a text is not a condition. The message says what is possible instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionError {
    /// The text has no `<`, `<=`, `>` or `>=`.
    NoOperator(String),
    /// A report has no figure of this name.
    UnknownQuantity(String),
    /// The percentile is not above 0 and below 100.
    PercentileOutOfRange(String),
    /// A comparison has no figure of this name.
    UnknownMetric(String),
    /// The limit is not a number.
    Number(ParseNumberError),
    /// The limit is not a duration.
    Duration {
        /// The limit.
        text: String,
        /// The error of the parser.
        why: String,
    },
    /// The limit is not a percentage.
    Percentage(String),
    /// The condition does not limit response times from above. A [`RateSearch`](super::RateSearch) needs such a
    /// condition.
    NotALatencyBound(String),
}

impl fmt::Display for AssertionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssertionError::NoOperator(text) => write!(
                f,
                "{text:?} has no <, <=, > or >=: write a condition such as p99>2ms, errors>0 or rate<10k"
            ),
            AssertionError::UnknownQuantity(name) => write!(
                f,
                "{name:?} is not known: use errors, failed, unfinished, timeouts, rate, p50 to p99.99, max (also of \
                 service and connect, as in service.p99), or regress(…) of rate, p50 or p99"
            ),
            AssertionError::PercentileOutOfRange(name) => write!(
                f,
                "{name:?}: a percentile is above 0 and below 100; for the longest time use max"
            ),
            AssertionError::UnknownMetric(name) => {
                write!(f, "regress takes rate, p50 or p99, not {name:?}")
            }
            AssertionError::Number(error) => error.fmt(f),
            AssertionError::Duration { text, why } => {
                write!(f, "{text:?} is not a duration such as 2ms or 500us: {why}")
            }
            AssertionError::Percentage(text) => {
                write!(f, "{text:?} is not a percentage such as 5%")
            }
            AssertionError::NotALatencyBound(condition) => write!(
                f,
                "{condition}: the condition must limit a percentile or max from above, such as p99<2ms"
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
    fn conditions_print_the_text_that_they_were_parsed_from() {
        for text in [
            "p99>2ms",
            "p99.99<=500us",
            "max>=1s",
            "service.p99>2ms",
            "connect.max>1s",
            "response.p99.9<1ms",
            "errors>0",
            "failed>0",
            "unfinished>0",
            "timeouts>0",
            "rate<10k",
            "regress(p99)>5%",
        ] {
            assert_eq!(text.parse::<Assertion>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_error_of_a_wrong_condition_says_what_is_possible() {
        for (text, hint) in [
            ("p99", "such as p99>2ms"),
            ("p99=2ms", "has no <"),
            ("p99>2", "such as 2ms"),
            ("p100>2ms", "use max"),
            ("p0>2ms", "above 0"),
            ("latency>2ms", "p50 to p99.99"),
            ("rate>fast", "10k"),
            ("rate>-5", "not a number"),
            ("regress(p99)>5", "such as 5%"),
            ("regress(p99)>NaN%", "such as 5%"),
            ("regress(max)>5%", "rate, p50 or p99"),
        ] {
            let error = wrong(text);
            assert!(error.contains(hint), "{text:?}: {error:?}");
        }
    }
}

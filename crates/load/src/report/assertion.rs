//! Parses and checks the conditions of `--fail-if` and `--find-max`, such as `p99>2ms` or `regress(p99)>5%`.

use std::fmt;
use std::str::FromStr;

use super::document::{Document, Run};
use super::findings::{AssertionResult, Comparison, RATE};
use super::latency::Latency;
use super::student::{POWER, runs_that_decide};
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
    /// By how much a target is worse than the first one in this figure: a rate, a percentile or a maximum.
    Regression(Box<Quantity>),
}

/// The figure of one run, and whether it meets a condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checked {
    /// The figure: messages a second, nanoseconds, or a number of errors or messages.
    pub value: f64,
    /// Whether it meets the condition; `None` if `value` is a lower bound that does not decide it.
    pub met: Option<bool>,
}

/// The times that a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// From when a message was due to the last byte of its echo: `p99` or `response.p99`.
    Response,
    /// From when a message was sent to the last byte of its echo: `service.p99`.
    Service,
    /// From when a message was sent to the first byte of its echo: `first_byte.p99`.
    FirstByte,
    /// From connect(2) within the measured time to the established connection: `connect.p99`.
    Connect,
    /// The same of the connections that were made before the start of the schedule: `opening.p99`.
    Opening,
    /// From connect(2) to the last echo of a connection that sent all its messages: `cycle.p99`.
    Cycle,
}

impl Times {
    pub(super) fn of(self, run: &Run) -> &Latency {
        match self {
            Times::Response => &run.latency.response,
            Times::Service => &run.latency.service,
            Times::FirstByte => &run.latency.first_byte,
            Times::Connect => &run.latency.connect,
            Times::Opening => &run.latency.opening,
            Times::Cycle => &run.latency.cycle,
        }
    }

    /// Returns the name in a condition.
    fn name(self) -> &'static str {
        match self {
            Times::Response => "response",
            Times::Service => "service",
            Times::FirstByte => "first_byte",
            Times::Connect => "connect",
            Times::Opening => "opening",
            Times::Cycle => "cycle",
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
        self.regression().is_some()
    }

    /// Returns the figure of a `regress` condition.
    pub(super) fn regression(&self) -> Option<&Quantity> {
        match &self.quantity {
            Quantity::Regression(figure) => Some(figure),
            _ => None,
        }
    }

    /// Returns true if the condition limits response times from above, such as `p99<2ms`. Such a condition holds at low
    /// rates and fails at high rates.
    #[must_use]
    pub fn bounds_latency(&self) -> bool {
        let is_a_time = matches!(self.quantity, Quantity::Percentile(..) | Quantity::Max(_));
        is_a_time && matches!(self.operator, Operator::Below | Operator::AtMost)
    }

    /// Checks the condition on a report. A condition on runs is met if any of the runs meets it. It is undecided if
    /// none meets it and one is undecided.
    #[must_use]
    pub fn check(&self, document: &Document) -> AssertionResult {
        if let Quantity::Regression(figure) = &self.quantity {
            return self.check_regression(&figure.to_string(), &document.comparisons);
        }
        let checked = document.runs.iter().map(|run| self.check_run(run));
        let checked: Vec<Option<Checked>> = checked.collect();
        let seen: Vec<Checked> = checked.iter().flatten().copied().collect();
        // The highest value for > and >=, the lowest for < and <=: the value that a reader expects.
        let decisive = seen.iter().copied().reduce(|a, b| {
            let upwards = matches!(self.operator, Operator::Above | Operator::AtLeast);
            if (b.value > a.value) == upwards { b } else { a }
        });
        // A lower bound may be the lowest value and decide nothing. So a run that meets the condition comes first.
        let met = seen
            .iter()
            .copied()
            .find(|checked| checked.met == Some(true));
        let decisive = match decisive {
            Some(Checked { met: Some(_), .. }) => decisive,
            _ => met.or(decisive),
        };
        let undecided = seen.iter().find(|checked| checked.met.is_none());
        match (decisive, undecided) {
            (Some(Checked { value, met }), _) if met == Some(true) => {
                self.result(met, self.quantity.show(value))
            }
            (_, Some(Checked { value, .. })) => {
                let value = self.quantity.show(*value);
                let why = "messages that did not come back count with their age, and may be slower";
                self.result(None, format!("{value} or more: {why}"))
            }
            (Some(Checked { value, met }), None) if seen.len() == checked.len() => {
                self.result(met, self.quantity.show(value))
            }
            (Some(Checked { value, .. }), None) => {
                let value = self.quantity.show(value);
                let fewer = checked.len() - seen.len();
                let runs = units::counted(fewer as u64, "run");
                self.result(None, format!("{value}: too few messages in {runs}"))
            }
            (None, None) => self.result(None, "too few messages to decide".to_owned()),
        }
    }

    /// Returns the figure of one run, and whether it meets the condition. `None` if the run has too few messages to
    /// decide, or if the condition needs a comparison.
    #[must_use]
    pub fn check_run(&self, run: &Run) -> Option<Checked> {
        let value = self.quantity.value(run)?;
        let is_lower_bound = match &self.quantity {
            Quantity::Percentile(times, percent) => self.may_be_slower(*times, *percent, run),
            Quantity::Max(times) => self.may_be_slower(*times, 100.0, run),
            _ => false,
        };
        let holds = |value| self.operator.holds(value, self.limit);
        // A lower bound decides the condition if every greater value has the same result.
        let is_decided = !is_lower_bound || holds(value) == holds(f64::INFINITY);
        Some(Checked {
            value,
            met: is_decided.then(|| holds(value)),
        })
    }

    /// Whether the true percentile may be above the limit, because messages that did not come back count with their
    /// age. The run has only the ages from the due times. The age from the sending is shorter, and the run does not say
    /// by how much. So each service time up to the limit may be such an age.
    fn may_be_slower(&self, times: Times, percent: f64, run: &Run) -> bool {
        let lost = &run.latency.lower_bounds;
        let bounds = match times {
            _ if lost.count == 0 => return false,
            Times::Connect | Times::Opening | Times::Cycle => return false,
            Times::Response => lost.histogram.count_between(0, self.limit as u64),
            Times::Service | Times::FirstByte => lost.count,
        };
        !times
            .of(run)
            .is_certainly_at_most(percent, self.limit, bounds)
    }

    /// Checks the condition on each comparison. It is met if any comparison meets it. It is undecided if none meets it
    /// and one is undecided.
    pub(super) fn check_regression(
        &self,
        figure: &str,
        comparisons: &[Comparison],
    ) -> AssertionResult {
        let checked: Vec<AssertionResult> = comparisons
            .iter()
            .map(|comparison| self.check_comparison(figure, comparison))
            .collect();
        let with = |met| checked.iter().find(|result| result.met == met);
        let decisive = with(Some(true)).or(with(None)).or(checked.first());
        match decisive {
            None => self.result(None, "there is no comparison".to_owned()),
            Some(result) => result.clone(),
        }
    }

    /// Checks the condition on one comparison. It is decided if every ratio of the interval has the same result.
    fn check_comparison(&self, figure: &str, comparison: &Comparison) -> AssertionResult {
        let Some(metric) = comparison.metrics.iter().find(|m| m.name == figure) else {
            return self.result(None, format!("there is no comparison of {figure}"));
        };
        let percent = units::change;
        let target = match comparison.side {
            Some(_) => format!("{} ", comparison.letter()),
            None => String::new(),
        };
        let observed = format!("{target}{}", percent(metric.worse_by()));
        let Some(interval) = &metric.interval else {
            return self.result(None, format!("{observed}, but two sittings cannot tell"));
        };
        if metric.lower_bounds > 0 {
            let why = "messages that did not come back count with their age, and may be slower";
            return self.result(None, format!("{observed}: {why}"));
        }
        let options = comparison.different_options();
        if let Some(first) = options.first() {
            let (name, a, b) = (&first.name, &first.a, &first.b);
            let why = format!("{observed}, but the loads differ: --{name} {a} and {b}");
            return self.result(None, why);
        }
        let (low, high) = (
            metric.worse_at(interval.low),
            metric.worse_at(interval.high),
        );
        let observed = format!(
            "{observed} ({} to {})",
            percent(low.min(high)),
            percent(low.max(high))
        );
        let holds = |worse| self.operator.holds(worse, self.limit);
        if holds(low) == holds(high) {
            return self.result(Some(holds(low)), observed);
        }
        // The ratio at which the condition changes its result.
        let at_limit = match metric.worse_at(2.0) > 0.0 {
            true => 1.0 + self.limit,
            false => 1.0 - self.limit,
        };
        let distance = (metric.ratio / at_limit.max(f64::MIN_POSITIVE)).ln();
        let needed = runs_that_decide(
            comparison.count_a.min(comparison.count_b),
            (interval.error, interval.freedom),
            distance,
            (comparison.alpha(), POWER),
        );
        let more = match needed {
            Some(runs) => format!(
                "about {} of each would decide",
                units::counted(runs as u64, "run")
            ),
            None => "even 1,000 runs of each would not decide".to_owned(),
        };
        AssertionResult {
            runs_needed: needed,
            ..self.result(None, format!("{observed}: {more}"))
        }
    }

    fn result(&self, met: Option<bool>, observed: String) -> AssertionResult {
        AssertionResult {
            condition: self.text.clone(),
            figure: self.quantity.to_string(),
            limit: units::plain(&self.quantity.show(self.limit)),
            met,
            observed,
            runs_needed: None,
        }
    }
}

impl Quantity {
    /// Returns the figure of a run. `None` if the run has too few values for it, or if it needs a comparison.
    pub(super) fn value(&self, run: &Run) -> Option<f64> {
        let timeouts = || run.errors.iter().find(|e| e.kind == FaultKind::Timeout);
        Some(match self {
            Quantity::Errors => run.counts.errors as f64,
            Quantity::Failed => run.counts.failed as f64,
            Quantity::Unfinished => run.counts.unfinished as f64,
            Quantity::Timeouts => timeouts().map_or(0, |error| error.count) as f64,
            Quantity::Rate => run.throughput.messages_per_second,
            Quantity::Percentile(times, percent) => times.of(run).percentile(*percent)? as f64,
            Quantity::Max(times) if times.of(run).count == 0 => return None,
            Quantity::Max(times) => times.of(run).max as f64,
            Quantity::Regression(_) => return None,
        })
    }

    /// Writes a value of this figure with its unit.
    pub(super) fn show(&self, value: f64) -> String {
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

/// Writes the name as in a condition: `errors`, `p99`, `service.p99`, `regress(p99)`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |times: &Times| match times {
            Times::Response => String::new(),
            other => format!("{}.", other.name()),
        };
        match self {
            Quantity::Errors => f.write_str("errors"),
            Quantity::Failed => f.write_str("failed"),
            Quantity::Unfinished => f.write_str("unfinished"),
            Quantity::Timeouts => f.write_str("timeouts"),
            Quantity::Rate => f.write_str(RATE),
            Quantity::Percentile(of, percent) => write!(f, "{}p{percent}", times(of)),
            Quantity::Max(of) => write!(f, "{}max", times(of)),
            Quantity::Regression(figure) => write!(f, "regress({figure})"),
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
        return match quantity(inner)? {
            figure @ (Quantity::Rate | Quantity::Percentile(..) | Quantity::Max(_)) => {
                Ok(Quantity::Regression(Box::new(figure)))
            }
            _ => Err(AssertionError::UnknownMetric(inner.to_owned())),
        };
    }
    let (times, figure) = match name.split_once('.') {
        Some(("response", figure)) => (Times::Response, figure),
        Some(("service", figure)) => (Times::Service, figure),
        Some(("first_byte", figure)) => (Times::FirstByte, figure),
        Some(("connect", figure)) => (Times::Connect, figure),
        Some(("opening", figure)) => (Times::Opening, figure),
        Some(("cycle", figure)) => (Times::Cycle, figure),
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
                "{name:?} is not known: use errors, failed, unfinished, timeouts, rate, p50 to p99.99 or max (also of \
                 service, first_byte, connect, opening and cycle, as in service.p99), or regress(…) of rate, a \
                 percentile or max"
            ),
            AssertionError::PercentileOutOfRange(name) => write!(
                f,
                "{name:?}: a percentile is above 0 and below 100; for the longest time use max"
            ),
            AssertionError::UnknownMetric(name) => {
                write!(f, "regress takes rate, a percentile or max, not {name:?}")
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
    use std::time::UNIX_EPOCH;

    use super::super::{DocumentBuilder, Measured, Options};
    use super::*;
    use crate::{Plan, Recording};

    /// Checks a condition on a run with 1,000 echoes after 1 ms each, and with messages that were lost at these ages.
    fn checked(condition: &str, lost_ms: &[u64]) -> AssertionResult {
        let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
        let mut recording = Recording::empty();
        recording.response.record_n(1_000_000, 1000).unwrap();
        for ms in lost_ms {
            recording.response.record(ms * 1_000_000).unwrap();
            recording.lower_bounds.record(ms * 1_000_000).unwrap();
        }
        recording.service = recording.response.clone();
        let mut builder = DocumentBuilder::new(Options::from(&plan), UNIX_EPOCH);
        builder.add(Measured::new(&plan, recording, UNIX_EPOCH));
        condition
            .parse::<Assertion>()
            .unwrap()
            .check(&builder.build())
    }

    #[test]
    fn a_lower_bound_decides_a_condition_only_if_every_greater_value_does() {
        let met = |condition: &str, lost_ms: &[u64]| checked(condition, lost_ms).met;
        for (condition, lost_ms, expected) in [
            // 1,200 ms or more.
            ("max>5s", &[1200][..], None),
            ("max>=5s", &[1200], None),
            ("max<5s", &[1200], None),
            ("max<=5s", &[1200], None),
            ("max>1s", &[1200], Some(true)),
            ("max>=1s", &[1200], Some(true)),
            ("max<1s", &[1200], Some(false)),
            ("max>5s", &[], Some(false)),
            ("max<5s", &[], Some(true)),
            // One lost message of 1,001 does not change the median.
            ("p50>5ms", &[1200], Some(false)),
            ("p50<5ms", &[1200], Some(true)),
            ("service.p50<5ms", &[1200], Some(true)),
            // 15 of 1,015 messages are more than 1 %.
            ("p99>5s", &[1200; 15], None),
            ("p99<5s", &[1200; 15], None),
            ("service.p99<5s", &[1200; 15], None),
            ("p99>1s", &[1200; 15], Some(true)),
            // A message that was lost at once may be the slowest one.
            ("max<5ms", &[0], None),
            ("connect.max<5ms", &[1200], None),
        ] {
            assert_eq!(met(condition, lost_ms), expected, "{condition} {lost_ms:?}");
        }
        let observed = checked("max>5s", &[1200]).observed;
        assert!(observed.starts_with("1.20 s or more"), "{observed}");
    }

    /// A run that is too short for a percentile may hide a run in which the condition would be met.
    #[test]
    fn a_run_with_too_few_messages_leaves_a_condition_undecided() {
        let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
        let mut builder = DocumentBuilder::new(Options::from(&plan), UNIX_EPOCH);
        for messages in [10_000, 100] {
            let mut recording = Recording::empty();
            recording.response.record_n(1_000_000, messages).unwrap();
            builder.add(Measured::new(&plan, recording, UNIX_EPOCH));
        }
        let document = builder.build();
        let check = |condition: &str| condition.parse::<Assertion>().unwrap().check(&document);
        let result = check("p99>5ms");
        assert_eq!(result.met, None);
        assert!(
            result.observed.contains("too few messages in 1 run"),
            "{}",
            result.observed
        );
        assert_eq!(
            check("p99>500us").met,
            Some(true),
            "one run is enough to fail"
        );
        assert_eq!(check("p50>5ms").met, Some(false));
    }

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
            "regress(connect.p99.9)>5%",
            "cycle.p50>1ms",
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
            ("regress(errors)>5%", "rate, a percentile or max"),
            ("regress(regress(p99))>5%", "rate, a percentile or max"),
        ] {
            let error = wrong(text);
            assert!(error.contains(hint), "{text:?}: {error:?}");
        }
    }
}

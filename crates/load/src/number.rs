//! Numbers with a suffix, such as `10k`.

use std::fmt;
use std::str::FromStr;

/// A number of 0 or more, with an optional suffix: `k` (thousand) or `m` (million). Examples: `10000`, `10k`, `1.5m`.
///
/// ```
/// use mio_echo_load::Number;
/// assert_eq!("10k".parse::<Number>()?.get(), 10_000.0);
/// assert!("1e9".parse::<Number>().is_err());
/// # Ok::<(), mio_echo_load::ParseNumberError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(f64);

impl Number {
    /// Returns the number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Writes the number without a suffix.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Number {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Number, ParseNumberError> {
        let lower = text.to_ascii_lowercase();
        let (digits, factor) = match (lower.strip_suffix('k'), lower.strip_suffix('m')) {
            (Some(digits), _) => (digits, 1e3),
            (_, Some(digits)) => (digits, 1e6),
            (None, None) => (lower.as_str(), 1.0),
        };
        let is_plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match digits.parse::<f64>() {
            Ok(number) if is_plain => Ok(Number(number * factor)),
            _ => Err(ParseNumberError(text.to_owned())),
        }
    }
}

/// The error of a text that is not a [`Number`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseNumberError(String);

impl fmt::Display for ParseNumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(f, "{text:?} is not a number (such as 10000, 10k or 1.5m)")
    }
}

impl std::error::Error for ParseNumberError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_multiply_and_exponents_are_refused() {
        let number = |text: &str| text.parse::<Number>().map(Number::get);
        assert_eq!(number("10k"), Ok(10_000.0));
        assert_eq!(number("1.5M"), Ok(1_500_000.0));
        assert!(number("1e9").is_err());
        assert!(number("").is_err());
    }

    #[test]
    fn numbers_parse_the_text_that_they_print() {
        for text in ["0.5", "10000", "4000000000000"] {
            assert_eq!(text.parse::<Number>().unwrap().to_string(), text);
        }
    }
}

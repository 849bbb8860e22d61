//! Parsers of numbers, rates and buffer sizes: `10k`, `0.5`, `64KiB`.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use mio_echo::load::Number;

use crate::cli::values::{LONGEST, size, span};

/// Parses a whole number from 1 to 2⁵³, such as `50` or `10k`.
pub(super) fn whole(text: &str) -> Result<u64, String> {
    let number = number(text)?;
    if number < 1.0 || number.fract() != 0.0 || number > WHOLE {
        return Err("it must be a whole number, at least 1".to_owned());
    }
    Ok(number as u64)
}

/// Parses a rate above 0 in units a second, such as `1000`, `10k`, `0.5` or `5/s`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = number(text.strip_suffix("/s").unwrap_or(text))?;
    if rate <= 0.0 {
        return Err("a rate must be above 0, such as 0.5, 1000 or 10k".to_owned());
    }
    Ok(rate)
}

/// Parses a number that may have a suffix for thousands.
fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().map(Number::get);
    number.map_err(|error| error.to_string())
}

/// Parses the size of a socket's buffer: from 1 byte to the largest `int`, which setsockopt(2) takes.
pub(super) fn buffer(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("it must be at least 1 byte".to_owned()),
        size if size > i32::MAX as usize => Err("it must be below 2GiB".to_owned()),
        size => Ok(size),
    }
}

/// Parses a seed: any `u64`.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("it must be a whole number from 0 to {}", u64::MAX))
}

/// Parses a time in the future: in the format of RFC 3339, or as a duration from now, such as `+5s`. The arguments are
/// parsed at the start of the program.
pub(super) fn start_at(text: &str) -> Result<SystemTime, String> {
    let now = SystemTime::now();
    if let Some(after) = text.strip_prefix('+') {
        return Ok(now + span(after)?);
    }
    let at = humantime::parse_rfc3339(text)
        .map_err(|_| "write a time in UTC, such as 2030-01-31T12:00:00Z, or +5s".to_owned())?;
    match at.duration_since(now) {
        Ok(wait) if wait > LONGEST => Err("it must be within the next 24days".to_owned()),
        Ok(_) => Ok(at),
        Err(past) => Err(format!(
            "it was {} ago: write a later time",
            humantime::format_duration(Duration::from_millis(past.duration().as_millis() as u64))
        )),
    }
}

/// The value of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnOff {
    On,
    Off,
}

/// 2⁵³: an `f64` represents every whole number up to here exactly.
const WHOLE: f64 = 9_007_199_254_740_992.0;

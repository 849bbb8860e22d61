//! Numbers, rates and sizes of buffers as a person writes them: `10k`, `0.5`, `64KiB`.

use clap::ValueEnum;
use mio_echo::load::Number;

use crate::cli::values::size;

/// A whole number, at least 1, such as `50` or `10k`.
pub(super) fn whole(text: &str) -> Result<u64, String> {
    let number = number(text)?;
    if number < 1.0 || number.fract() != 0.0 || number > WHOLE {
        return Err("a whole number, at least 1".to_owned());
    }
    Ok(number as u64)
}

/// So many a second: `1000`, `10k`, `0.5`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = number(text.strip_suffix("/s").unwrap_or(text))?;
    if rate <= 0.0 {
        return Err("a rate above 0, such as 0.5, 1000 or 10k".to_owned());
    }
    Ok(rate)
}

/// A number with a suffix of thousands.
fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().map(Number::get);
    number.map_err(|error| error.to_string())
}

/// The size of a socket's buffer: what setsockopt(2) can take.
pub(super) fn buffer(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("at least 1 byte".to_owned()),
        size if size > i32::MAX as usize => Err("at most 2GiB".to_owned()),
        size => Ok(size),
    }
}

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnOff {
    On,
    Off,
}

/// Up to here every whole number has a place of its own in 64 bits of floating point.
const WHOLE: f64 = 9_007_199_254_740_992.0;

//! Code that the benches share: servers in processes of their own, their costs, medians and quartiles.

#![allow(
    dead_code,
    reason = "each bench includes this module and uses its own part"
)]

use std::time::Duration;

pub(crate) mod output;
pub(crate) mod own;
pub(crate) mod process;
pub(crate) mod spread;

/// Returns the program's version and the machine, in one line.
pub(crate) fn environment() -> String {
    let here = mio_echo::load::Environment::here();
    format!(
        "mio-echo {}, processors: {}, {} {}, {}",
        env!("CARGO_PKG_VERSION"),
        here.cores,
        here.os,
        here.kernel,
        here.cpu
    )
}

/// Parses the length of a measurement.
///
/// # Errors
/// If the text is not a duration, or shorter than 50 ms.
pub(crate) fn window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(window) if window >= Duration::from_millis(50) => Ok(window),
        _ => Err("a duration of at least 50ms, such as 400ms or 2s".to_owned()),
    }
}

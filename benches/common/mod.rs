//! What the benches share: servers in processes of their own, what those cost, and how figures are summed up.

#![allow(
    dead_code,
    reason = "each bench includes this module and uses its own part"
)]

use std::time::Duration;

pub(crate) mod output;
pub(crate) mod own;
pub(crate) mod process;
pub(crate) mod spread;

/// The machine, in one line.
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

/// Parses how long a measurement is.
pub(crate) fn window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(window) if window >= Duration::from_millis(50) => Ok(window),
        _ => Err("a duration of at least 50ms, such as 400ms or 2s".to_owned()),
    }
}

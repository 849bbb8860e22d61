//! Durations and sizes as a person writes them: `500ms`, `1m 30s`, `off`; `64KiB`, `10k`.

use std::time::Duration;

use bytesize::ByteSize;
use clap::ValueEnum;
use mio_echo::load::Sizes;

/// A duration of at least a millisecond, such as `500ms` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = span(text)?;
    if duration < Duration::from_millis(1) {
        return Err("at least 1ms".to_owned());
    }
    Ok(duration)
}

/// A duration that may be none at all.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .map_err(|error| format!("{error} (such as 500ms or 1m 30s)"))?;
    if span > LONGEST {
        return Err("at most 24days".to_owned());
    }
    Ok(span)
}

/// A timeout, or `off`.
pub(super) fn timeout(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    let duration = duration(text).map_err(|error| format!("{error}, or off"))?;
    Ok(OrOff(Some(duration)))
}

/// A stall timeout, or `off`. One lost packet alone costs 200 ms and more, so a shorter one would close healthy clients.
pub(super) fn stall_timeout(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    match span(text).map_err(|error| format!("{error}, or off"))? {
        after if after < Duration::from_secs(1) => {
            Err("at least 1s, as one lost packet costs 200ms and more; or off".to_owned())
        }
        after => Ok(OrOff(Some(after))),
    }
}

/// How long to stay awake: up to a second, or `off`.
pub(super) fn awake(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    match humantime::parse_duration(text) {
        Ok(awake) if awake.is_zero() => Err("to stay awake for no time is off".to_owned()),
        Ok(awake) if awake > Duration::from_secs(1) => {
            Err("more than 1s only burns a processor".to_owned())
        }
        Ok(awake) => Ok(OrOff(Some(awake))),
        Err(_) => Err("not a duration (such as 50us or 1ms), or off".to_owned()),
    }
}

/// A duration, or `off`. A type of its own, as clap takes an `Option` for an argument that may be left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrOff(pub(super) Option<Duration>);

/// A number of bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| "not a size (such as 65536, 64KiB or 1MB)".to_owned())?;
    usize::try_from(size.as_u64()).map_err(|_| "more than this machine can address".to_owned())
}

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
    mio_echo::report::parse_number(text)
}

/// Sizes of messages: `64`, `64-4096`, or `64:9,4096:1`.
pub(super) fn sizes(text: &str) -> Result<Sizes, String> {
    let one = |text: &str| {
        let size = size(text)?;
        u32::try_from(size).map_err(|_| "a message has at most 1GiB".to_owned())
    };
    if text.contains(':') {
        let weighted = text.split(',').map(|part| {
            let (size, weight) = part
                .split_once(':')
                .ok_or_else(|| format!("{part:?} has no weight: write such as 64:9,4096:1"))?;
            let weight = weight
                .parse()
                .map_err(|_| format!("{weight:?} is no weight"))?;
            Ok((one(size)?, weight))
        });
        return Sizes::weighted(weighted.collect::<Result<_, String>>()?);
    }
    match text.split_once('-') {
        Some((smallest, largest)) => Sizes::range(one(smallest)?, one(largest)?),
        None => Sizes::one(one(text)?),
    }
}

/// The size of a socket's buffer: what setsockopt(2) can take.
pub(super) fn buffer(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("at least 1 byte".to_owned()),
        size if size > i32::MAX as usize => Err("at most 2GiB".to_owned()),
        size => Ok(size),
    }
}

/// Permissions of a file in octal, 0 to 0777, as chmod(1) takes them.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let is_octal = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err("permissions in octal, 0 to 0777, such as 0660".to_owned()),
    }
}

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnOff {
    On,
    Off,
}

/// The size of a read: at least a byte, at most 1 GiB.
pub(super) fn read_buffer(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("at least 1 byte, or nothing could be read".to_owned()),
        size if size > 1 << 30 => Err("at most 1GiB".to_owned()),
        size => Ok(size),
    }
}

/// Up to here every whole number has a place of its own in 64 bits of floating point.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// What the loop's timers can hold: see the server's timeouts.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_as_people_write_them() {
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("64k"), Ok(64_000));
        assert_eq!(timeout("off").unwrap().0, None);
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(mode("0"), Ok(0));
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0777"), Ok(0o777));
    }

    #[test]
    fn impossible_values_are_refused_with_what_is_possible() {
        assert!(timeout("0s").unwrap_err().contains("off"));
        assert!(timeout("30d").unwrap_err().contains("24days"));
        assert!(stall_timeout("999ms").unwrap_err().contains("1s"));
        assert!(stall_timeout("0s").unwrap_err().contains("1s"));
        assert_eq!(stall_timeout("off").unwrap().0, None);
        assert!(duration("30").unwrap_err().contains("500ms"));
        assert!(size("lots").unwrap_err().contains("64KiB"));
        for text in ["", "1777", "0o660", "+660", "-1", "680", "rw-rw----"] {
            assert!(mode(text).unwrap_err().contains("0660"), "{text}");
        }
        assert!(read_buffer("0").unwrap_err().contains("1 byte"));
    }
}

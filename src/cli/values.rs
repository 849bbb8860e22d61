//! Durations and sizes as a person writes them: `500ms`, `1m 30s`, `off`; `64KiB`, `10k`.

use std::time::Duration;

use bytesize::ByteSize;

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

/// The size of a read: at least a byte, at most 1 GiB.
pub(super) fn read_buffer(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("at least 1 byte, or nothing could be read".to_owned()),
        size if size > 1 << 30 => Err("at most 1GiB".to_owned()),
        size => Ok(size),
    }
}

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
    }

    #[test]
    fn impossible_values_are_refused_with_what_is_possible() {
        assert!(timeout("0s").unwrap_err().contains("off"));
        assert!(timeout("30d").unwrap_err().contains("24days"));
        assert!(duration("30").unwrap_err().contains("500ms"));
        assert!(size("lots").unwrap_err().contains("64KiB"));
        assert!(read_buffer("0").unwrap_err().contains("1 byte"));
    }
}

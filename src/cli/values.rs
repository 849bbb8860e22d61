//! Durations and sizes as a person writes them: `500ms`, `1m 30s`, `off`; `64KiB`, `10k`.

use std::time::Duration;

use bytesize::ByteSize;
use mio_echo::{Address, ParseAddressError, Port};

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

/// An address. The port 0 is refused: it is reserved, and a person writes `auto`.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let address: Address = text
        .parse()
        .map_err(|error: ParseAddressError| error.to_string())?;
    let is_auto = matches!(
        address,
        Address::Tcp {
            port: Port::Auto,
            ..
        }
    );
    if is_auto && !text.ends_with(":auto") {
        return Err(
            "port 0 is reserved: name a port from 1 to 65535, or auto for a free one that the system chooses"
                .to_owned(),
        );
    }
    Ok(address)
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

/// Permissions of a file in octal, 0 to 0777, as chmod(1) takes them.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let is_octal = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err("permissions in octal, 0 to 0777, such as 0660".to_owned()),
    }
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
        assert_eq!(mode("0"), Ok(0));
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0777"), Ok(0o777));
    }

    #[test]
    fn port_zero_is_refused_by_name() {
        let said = address("127.0.0.1:0").unwrap_err();
        assert!(said.contains("reserved") && said.contains("auto"), "{said}");
        assert!(address("127.0.0.1:auto").is_ok());
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

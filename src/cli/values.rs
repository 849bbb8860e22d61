//! Parsers of durations, sizes, addresses and permissions: `500ms`, `1m 30s`, `off`; `64KiB`, `10k`.

use std::time::Duration;

use bytesize::ByteSize;
use humantime::DurationError;
use mio_echo::{Address, ParseAddressError, Port};

/// Parses a duration of at least 1 ms, such as `500ms` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = span(text)?;
    if duration < Duration::from_millis(1) {
        return Err("it must be at least 1ms".to_owned());
    }
    Ok(duration)
}

/// Parses a duration from 0 to 24 days.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| {
        let unsigned = text.strip_prefix('-').unwrap_or_default();
        let why = match error {
            _ if unsigned.starts_with(|digit: char| digit.is_ascii_digit()) => {
                "a duration cannot be negative".to_owned()
            }
            DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
                "the unit is missing".to_owned()
            }
            DurationError::InvalidCharacter(_)
            | DurationError::NumberExpected(_)
            | DurationError::Empty => "not a duration".to_owned(),
            other => other.to_string(),
        };
        format!("{why} (write a number and a unit, such as 500ms or 1m 30s)")
    })?;
    if span > LONGEST {
        return Err("it must be at most 24days".to_owned());
    }
    Ok(span)
}

/// Parses a drain timeout: a duration from 0 to 24 days. A shutdown always has a limit, so there is no `off`.
pub(super) fn drain_timeout(text: &str) -> Result<Duration, String> {
    if text == "off" {
        return Err("a shutdown always has a limit: write a time from 0s to 24days".to_owned());
    }
    span(text)
}

/// Parses an address. Refuses the port 0, which is reserved: a user writes `auto` for a free port.
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

/// Parses the address of `--metrics`: a port of the loopback interface, or an address with its host.
#[cfg(feature = "metrics")]
pub(super) fn site(text: &str) -> Result<Address, String> {
    if text.starts_with(':') {
        return Err(format!(
            "name the interface: 127.0.0.1{text} for this machine only, or 0.0.0.0{text} for every IPv4 interface"
        ));
    }
    let is_port = text == "auto" || text.parse::<u16>().is_ok();
    let parsed = match is_port {
        true => address(&format!("127.0.0.1:{text}")),
        false => address(text),
    };
    match parsed {
        Ok(Address::Unix(_)) => Err("a Unix-domain path is not possible".to_owned()),
        other => other,
    }
}

/// Parses a timeout from 1 ms to 24 days, or `off`.
pub(super) fn timeout(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    let duration = duration(text).map_err(|error| format!("{error}, or off"))?;
    Ok(OrOff(Some(duration)))
}

/// Parses a stall timeout from 1 s to 24 days, or `off`. One lost packet alone delays an acknowledgement by 200 ms or
/// more, so a shorter timeout would reset healthy clients.
pub(super) fn stall_timeout(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    match span(text).map_err(|error| format!("{error}, or off"))? {
        after if after < Duration::from_secs(1) => {
            Err("it must be at least 1s (a lost packet delays an acknowledgement by 200ms or more), or off".to_owned())
        }
        after => Ok(OrOff(Some(after))),
    }
}

/// Parses a time of busy polling above 0, at most 1 s, or `off`.
pub(super) fn busy_poll(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => {
            Err("0 is not possible: use off to turn busy polling off".to_owned())
        }
        Ok(time) if time > Duration::from_secs(1) => {
            Err("it must be at most 1s: a longer time does not make echoes faster".to_owned())
        }
        Ok(time) => Ok(OrOff(Some(time))),
        Err(_) => Err("not a duration (such as 50us or 1ms), or off".to_owned()),
    }
}

/// A duration, or `None` for `off`. A separate type, because clap reads `Option` as an argument that may be missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrOff(pub(super) Option<Duration>);

/// Parses a number of bytes, such as `65536` or `64KiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| "not a size (such as 65536, 64KiB or 1MB)".to_owned())?;
    usize::try_from(size.as_u64()).map_err(|_| "more than this machine can address".to_owned())
}

/// Parses the permissions of a file in octal, from 0 to 0777, in the notation of chmod(1).
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let is_octal = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err("write permissions in octal, from 0 to 0777, such as 0660".to_owned()),
    }
}

/// Parses a number of event loops: 1 to 1024, or `auto` for the number of processors that this process may use.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    if text == "auto" {
        return std::thread::available_parallelism()
            .map(Into::into)
            .map_err(|error| format!("the number of processors is not known: {error}"));
    }
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("write a number from 1 to 1024, or auto".to_owned()),
    }
}

/// Parses the size of the read buffer, from 1 byte to 1 GiB.
pub(super) fn read_buffer(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("it must be at least 1 byte, or nothing could be read".to_owned()),
        size if size > 1 << 30 => Err("it must be at most 1GiB".to_owned()),
        size => Ok(size),
    }
}

/// The longest duration. The server's timers hold at most 2³¹ - 1 ms, which is a little more than 24 days.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_durations_and_permissions_are_parsed() {
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
    fn port_zero_is_refused_and_auto_is_accepted() {
        let said = address("127.0.0.1:0").unwrap_err();
        assert!(said.contains("reserved") && said.contains("auto"), "{said}");
        assert!(address("127.0.0.1:auto").is_ok());
    }

    #[test]
    fn the_message_for_an_impossible_value_says_what_is_possible() {
        assert!(timeout("0s").unwrap_err().contains("off"));
        assert!(timeout("30d").unwrap_err().contains("24days"));
        assert!(stall_timeout("999ms").unwrap_err().contains("1s"));
        assert!(stall_timeout("0s").unwrap_err().contains("1s"));
        assert_eq!(stall_timeout("off").unwrap().0, None);
        assert!(duration("30").unwrap_err().contains("500ms"));
        assert!(duration("-1s").unwrap_err().contains("cannot be negative"));
        assert!(drain_timeout("off").unwrap_err().contains("24days"));
        assert_eq!(drain_timeout("0s"), Ok(Duration::ZERO));
        assert!(size("lots").unwrap_err().contains("64KiB"));
        for text in ["", "1777", "0o660", "+660", "-1", "680", "rw-rw----"] {
            assert!(mode(text).unwrap_err().contains("0660"), "{text}");
        }
        assert!(read_buffer("0").unwrap_err().contains("1 byte"));
    }
}

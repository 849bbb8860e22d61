//! Writes figures for readers: three digits with a unit, or a whole number with commas between the thousands.

/// Writes a time, such as `61.8 µs`.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        // From 999.5 on, rounding would give 1000. Then the next unit is used.
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Writes a number of bytes, such as `5.96 MiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let (value, unit) = match bytes {
        b if b < 1024.0 => (b, "B"),
        b if b < 1024.0 * 1024.0 => (b / 1024.0, "KiB"),
        b if b < 1024.0 * 1024.0 * 1024.0 => (b / 1024.0 / 1024.0, "MiB"),
        b => (b / 1024.0 / 1024.0 / 1024.0, "GiB"),
    };
    format!("{} {unit}", digits(value))
}

/// Writes a whole number with commas between the thousands: `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let plain = n.to_string();
    let mut grouped = String::new();
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Writes a whole number with its noun in singular or plural: `1 connection`, `1,000 connections`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Writes a rate: a whole number from 100 on, three digits below.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 {
        count(per_second.round() as u64)
    } else {
        digits(per_second)
    }
}

/// Writes a change, as a share, with its sign: `+8.0 %`.
pub(crate) fn change(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        p if p < 999.95 => format!("{percent:+.1} %"),
        p if p < 1e6 && percent > 0.0 => format!("+{} %", count(p.round() as u64)),
        _ if percent > 0.0 => "+1,000,000 % or more".to_owned(),
        _ => format!("{percent:+.0} %"),
    }
}

/// Writes a ratio: three decimal places below 10, fewer above.
pub(crate) fn ratio(ratio: f64) -> String {
    match ratio {
        r if r < 9.9995 => format!("{r:.3}"),
        r if r < 99.95 => format!("{r:.1}"),
        r if r < 1e6 => count(r.round() as u64),
        _ => "over a million".to_owned(),
    }
}

/// Writes a time or another figure without trailing zeros, as a person writes a limit: `20 ms`, `1.5 s`.
pub(crate) fn plain(shown: &str) -> String {
    let (number, unit) = shown.split_once(' ').unwrap_or((shown, ""));
    let short = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{short} {unit}").trim_end().to_owned()
}

/// Writes a share as a percentage, such as `5.31 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// Writes a number with three digits.
fn digits(value: f64) -> String {
    match value {
        v if v >= 100.0 || v == 0.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(time(61_800.0), "61.8 µs");
        assert_eq!(time(999.0), "999 ns");
        assert_eq!(time(900_000_000.0), "900 ms");
        assert_eq!(time(999_960_000.0), "1.00 s");
        assert_eq!(time(1_234_000_000.0), "1.23 s");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        assert_eq!(rate(98_357.3), "98,357");
        assert_eq!(rate(7.5), "7.50");
        assert_eq!(percent(0.0531), "5.31 %");
        assert_eq!(plain(&time(20e6)), "20 ms");
        assert_eq!(plain(&time(200e6)), "200 ms");
        assert_eq!(plain(&time(1.5e9)), "1.5 s");
        assert_eq!(change(0.08), "+8.0 %");
        assert_eq!(change(-0.9968), "-99.7 %");
        assert_eq!(change(12.3456), "+1,235 %");
        assert_eq!(change(1e9), "+1,000,000 % or more");
        assert_eq!(ratio(0.9126), "0.913");
        assert_eq!(ratio(19_155.940_142), "19,156");
        assert_eq!(ratio(f64::INFINITY), "over a million");
    }
}

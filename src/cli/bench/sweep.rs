//! `--sweep KEY=VALUES`: one run for each value.

use std::fmt;
use std::str::FromStr;

use mio_echo::load::{Plan, Sizes};

use super::amounts;
use crate::cli::values;

/// What is varied, and the values that it takes.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    text: String,
    key: Key,
    values: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Rate,
    Connections,
    Size,
}

impl Sweep {
    /// What is varied.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The most connections of any run, if that is what is varied.
    pub(super) fn most_connections(&self) -> Option<u64> {
        let most = self.values.iter().copied().fold(0.0, f64::max);
        (self.key == Key::Connections).then_some(most as u64)
    }

    /// The plan with each of the values.
    pub(super) fn plans(&self, base: &Plan) -> Result<Vec<Plan>, String> {
        let with = |value: &f64| {
            let mut plan = base.clone();
            match self.key {
                Key::Rate => plan.rate = Some(*value),
                Key::Connections => plan.connections = value.round() as usize,
                Key::Size => {
                    let sizes = Sizes::one(value.round() as u32);
                    plan.sizes = sizes.map_err(|why| why.to_string())?;
                }
            }
            Ok(plan)
        };
        self.values.iter().map(with).collect()
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Sweep, String> {
        let (key, rest) = text
            .split_once('=')
            .ok_or("write KEY=VALUES, such as rate=1k..64k*2")?;
        let key = match key {
            "rate" => Key::Rate,
            "connections" => Key::Connections,
            "size" => Key::Size,
            _ => {
                return Err(format!(
                    "{key:?} cannot be varied: rate, connections or size can"
                ));
            }
        };
        let value = |text: &str| match key {
            Key::Size => values::size(text).map(|size| size as f64),
            Key::Rate => amounts::rate(text),
            Key::Connections => amounts::whole(text).map(|n| n as f64),
        };
        let values = match rest.split_once("..") {
            None => rest.split(',').map(value).collect::<Result<Vec<_>, _>>()?,
            Some((from, to)) => range(from, to, value)?,
        };
        Ok(Sweep {
            text: text.to_owned(),
            key,
            values,
        })
    }
}

/// The values from the first up to the last, each a step from the one before.
fn range(
    from: &str,
    to: &str,
    value: impl Fn(&str) -> Result<f64, String>,
) -> Result<Vec<f64>, String> {
    let at = to
        .find(['*', '+'])
        .ok_or("a range has a step: *2 for each twice the last, +1000 for each so much more")?;
    let (to, step) = to.split_at(at);
    let (first, last) = (value(from)?, value(to)?);
    if first > last {
        return Err(format!("a range goes upwards: {to}..{from}"));
    }
    let next: Box<dyn Fn(f64) -> f64> = match step.split_at(1) {
        ("*", factor) => {
            let factor: f64 = factor
                .parse()
                .map_err(|_| format!("{factor:?} is no factor"))?;
            if !(factor > 1.0 && factor.is_finite()) {
                return Err("a factor above 1, or it would go on for ever".to_owned());
            }
            Box::new(move |v| v * factor)
        }
        (_, step) => {
            let step = value(step)?;
            if step <= 0.0 {
                return Err("a step above 0, or it would go on for ever".to_owned());
            }
            Box::new(move |v| v + step)
        }
    };
    // A little beyond the end, for factors that are not exact.
    let steps = std::iter::successors(Some(first), |v| Some(next(*v)));
    let values: Vec<f64> = steps
        .take_while(|v| *v <= last * 1.000_001)
        .take(MOST + 1)
        .collect();
    if values.len() > MOST {
        return Err(format!("more than {MOST} runs"));
    }
    Ok(values)
}

/// At ten seconds each that is nearly three hours.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        text.parse::<Sweep>().unwrap().values
    }

    #[test]
    fn values_are_a_list_or_a_range_with_a_step() {
        assert_eq!(values("rate=1k..8k*2"), [1e3, 2e3, 4e3, 8e3]);
        assert_eq!(values("connections=10..40+10"), [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(values("size=64,1KiB,64KiB"), [64.0, 1024.0, 65536.0]);
        assert_eq!(values("rate=5"), [5.0]);
    }

    #[test]
    fn slips_are_answered_with_what_is_possible() {
        for (text, hint) in [
            ("rate", "KEY=VALUES"),
            ("duration=1..2*2", "rate, connections or size"),
            ("rate=1..2", "has a step"),
            ("rate=2..1*2", "1..2"),
            ("rate=1..2*1", "for ever"),
            ("connections=1..9+0", "at least 1"),
            ("size=x", "not a size"),
        ] {
            let said = text.parse::<Sweep>().unwrap_err();
            assert!(said.contains(hint), "{text:?} was answered with {said:?}");
        }
    }
}

//! Parses `--sweep KEY=VALUES` and makes one plan for each value.

use std::fmt;
use std::str::FromStr;

use mio_echo::load::{Plan, Sizes};

use super::amounts;
use crate::cli::values;

/// The setting that a sweep varies, and its values.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    /// The argument as the user wrote it.
    text: String,
    key: Key,
    /// Messages a second, connections or bytes.
    values: Vec<f64>,
}

/// A setting that a sweep can vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Rate,
    Connections,
    Size,
}

impl Sweep {
    /// The setting that the sweep varies.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The largest number of connections of any run; `None` if the sweep varies another setting.
    pub(super) fn most_connections(&self) -> Option<u64> {
        let most = self.values.iter().copied().fold(0.0, f64::max);
        (self.key == Key::Connections).then_some(most as u64)
    }

    /// Returns one copy of the plan for each value.
    ///
    /// # Errors
    /// A value is not a possible size.
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
                    "{key:?} cannot be varied: use rate, connections or size"
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
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a value is there twice: --runs repeats all of them".to_owned());
        }
        Ok(Sweep {
            text: text.to_owned(),
            key,
            values,
        })
    }
}

/// Parses a range: the values from `from` up to `to`, which ends with a step such as `*2` or `+1000`.
fn range(
    from: &str,
    to: &str,
    value: impl Fn(&str) -> Result<f64, String>,
) -> Result<Vec<f64>, String> {
    let at = to
        .find(['*', '+'])
        .ok_or("a range has a step: *2 doubles each value, +1000 adds 1000 to it")?;
    let (to, step) = to.split_at(at);
    let (first, last) = (value(from)?, value(to)?);
    if first > last {
        return Err(format!("a range goes upwards: write {to}..{from}"));
    }
    let next: Box<dyn Fn(f64) -> f64> = match step.split_at(1) {
        ("*", factor) => {
            let factor: f64 = factor
                .parse()
                .map_err(|_| format!("{factor:?} is not a number"))?;
            if !(factor > 1.0 && factor.is_finite()) {
                return Err("the factor must be above 1, or the range would have no end".to_owned());
            }
            Box::new(move |v| v * factor)
        }
        (_, step) => {
            let step = value(step)?;
            if step <= 0.0 {
                return Err("the step must be above 0, or the range would have no end".to_owned());
            }
            Box::new(move |v| v + step)
        }
    };
    // The tolerance keeps the last value if rounding makes it a little larger than the end.
    let steps = std::iter::successors(Some(first), |v| Some(next(*v)));
    let values: Vec<f64> = steps
        .take_while(|v| *v <= last * 1.000_001)
        .take(MOST + 1)
        .collect();
    if values.len() > MOST {
        return Err(format!("a sweep has at most {MOST} runs"));
    }
    Ok(values)
}

/// Most runs of a sweep. With the default of ten seconds a run they take nearly three hours.
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
    fn the_message_for_a_wrong_sweep_says_what_is_possible() {
        for (text, hint) in [
            ("rate", "KEY=VALUES"),
            ("duration=1..2*2", "rate, connections or size"),
            ("rate=1..2", "has a step"),
            ("rate=2..1*2", "1..2"),
            ("rate=1..2*1", "no end"),
            ("connections=1..9+0", "at least 1"),
            ("size=x", "not a size"),
        ] {
            let said = text.parse::<Sweep>().unwrap_err();
            assert!(said.contains(hint), "{text:?} was answered with {said:?}");
        }
    }
}

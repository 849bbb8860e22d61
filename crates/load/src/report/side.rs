//! The side of a run in a comparison.

use serde::{Deserialize, Serialize};

/// The side of a run in a comparison of targets: `a` for the first target, which is the baseline, `b` for the second
/// one, up to `z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Side(char);

impl Side {
    /// The first target: the baseline.
    pub const A: Side = Side('a');

    /// The most targets of a comparison.
    pub const MOST: usize = 26;

    /// Returns the side of the target with this number, from 0. Numbers from 26 on have the side of number 25.
    #[must_use]
    pub fn of(number: usize) -> Side {
        let letter = b'a'.saturating_add(number.min(Side::MOST - 1) as u8);
        Side(char::from(letter))
    }

    /// Returns the number of the target, from 0.
    #[must_use]
    pub fn number(self) -> usize {
        (self.0 as usize).saturating_sub('a' as usize)
    }

    /// Returns the letter for a person: `A`, `B`.
    #[must_use]
    pub fn letter(self) -> char {
        self.0.to_ascii_uppercase()
    }
}

//! The ladder: the steps of `examples/`, and the check on which each step breaks.

use serde::{Deserialize, Serialize};

use crate::outcome::Verdict;

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The number of the step: the first two digits of its file.
    pub number: u32,
    /// The file, below `examples/`.
    pub file: &'static str,
    /// The checks on which the step breaks, and the next one does not.
    pub breaks_on: &'static [&'static str],
}

/// All steps with a check on which they break, from the first one up. Step 02, a thread for each client, breaks on none
/// of them: it costs memory.
pub const RUNGS: &[Rung] = &[
    rung(0, "00_page_server.py", &["again"]),
    rung(1, "01_one_at_a_time.rs", &["two-at-once"]),
    rung(3, "03_spin.rs", &["idle-cpu"]),
    rung(4, "04_readiness.rs", &["slow-reader"]),
    rung(
        5,
        "05_keep_the_rest.rs",
        &["bounded-intake", "half-close-bulk"],
    ),
    rung(6, "06_back_pressure.rs", &["reset-idle"]),
    rung(7, "07_whose_error.rs", &["idle-crowd"]),
    rung(8, "08_edges.rs", &["big-then-silent", "half-close"]),
    rung(9, "09_drain.rs", &["fairness"]),
    rung(10, "10_turns.rs", &["out-of-descriptors"]),
    rung(11, "11_listener.rs", &["squatters"]),
    rung(12, "12_deadlines.rs", &["sigterm"]),
];

const fn rung(number: u32, file: &'static str, breaks_on: &'static [&'static str]) -> Rung {
    Rung {
        number,
        file,
        breaks_on,
    }
}

/// Where a server stands on the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Standing {
    /// The number of the step that breaks on the same check; `null` if no check of the ladder failed.
    pub rung: Option<u32>,
    /// The next check to pass; `null` if there is none.
    pub next: Option<String>,
    /// The checks of the ladder that were not decided. The server may stand lower than `rung` says.
    pub undecided: Vec<String>,
}

/// What is known of a server's place on the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The server breaks on the same check as the step with this number.
    On(u32),
    /// The server passed the checks of all steps.
    Top,
    /// The server passed those checks of the ladder that were decided, and others were not.
    Partly,
    /// No check of the ladder was decided.
    Unknown,
}

impl Standing {
    /// Finds the step on which a server stands. `verdict` returns the verdict of a check, if it was made.
    #[must_use]
    pub fn of(verdict: impl Fn(&str) -> Option<Verdict>) -> Standing {
        let mut undecided = Vec::new();
        if verdict("hello") == Some(Verdict::Fail) {
            // A server that returns nothing stands on no step.
            return Standing {
                rung: None,
                next: Some("hello".to_owned()),
                undecided: RUNGS
                    .iter()
                    .flat_map(|rung| rung.breaks_on)
                    .map(ToString::to_string)
                    .collect(),
            };
        }
        // A server that reads or accepts once for each edge fails checks of earlier steps too, and this check alone
        // names the cause.
        let is_edge_triggered = verdict("big-then-silent") == Some(Verdict::Fail);
        for rung in RUNGS
            .iter()
            .filter(|rung| !is_edge_triggered || !(1..8).contains(&rung.number))
        {
            for check in rung.breaks_on {
                match verdict(check) {
                    Some(Verdict::Fail) => {
                        return Standing {
                            rung: Some(rung.number),
                            next: Some((*check).to_owned()),
                            undecided,
                        };
                    }
                    Some(Verdict::Pass) => {}
                    Some(Verdict::Inconclusive | Verdict::Skipped) | None => {
                        undecided.push((*check).to_owned());
                    }
                }
            }
        }
        Standing {
            rung: None,
            next: None,
            undecided,
        }
    }

    /// Returns what is known of the server's place.
    #[must_use]
    pub fn place(&self) -> Place {
        let all = RUNGS.iter().map(|rung| rung.breaks_on.len()).sum();
        match self.rung {
            Some(number) => Place::On(number),
            None if self.undecided.is_empty() => Place::Top,
            None if self.undecided.len() < all => Place::Partly,
            None => Place::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns where a server stands that fails these checks and passes all others.
    fn standing_of(failed: &[&str]) -> Standing {
        Standing::of(|name| match failed.contains(&name) {
            true => Some(Verdict::Fail),
            false => Some(Verdict::Pass),
        })
    }

    #[test]
    fn a_server_stands_on_the_first_step_that_breaks_on_the_same_check() {
        let six = standing_of(&["reset-idle", "fairness"]);
        assert_eq!(
            (six.rung, six.next.as_deref()),
            (Some(6), Some("reset-idle"))
        );
        assert_eq!(six.place(), Place::On(6));
        assert_eq!(standing_of(&[]).place(), Place::Top);
    }

    #[test]
    fn the_first_step_that_explains_the_failures_counts() {
        let edges = standing_of(&["idle-cpu", "slow-reader", "big-then-silent"]);
        assert_eq!(
            (edges.rung, edges.next.as_deref()),
            (Some(8), Some("big-then-silent"))
        );
        let silent = standing_of(&["hello", "again"]);
        assert_eq!(
            (silent.place(), silent.next.as_deref()),
            (Place::Unknown, Some("hello"))
        );
    }

    #[test]
    fn a_check_that_was_not_made_is_named() {
        let seen = Standing::of(|name| (name != "squatters").then_some(Verdict::Pass));
        assert_eq!(seen.undecided, ["squatters"]);
        assert_eq!(seen.place(), Place::Partly);
        assert_eq!(Standing::of(|_| None).place(), Place::Unknown);
    }
}

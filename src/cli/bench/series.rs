//! Carries out the runs, one after another, and puts them into a document.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio_echo::Environment;
use mio_echo::load::{self, Plan, Progress, RunError, Stopper};
use mio_echo::report::{
    Assertion, Comparison, Document, KnownMaximum, Program, Run, SCHEMA, Verdict, compare,
    document_validity, summarise,
};

use super::progress::Display;
use super::{BenchArgs, plans};
use crate::cli::Failure;

/// Everything that was asked for.
pub(super) fn measure(
    args: &BenchArgs,
    plans: &[Plan],
    stopper: &Stopper,
) -> Result<Document, Failure> {
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut series = Series {
        display: Display::new(),
        stopper,
        runs: Vec::new(),
    };
    let found = match &args.find_max {
        Some(condition) => Some(series.find_max(condition, &plans[0])?),
        None => {
            series.all(plans)?;
            None
        }
    };
    let runs = series.runs;
    let mut validity = document_validity(&runs);
    if let Some(found) = &found {
        // The runs beyond the limit are meant to fail; what counts is that one below it did not.
        validity.reasons.clear();
        validity.verdict = Verdict::Valid;
        if found.rate.is_none() {
            validity.reasons.push(format!(
                "{} held at no rate that was tried",
                found.condition
            ));
            validity.verdict = Verdict::Invalid;
        }
    }
    let comparison = comparison(args, &runs, &mut validity.notes);
    Ok(Document {
        schema: SCHEMA.to_owned(),
        program: Program {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        started_at,
        options: plans::options(args, plans),
        environment: Environment::here(),
        validity,
        runs,
        comparison,
        find_max: found,
        assertions: Vec::new(),
    })
}

/// The second target beside the first.
fn comparison(args: &BenchArgs, runs: &[Run], notes: &mut Vec<String>) -> Option<Comparison> {
    let [a, b] = args.targets.as_slice() else {
        return None;
    };
    // Round by round, whoever was first: run n of the one belongs to run n of the other.
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for pair in runs.chunks_exact(2) {
        let first_is_a = pair[0].target == a.to_string();
        let (one, other) = if first_is_a {
            (&pair[0], &pair[1])
        } else {
            (&pair[1], &pair[0])
        };
        of_a.push(one);
        of_b.push(other);
    }
    match compare(&of_a, &of_b) {
        Ok(mut comparison) => {
            if a == b {
                comparison.notes.push("both are the same server".to_owned());
            }
            Some(comparison)
        }
        Err(why) => {
            notes.push(format!("no comparison: {why}"));
            None
        }
    }
}

struct Series<'a> {
    display: Display,
    stopper: &'a Stopper,
    runs: Vec<Run>,
}

impl Series<'_> {
    fn all(&mut self, plans: &[Plan]) -> Result<(), Failure> {
        for (n, plan) in plans.iter().enumerate() {
            self.display.of(n + 1, Some(plans.len()), plan);
            if !self.run(plan)? {
                break;
            }
        }
        Ok(())
    }

    /// One run. Returns whether to go on.
    fn run(&mut self, plan: &Plan) -> Result<bool, Failure> {
        let mut started = SystemTime::now();
        let display = &mut self.display;
        let measured = load::run(plan, self.stopper, |progress| {
            if let Progress::Started = progress {
                started = SystemTime::now() + plan.warmup;
            }
            display.show(plan, &progress);
        });
        self.display.end_of_run();
        let recording = match measured {
            Ok(recording) => recording,
            // What was measured before is worth a report.
            Err(RunError::Stopped) if !self.runs.is_empty() => return Ok(self.interrupted()),
            Err(RunError::Stopped) => {
                return Err(Failure::Interrupted(RunError::Stopped.to_string()));
            }
            Err(RunError::Plan(why)) => return Err(Failure::Usage(why)),
            Err(error) if self.runs.is_empty() => return Err(error.into()),
            Err(error) => {
                return Err(Failure::Told(format!(
                    "run {}: {error}",
                    self.runs.len() + 1
                )));
            }
        };
        let since = started.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let run = summarise(
            self.runs.len(),
            &plan.target.to_string(),
            plan,
            recording,
            u64::try_from(since.as_nanos()).unwrap_or(0),
            self.stopper.is_stopping(),
        );
        self.runs.push(run);
        Ok(!self.stopper.is_stopping())
    }

    fn interrupted(&mut self) -> bool {
        if let Some(last) = self.runs.last_mut() {
            last.interrupted = true;
        }
        false
    }

    /// Doubles the rate until the condition does not hold any more, then halves the distance until it is small.
    fn find_max(&mut self, condition: &Assertion, base: &Plan) -> Result<KnownMaximum, Failure> {
        let (mut holds, mut fails): (Option<f64>, Option<f64>) = (None, None);
        let mut rate = plans::FIRST_RATE;
        for n in 1..=MOST_STEPS {
            let mut plan = base.clone();
            plan.rate = Some(rate);
            self.display.of(n, None, &plan);
            if !self.run(&plan)? {
                break;
            }
            let Some(run) = self.runs.last() else { break };
            let valid = run.validity.verdict == Verdict::Valid;
            match condition.check_run(run) {
                Some((_, true)) if valid => holds = Some(rate),
                None if valid => {
                    return Err(Failure::Told(format!(
                        "at {rate:.0} messages/s too few come back to tell whether {condition}: measure for longer (-d)"
                    )));
                }
                _ => fails = Some(rate),
            }
            rate = match (holds, fails) {
                (Some(low), Some(high)) if high / low < CLOSE => break,
                (Some(low), Some(high)) => (low * high).sqrt(),
                (Some(low), None) => low * 2.0,
                (None, Some(high)) if high < LOWEST_RATE => break,
                (None, high) => high.unwrap_or(rate) / 8.0,
            };
        }
        Ok(KnownMaximum {
            condition: condition.to_string(),
            rate: holds,
            failed_at: fails,
        })
    }
}

/// Where to give up.
const LOWEST_RATE: f64 = 10.0;

/// How far apart what holds and what does not may be at the end.
const CLOSE: f64 = 1.05;

const MOST_STEPS: usize = 24;

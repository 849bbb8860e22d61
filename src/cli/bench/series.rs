//! Carries out the runs, one after another, and puts them into a document.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio_echo::Environment;
use mio_echo::load::{self, Plan, Progress, RunError, Stopper};
use mio_echo::report::{
    Assertion, Comparison, Document, KnownMaximum, Program, Run, SCHEMA, Side, Verdict, compare,
    document_validity, summarise,
};

use super::BenchArgs;
use super::plans::{self, Planned};
use super::progress::Display;
use crate::cli::Failure;

/// Everything that was asked for.
pub(super) fn measure(
    args: &BenchArgs,
    plans: &[Planned],
    stopper: &Stopper,
) -> Result<Document, Failure> {
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut series = Series {
        display: Display::new(),
        stopper,
        runs: Vec::new(),
        cut_short: None,
    };
    let found = match &args.find_max {
        Some(condition) => Some(series.find_max(condition, &plans[0].plan)?),
        None => {
            series.all(plans)?;
            None
        }
    };
    let (runs, cut_short) = (series.runs, series.cut_short);
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
    if let Some(why) = cut_short {
        validity.reasons.push(why);
        validity.verdict = Verdict::Invalid;
    }
    let comparison = comparison(&runs, &mut validity.notes);
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
fn comparison(runs: &[Run], notes: &mut Vec<String>) -> Option<Comparison> {
    // Round by round, whoever was first: run n of the one belongs to run n of the other.
    let of = |side| -> Vec<&Run> { runs.iter().filter(|run| run.side == Some(side)).collect() };
    let (mut a, mut b) = (of(Side::A), of(Side::B));
    if a.is_empty() && b.is_empty() {
        return None;
    }
    let pairs = a.len().min(b.len());
    a.truncate(pairs);
    b.truncate(pairs);
    match compare(&a, &b) {
        Ok(comparison) => Some(comparison),
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
    /// Why there are no more runs, though there should be.
    cut_short: Option<String>,
}

impl Series<'_> {
    fn all(&mut self, plans: &[Planned]) -> Result<(), Failure> {
        for (n, Planned { plan, side }) in plans.iter().enumerate() {
            self.display.of(n + 1, Some(plans.len()), plan);
            if !self.run(plan, *side)? {
                break;
            }
        }
        Ok(())
    }

    /// One run. Returns whether to go on.
    fn run(&mut self, plan: &Plan, side: Option<Side>) -> Result<bool, Failure> {
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
                let n = self.runs.len() + 1;
                self.cut_short = Some(format!("run {n} could not be made: {error}"));
                return Ok(false);
            }
        };
        let since = started.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut run = summarise(
            self.runs.len(),
            &plan.target.to_string(),
            plan,
            recording,
            u64::try_from(since.as_nanos()).unwrap_or(0),
            self.stopper.is_stopping(),
        );
        run.side = side;
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
            if !self.run(&plan, None)? {
                break;
            }
            let Some(run) = self.runs.last() else { break };
            let valid = run.validity.verdict == Verdict::Valid;
            match condition.check_run(run) {
                Some((_, true)) if valid => holds = Some(rate),
                None if valid => {
                    // At lower rates there are fewer still.
                    self.cut_short = Some(format!(
                        "at {rate:.0} messages/s too few came back to tell whether {condition}: measure for longer (-d)"
                    ));
                    break;
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

//! Makes the runs, one after another, and collects them in a document.

use std::time::{Duration, SystemTime};

use mio_echo::load::{self, Progress, RunError, Stopper, Until};
use mio_echo::report::{
    Assertion, Document, DocumentBuilder, KnownMaximum, Measured, Program, RateSearch, Run, Side,
};

use super::args::BenchArgs;
use super::plans::{self, Planned, Target};
use super::progress::Display;
use crate::cli::failure::Failure;
#[cfg(feature = "metrics")]
use crate::cli::metrics::Load;

/// Makes all runs and returns the report. `note` is a sentence that the report has before its figures.
///
/// # Errors
/// No run was made: a usage error, an interruption or a failure of the first run. A failure of a later run makes the
/// report invalid.
pub(super) fn measure(
    args: &BenchArgs,
    targets: &[Target],
    plans: &[Planned],
    stopper: &Stopper,
    note: Option<&str>,
    #[cfg(feature = "metrics")] load: Option<Load>,
) -> Result<Document, Failure> {
    let options = plans::options(args, targets, plans);
    let mut series = Series {
        display: Display::new(),
        #[cfg(feature = "metrics")]
        load,
        stopper,
        builder: DocumentBuilder::new(options, SystemTime::now()).program(Program {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
    };
    match (&args.find_max, plans) {
        (Some(condition), [base, ..]) => {
            let found = series.find_max(args, condition, base)?;
            series.builder.find_max(found);
        }
        _ => series.all(plans)?,
    }
    let mut builder = series.builder;
    if let Some(note) = note {
        builder.note(note);
    }
    for condition in &args.fail_if {
        builder.fail_if(condition.clone());
    }
    Ok(builder.build())
}

/// The runs so far, and the means to make more.
struct Series<'a> {
    display: Display,
    /// The numbers of `--metrics`.
    #[cfg(feature = "metrics")]
    load: Option<Load>,
    stopper: &'a Stopper,
    builder: DocumentBuilder,
}

impl Series<'_> {
    /// Makes the planned runs in their order.
    fn all(&mut self, plans: &[Planned]) -> Result<(), Failure> {
        for (n, planned) in plans.iter().enumerate() {
            let later = plans[n + 1..].iter().map(length).sum();
            let side = planned.side.map(Side::letter);
            self.display.of(n + 1, Some(plans.len()), side, later);
            if !self.run(planned)? {
                break;
            }
        }
        if self.stopper.is_stopping() {
            self.builder.interrupt(Some(plans.len()));
        }
        Ok(())
    }

    /// Makes one run. Returns false if no further run may follow.
    fn run(&mut self, planned: &Planned) -> Result<bool, Failure> {
        let plan = &planned.plan;
        let mut window_start = SystemTime::now();
        let display = &mut self.display;
        #[cfg(feature = "metrics")]
        let load = self.load.as_ref();
        let measured = load::run(plan, self.stopper, |progress| {
            if let Progress::Started = progress {
                window_start = plan.start_at.unwrap_or_else(SystemTime::now) + plan.warmup;
            }
            display.show(plan, &progress);
            #[cfg(feature = "metrics")]
            if let Some(load) = load {
                load.add(plan, &progress);
            }
        });
        self.display.end_of_run();
        #[cfg(feature = "metrics")]
        if let Some(load) = &self.load {
            load.end_of_run(measured.as_ref().ok());
        }
        let recording = match measured {
            Ok(recording) => recording,
            // The runs before this one still make a report.
            Err(RunError::Stopped) if !self.runs().is_empty() => return Ok(false),
            Err(RunError::Stopped) => {
                return Err(Failure::Interrupted(RunError::Stopped.to_string()));
            }
            Err(why @ (RunError::Plan(_) | RunError::Source(..))) => {
                return Err(Failure::Usage(why.to_string()));
            }
            Err(error) if self.runs().is_empty() => return Err(error.into()),
            Err(error) => {
                let n = self.runs().len() + 1;
                self.builder
                    .invalidate(format!("run {n} could not be made: {error}"));
                return Ok(false);
            }
        };
        self.builder.add(Measured {
            plan,
            recording,
            window_start,
            interrupted: self.stopper.is_stopping(),
            side: planned.side,
            name: Some(planned.name.clone()),
        });
        Ok(!self.stopper.is_stopping())
    }

    fn runs(&self) -> &[Run] {
        self.builder.runs()
    }

    /// Searches for the highest rate at which the condition holds.
    fn find_max(
        &mut self,
        args: &BenchArgs,
        condition: &Assertion,
        base: &Planned,
    ) -> Result<KnownMaximum, Failure> {
        let mut search = RateSearch::new(condition.clone())?;
        let mut planned = base.clone();
        let mut n = 0;
        while let Some(rate) = search.next_rate() {
            n += 1;
            planned.plan.rate = Some(rate);
            plans::choose_seeds(args, &mut planned.plan);
            planned.plan.start_at = base.plan.start_at.filter(|_| n == 1);
            self.display.of(n, None, None, None);
            if !self.run(&planned)? {
                break;
            }
            if let Some(run) = self.runs().last() {
                search.judge(run);
            }
        }
        if self.stopper.is_stopping() {
            self.builder.interrupt(None);
        }
        if let Some(why) = search.why_undecided() {
            self.builder.invalidate(why);
        }
        Ok(search.found())
    }
}

/// Returns how long a run takes from its warm-up on; `None` for a run of a number of messages.
fn length(planned: &Planned) -> Option<Duration> {
    match planned.plan.until {
        Until::Elapsed(duration) => Some(planned.plan.warmup + duration),
        Until::Count(_) => None,
    }
}

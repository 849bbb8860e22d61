//! Makes a [`Document`] of measured runs.
//!
//! The module reads no clock. The caller passes the start of each run's window.

use std::time::SystemTime;

use super::assertion::Assertion;
use super::comparison::compare;
use super::document::{Document, Options, Program, Run, SCHEMA, Validity, Verdict};
use super::findings::KnownMaximum;
use super::knee;
use super::summary::Measured;
use super::{units, validity};
use crate::duration::ns;
use crate::environment::Environment;
use crate::{Plan, Until, Verify};

/// Makes a [`Document`]: [`add`](DocumentBuilder::add) each run, then [`build`](DocumentBuilder::build).
///
/// ```
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let target = listener.local_addr()?;
/// # std::thread::spawn(move || {
/// #     for stream in listener.incoming().flatten() {
/// #         std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
/// #     }
/// # });
/// use std::time::{Duration, SystemTime};
/// use mio_echo_load::report::{DocumentBuilder, Measured, Options, text};
/// use mio_echo_load::{Plan, Progress, Stopper, Until, run};
///
/// let mut plan = Plan::new(target.into());
/// plan.until = Until::Elapsed(Duration::from_millis(100));
/// plan.warmup = Duration::ZERO;
///
/// let mut window_start = SystemTime::now();
/// let mut builder = DocumentBuilder::new(Options::from(&plan), window_start);
/// let recording = run(&plan, &Stopper::default(), |progress| {
///     if let Progress::Started = progress {
///         window_start = SystemTime::now() + plan.warmup;
///     }
/// })?;
/// builder.add(Measured::new(&plan, recording, window_start));
/// builder.fail_if("errors>0".parse()?);
/// let document = builder.build();
/// assert_eq!(document.assertions[0].met, Some(false));
/// println!("{}", text(&document));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "only build makes the document"]
pub struct DocumentBuilder {
    /// The program that makes the document.
    program: Program,
    /// When the first run started.
    started_at: SystemTime,
    options: Options,
    /// The runs so far, already judged.
    runs: Vec<Run>,
    /// Reasons that make the whole document invalid, besides the reasons of the runs.
    reasons: Vec<String>,
    /// Notes on the whole document, besides the notes of the runs.
    notes: Vec<String>,
    /// Whether a signal ended the measurement before all planned runs were complete.
    interrupted: bool,
    /// The result of a search for the highest rate.
    find_max: Option<KnownMaximum>,
    /// The conditions that `build` checks.
    assertions: Vec<Assertion>,
}

impl DocumentBuilder {
    /// Starts a document with these options. Its first run started at `started_at`. [`Options::from`] makes the options
    /// of a plan.
    pub fn new(options: Options, started_at: SystemTime) -> DocumentBuilder {
        DocumentBuilder {
            program: Program {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            started_at,
            options,
            runs: Vec::new(),
            reasons: Vec::new(),
            notes: Vec::new(),
            interrupted: false,
            find_max: None,
            assertions: Vec::new(),
        }
    }

    /// Sets the program that makes the document. Default: this library.
    pub fn program(mut self, program: Program) -> DocumentBuilder {
        self.program = program;
        self
    }

    /// Summarises and judges a run, and adds it as the last of [`runs`](DocumentBuilder::runs).
    ///
    /// If the runs have sides, the n-th run of A is compared with the n-th run of each other side, in any order.
    pub fn add(&mut self, measured: Measured<'_>) {
        let run = Run::new(self.runs.len(), measured);
        self.runs.push(run);
    }

    /// Returns the runs so far, in the order in which they were added.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Marks the document as interrupted. `planned` is the number of planned runs, if it is known. If it is more than
    /// 1, a note says how many runs are complete.
    pub fn interrupt(&mut self, planned: Option<usize>) {
        self.interrupted = true;
        let complete = self.runs.iter().filter(|run| !run.interrupted).count();
        match planned {
            Some(1) => {}
            Some(planned) => self.note(format!(
                "interrupted: {complete} of {planned} runs are complete"
            )),
            None => {
                let runs = units::counted(complete as u64, "run");
                self.note(format!("interrupted: the search was not over after {runs}"));
            }
        }
    }

    /// Makes the whole document invalid, for this reason.
    pub fn invalidate(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// Adds a note: a limit of the figures that a reader must know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds the result of a [`RateSearch`](super::RateSearch). Then an invalid run does not make the document invalid,
    /// because the search also makes runs at rates that are too high.
    pub fn find_max(&mut self, found: KnownMaximum) {
        self.find_max = Some(found);
    }

    /// Adds a condition. The document says whether it is met. This does not change [`Options::fail_if`], which lists
    /// the conditions that the user gave.
    pub fn fail_if(&mut self, condition: Assertion) {
        self.assertions.push(condition);
    }

    /// Makes the document: judges all runs together, compares the sides if the runs have sides, finds the knee of a
    /// sweep, and checks the conditions. The environment is the system of this process.
    #[must_use]
    pub fn build(self) -> Document {
        let mut validity = self.judge();
        let comparisons = match compare(&self.runs, &self.assertions) {
            Ok(comparisons) => comparisons,
            Err(why) => {
                validity.notes.push(format!("no comparison: {why}"));
                Vec::new()
            }
        };
        let is_a_sweep_of_rates = self.options.sweep.as_deref();
        let is_a_sweep_of_rates =
            is_a_sweep_of_rates.is_some_and(|sweep| sweep.starts_with("rate="));
        let knee = match is_a_sweep_of_rates.then(|| knee::of_sweep(&self.runs)) {
            None => None,
            Some(Ok(knee)) => Some(knee),
            Some(Err(why)) => {
                validity.notes.push(why);
                None
            }
        };
        validity.notes.splice(0..0, self.notes);
        let mut document = Document {
            schema: SCHEMA.to_owned(),
            program: self.program,
            started_at: humantime::format_rfc3339_seconds(self.started_at).to_string(),
            options: self.options,
            environment: Environment::here(),
            validity,
            runs: self.runs,
            comparisons,
            interrupted: self.interrupted,
            find_max: self.find_max,
            knee,
            assertions: Vec::new(),
        };
        let results = self.assertions.iter().map(|a| a.check(&document));
        document.assertions = results.collect();
        document
    }

    /// Judges all runs together.
    fn judge(&self) -> Validity {
        let mut validity = validity::of_runs(&self.runs);
        if let Some(found) = &self.find_max {
            // The search also makes runs at rates that are too high, and they may be invalid. The search succeeded if
            // the condition held in most runs at a rate. A wrong echo is never a result of a rate.
            validity.reasons = validity::wrong_echoes_of(&self.runs);
            if found.rate.is_none() && self.reasons.is_empty() {
                validity.reasons.push(format!(
                    "{} held at no rate that was tried",
                    found.condition
                ));
            }
        }
        if self.runs.is_empty() {
            validity.reasons.push("nothing was measured".to_owned());
        }
        validity.reasons.extend(self.reasons.iter().cloned());
        // In these cases the verdicts of the runs do not decide. The document is invalid if it has a reason.
        if self.find_max.is_some() || !self.reasons.is_empty() || self.runs.is_empty() {
            validity.verdict = match validity.reasons.is_empty() {
                true => Verdict::Valid,
                false => Verdict::Invalid,
            };
        } else if self.options.sweep.is_some() && validity.verdict == Verdict::Overloaded {
            // A rate that the server cannot keep is a result of a sweep.
            validity.verdict = Verdict::Valid;
            let told = validity
                .reasons
                .drain(..)
                .map(|why| format!("overloaded: {why}"));
            validity.notes.extend(told);
        }
        validity
    }
}

/// Makes the options of one run of a plan.
impl From<&Plan> for Options {
    fn from(plan: &Plan) -> Options {
        let (duration_ns, count) = match plan.until {
            Until::Elapsed(duration) => (Some(ns(duration)), None),
            Until::Count(count) => (None, Some(count)),
        };
        Options {
            targets: vec![plan.target.to_string()],
            commands: Vec::new(),
            connections: plan.connections,
            duration_ns,
            count,
            threads: plan.threads,
            rate: plan.rate,
            arrivals: plan.rate.map(|_| plan.arrivals),
            size: plan.sizes.to_string(),
            pipeline: plan.pipeline,
            connect_rate: plan.connect_rate,
            reconnect: plan.reconnect,
            source: plan.sources.iter().map(ToString::to_string).collect(),
            no_delay: plan.no_delay,
            never_sleep: plan.never_sleep,
            pin: plan.pin.clone(),
            sndbuf: plan.send_buffer,
            rcvbuf: plan.receive_buffer,
            warmup_ns: ns(plan.warmup),
            start_at: plan
                .start_at
                .map(|at| humantime::format_rfc3339(at).to_string()),
            timeout_ns: ns(plan.timeout),
            half_close: plan.half_close,
            seed: Some(plan.seed),
            payload_key: Some(plan.payload_key),
            verify: plan.verify == Verify::Full,
            sweep: None,
            find_max: None,
            runs: 1,
            order: None,
            fail_if: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::recording::{Faults, FirstFault};
    use crate::report::Side;
    use crate::{FaultKind, Recording};

    fn plan() -> Plan {
        Plan::new("127.0.0.1:7007".parse().unwrap())
    }

    fn builder() -> DocumentBuilder {
        DocumentBuilder::new(Options::from(&plan()), UNIX_EPOCH)
    }

    /// A valid run of one message.
    fn measured(plan: &Plan) -> Measured<'_> {
        let mut recording = Recording::empty();
        recording.response.record(1_000).unwrap();
        recording.service = recording.response.clone();
        (recording.counts.ok, recording.completed) = (1, 1);
        recording.counts.scheduled = 1;
        recording.window_ns = 1_000_000_000;
        recording.health.opened = plan.connections as u64;
        Measured::new(plan, recording, UNIX_EPOCH)
    }

    #[test]
    fn a_document_without_a_run_is_invalid() {
        let document = builder().build();
        assert_eq!(document.validity.reasons, ["nothing was measured"]);
        assert_eq!(document.started_at, "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_reason_makes_a_document_of_valid_runs_invalid() {
        let plan = plan();
        let mut builder = builder();
        builder.add(measured(&plan));
        let valid = builder.clone().build();
        assert_eq!(valid.validity.verdict, Verdict::Valid, "{valid:?}");
        builder.invalidate("the second run failed");
        let invalid = builder.build();
        assert_eq!(invalid.validity.verdict, Verdict::Invalid);
        assert_eq!(invalid.validity.reasons, ["the second run failed"]);
    }

    /// Of 1,000 messages in a second 800 come back, and 100 are lost by errors of this kind.
    fn lossy(kind: FaultKind) -> Validity {
        let mut plan = plan();
        plan.rate = Some(1000.0);
        let mut recording = Recording::empty();
        recording.response.record_n(1_000_000, 900).unwrap();
        (recording.counts.scheduled, recording.counts.sent) = (1000, 1000);
        (recording.counts.ok, recording.completed) = (900, 800);
        recording.counts.failed = 100;
        recording.window_ns = 1_000_000_000;
        recording.health.opened = plan.connections as u64;
        recording.health.threads = 1;
        recording.health.idle_ns = 900_000_000;
        recording.health.least_idle_ns = 900_000_000;
        let first = FirstFault {
            connection: 0,
            offset: Some(0),
            at_ns: 0,
            detail: String::new(),
        };
        let faults = Faults {
            count: 1,
            messages: 100,
            first,
        };
        recording.faults.insert(kind, faults);
        let mut builder = builder();
        builder.add(Measured::new(&plan, recording, UNIX_EPOCH));
        builder.build().validity
    }

    #[test]
    fn timeouts_of_a_server_that_is_too_slow_are_part_of_the_result() {
        let timeouts = lossy(FaultKind::Timeout);
        assert_eq!(timeouts.verdict, Verdict::Overloaded, "{timeouts:#?}");
        let [limit, lost] = timeouts.reasons.as_slice() else {
            panic!("{timeouts:#?}");
        };
        assert!(limit.contains("the server was the limit"), "{limit}");
        assert!(lost.starts_with("100 of 1,000 messages"), "{lost}");
        let resets = lossy(FaultKind::Reset);
        assert_eq!(resets.verdict, Verdict::Invalid, "{resets:#?}");
    }

    #[test]
    fn an_interrupted_document_says_how_many_runs_are_complete() {
        let plan = plan();
        let mut builder = builder();
        builder.add(measured(&plan));
        builder.add(Measured {
            interrupted: true,
            ..measured(&plan)
        });
        for (planned, note) in [
            (Some(5), "interrupted: 1 of 5 runs are complete"),
            (None, "interrupted: the search was not over after 1 run"),
        ] {
            let mut builder = builder.clone();
            builder.interrupt(planned);
            let document = builder.build();
            assert!(document.interrupted);
            assert_eq!(document.validity.notes[0], note);
        }
    }

    #[test]
    fn a_wrong_echo_of_the_warm_up_is_named_after_an_interruption() {
        let plan = plan();
        let mut recording = Recording::empty();
        let first = FirstFault {
            connection: 3,
            offset: Some(64),
            at_ns: 0,
            detail: "changed".to_owned(),
        };
        let faults = Faults {
            count: 1,
            messages: 1,
            first,
        };
        recording.faults.insert(FaultKind::Corrupt, faults);
        let mut builder = builder();
        builder.add(Measured {
            interrupted: true,
            ..Measured::new(&plan, recording, UNIX_EPOCH)
        });
        let reasons = builder.build().validity.reasons;
        assert!(reasons[0].contains("connection 3"), "{reasons:?}");
    }

    #[test]
    fn an_invalid_run_does_not_invalidate_a_search_that_found_a_rate() {
        let plan = plan();
        let mut builder = builder();
        let mut lost = measured(&plan);
        lost.recording.counts.ok = 0;
        builder.add(lost);
        let mut found = KnownMaximum {
            condition: "p99<2ms".to_owned(),
            rate: Some(4000.0),
            bound: None,
            bound_outcome: None,
            confirmed: false,
            failed_from: None,
            held_up_to: Some(4000.0),
            tried: Vec::new(),
        };
        builder.find_max(found.clone());
        let document = builder.clone().build();
        assert_eq!(document.validity.verdict, Verdict::Valid);
        found.rate = None;
        builder.find_max(found);
        let document = builder.build();
        let reasons = document.validity.reasons;
        assert_eq!(reasons, ["p99<2ms held at no rate that was tried"]);
    }

    #[test]
    fn a_note_says_why_the_sides_cannot_be_compared() {
        let plan = plan();
        let mut builder = builder();
        builder.add(Measured {
            side: Some(Side::A),
            ..measured(&plan)
        });
        builder.note("the first note");
        let document = builder.build();
        assert_eq!(document.comparisons, []);
        let notes = &document.validity.notes;
        let [first, .., why] = notes.as_slice() else {
            panic!("{notes:?}");
        };
        assert_eq!(
            why,
            "no comparison: each side needs a run that was not interrupted"
        );
        assert_eq!(first, "the first note");
    }
}

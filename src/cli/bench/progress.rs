//! Progress of a run on standard error: a bar on a terminal, one line a second elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio_echo::load::{Plan, Progress, Until};

/// Shows the progress of one run after another.
#[derive(Debug)]
pub(super) struct Display {
    /// The bar, if standard error is a terminal.
    bar: Option<ProgressBar>,
    /// Beginning of each line: the number of this run and the number of all runs. Empty if there is only one run.
    of: String,
    /// Messages of this run that came back.
    messages: u64,
    /// Errors of this run.
    errors: u64,
    /// Time of the last line about connecting. Without a terminal, one line a second is enough.
    told: Option<Instant>,
}

impl Display {
    pub(super) fn new() -> Display {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style());
            bar
        });
        Display {
            bar,
            of: String::new(),
            messages: 0,
            errors: 0,
            told: None,
        }
    }

    /// Begins run `n` of `all`; `all` is `None` if the number of runs is not known.
    pub(super) fn of(&mut self, n: usize, all: Option<usize>, plan: &Plan) {
        let rate = plan
            .rate
            .map_or(String::new(), |rate| format!(" at {rate:.0}/s"));
        self.of = match all {
            Some(1) => String::new(),
            Some(all) => format!("run {n} of {all}, {}{rate}: ", plan.target),
            None => format!("run {n}{rate}: "),
        };
        (self.messages, self.errors) = (0, 0);
    }

    /// Shows this progress.
    pub(super) fn show(&mut self, plan: &Plan, progress: &Progress<'_>) {
        match progress {
            Progress::Connected(open) => {
                let recently = |told: Instant| told.elapsed() < Duration::from_secs(1);
                if self.bar.is_none() && *open < plan.connections && self.told.is_some_and(recently)
                {
                    return;
                }
                self.told = Some(Instant::now());
                let line = format!("connecting: {open} of {}", plan.connections);
                self.say(plan.connections as u64, *open as u64, &line);
            }
            Progress::Started if plan.start_at.is_some_and(|at| at > SystemTime::now()) => {
                self.say(1, 0, "connected: waiting for the time of --start-at");
            }
            Progress::Started if !plan.warmup.is_zero() => {
                let line = format!("warming up for {}", humantime::format_duration(plan.warmup));
                self.say(1, 0, &line);
            }
            Progress::Started => {}
            Progress::Second(second) => {
                self.messages += second.ok;
                self.errors += second.errors;
                let elapsed = Duration::from_nanos(second.start_ns + second.length_ns);
                let (of, at, told) = match plan.until {
                    Until::Elapsed(all) => (
                        all.as_millis(),
                        elapsed.as_millis(),
                        match all < Duration::from_secs(3) {
                            true => format!("{} of {} ms", elapsed.as_millis(), all.as_millis()),
                            false => format!("{} of {} s", elapsed.as_secs(), all.as_secs()),
                        },
                    ),
                    Until::Count(all) => (
                        u128::from(all),
                        u128::from(self.messages),
                        format!("{} of {}", self.messages, counted(all, "message")),
                    ),
                };
                let rate = second.ok as f64 * 1e9 / second.length_ns.max(1) as f64;
                let p99 = match second.response.is_empty() {
                    true => "–".to_owned(),
                    false => format!(
                        "{:.3} ms",
                        second.response.value_at_quantile(0.99) as f64 / 1e6
                    ),
                };
                let line = format!(
                    "{told}  {rate:.0}/s  p99 {p99}  {}  {}",
                    counted(self.errors, "error"),
                    counted(second.connections as u64, "connection")
                );
                self.say(clamped(of), clamped(at), &line);
            }
        }
    }

    /// Removes the bar, so that the report can follow.
    pub(super) fn end_of_run(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            bar.reset();
        }
    }

    fn say(&self, of: u64, at: u64, line: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(of);
                bar.set_position(at.min(of));
                bar.set_message(format!("{}{line}", self.of));
            }
            None => {
                // A closed standard error is not an error: progress is only information.
                let _ = writeln!(io::stderr(), "{}{line}", self.of);
            }
        }
    }
}

/// A number and its noun, which is in the singular for 1.
fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The number, or `u64::MAX` if it is larger.
fn clamped(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

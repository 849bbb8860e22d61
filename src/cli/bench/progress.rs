//! What is shown on standard error while it runs: a bar on a terminal, a line a second elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio_echo::load::{Plan, Progress, Until};

/// Where progress is shown.
#[derive(Debug)]
pub(super) struct Display {
    bar: Option<ProgressBar>,
    /// Which of how many runs this is, where there are several.
    of: String,
    /// Within this run.
    messages: u64,
    errors: u64,
    /// When connections were last told of, off a terminal: a line a second is enough.
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

    /// A run begins.
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

    /// Something has happened.
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
                        format!("{} of {all} messages", self.messages),
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
                    "{told}  {rate:.0}/s  p99 {p99}  {} errors  {} connections",
                    self.errors, second.connections
                );
                self.say(clamped(of), clamped(at), &line);
            }
        }
    }

    /// The report comes next.
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
                // Whoever has closed standard error does not want to be told.
                let _ = writeln!(io::stderr(), "{}{line}", self.of);
            }
        }
    }
}

fn clamped(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

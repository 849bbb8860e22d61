//! Progress of the runs on standard error: one line that is drawn again on a terminal, one line a second elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use mio_echo::load::{self, Histogram, Plan, Progress, Until};

/// Shows the progress of one run after another.
#[derive(Debug)]
pub(super) struct Display {
    /// Whether standard error is a terminal.
    is_terminal: bool,
    /// The beginning of each line: the number of this run, the number of all runs, and the side. Empty if there is only
    /// one run.
    of: String,
    /// The time that the runs after this one take; `None` if it is not known. Then the line shows the time that is left
    /// of this run.
    later: Option<Duration>,
    /// The messages of this run that came back.
    messages: u64,
    /// The errors of this run.
    errors: u64,
    /// The response times of this run so far.
    response: Histogram<u64>,
    /// The length of the last line on the terminal, in characters.
    drawn: usize,
    /// The time of the last line about connecting. Without a terminal, one line a second is enough.
    told: Option<Instant>,
}

impl Display {
    pub(super) fn new() -> Display {
        Display {
            is_terminal: io::stderr().is_terminal(),
            of: String::new(),
            later: Some(Duration::ZERO),
            messages: 0,
            errors: 0,
            response: load::histogram(),
            drawn: 0,
            told: None,
        }
    }

    /// Begins run `n` of `all`; `all` is `None` if the number of runs is not known. `side` is the letter of a target.
    /// `later` is the time that the runs after this one take.
    pub(super) fn of(
        &mut self,
        n: usize,
        all: Option<usize>,
        side: Option<char>,
        later: Option<Duration>,
    ) {
        let side = side.map_or(String::new(), |side| format!(" {side}"));
        self.of = match all {
            Some(1) => String::new(),
            Some(all) => format!("run {n}/{all}{side}: "),
            None => format!("run {n}{side}: "),
        };
        self.later = later;
        (self.messages, self.errors) = (0, 0);
        self.response = load::histogram();
    }

    /// Shows this progress.
    pub(super) fn show(&mut self, plan: &Plan, progress: &Progress<'_>) {
        match progress {
            Progress::Connected(open) => {
                let recently = |told: Instant| told.elapsed() < Duration::from_secs(1);
                let is_early = *open < plan.connections && self.told.is_some_and(recently);
                if self.is_terminal || !is_early {
                    self.told = Some(Instant::now());
                    self.say(&format!("connecting: {open} of {}", plan.connections));
                }
            }
            Progress::Started if plan.start_at.is_some_and(|at| at > SystemTime::now()) => {
                self.say("connected: waiting for the time of --start-at");
            }
            Progress::Started if !plan.warmup.is_zero() => {
                let warmup = humantime::format_duration(plan.warmup);
                self.say(&format!("warming up for {warmup}"));
            }
            Progress::Started => {}
            Progress::Second(second) => {
                self.messages += second.ok;
                self.errors += second.errors;
                // Both histograms have the same digits, and this one grows.
                let _ = self.response.add(&second.response);
                let elapsed = Duration::from_nanos(second.start_ns + second.length_ns);
                self.say(&self.measured(plan, elapsed));
            }
        }
    }

    /// Describes the run so far, after this time of its window.
    fn measured(&self, plan: &Plan, elapsed: Duration) -> String {
        let left = match plan.until {
            Until::Elapsed(all) => {
                let here = all.saturating_sub(elapsed);
                format!("{} left", clock(here + self.later.unwrap_or_default()))
            }
            Until::Count(all) => format!("{} of {all} messages", self.messages),
        };
        let rate = self.messages as f64 / elapsed.as_secs_f64().max(1e-9);
        let asked = plan
            .rate
            .map_or(String::new(), |asked| format!(" of {}", short(asked)));
        let at = |quantile| match self.response.is_empty() {
            true => "–".to_owned(),
            false => time(self.response.value_at_quantile(quantile)),
        };
        let errors = match self.errors {
            0 => String::new(),
            1 => ", 1 error".to_owned(),
            n => format!(", {n} errors"),
        };
        format!(
            "{left}, {}{asked}/s, p50 {}, p99 {}, max {}{errors}",
            short(rate),
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }

    /// Removes the line from the terminal, so that the report can follow.
    pub(super) fn end_of_run(&mut self) {
        if self.is_terminal {
            self.draw("");
        }
    }

    fn say(&mut self, line: &str) {
        let line = format!("{}{line}", self.of);
        match self.is_terminal {
            true => self.draw(&line),
            // A closed standard error is not an error: progress is only information.
            false => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    /// Draws the line in place of the last one. It is shorter than the terminal is wide, with room for the `^C` that
    /// the terminal writes when the user presses Ctrl-C: a line that wraps could not be removed.
    fn draw(&mut self, line: &str) {
        let columns = terminal_size::terminal_size_of(io::stderr())
            .map_or(WIDTH, |(width, _)| usize::from(width.0))
            .max(1);
        // If the terminal became narrower, it has wrapped the last line, and the cursor is in the last row of that.
        let rows_above = self.drawn.saturating_sub(1) / columns;
        let up = match rows_above {
            0 => String::new(),
            rows => format!("\x1b[{rows}A"),
        };
        let line: String = line.chars().take(columns.saturating_sub(MARGIN)).collect();
        self.drawn = line.chars().count();
        // CSI A moves the cursor up, CSI J clears from the cursor on (ECMA-48).
        let _ = write!(io::stderr(), "{up}\r\x1b[J{line}");
        let _ = io::stderr().flush();
    }
}

/// Writes a time in minutes and seconds: `1:05`.
fn clock(time: Duration) -> String {
    // Half a second more rounds to the nearest second.
    let seconds = (time + Duration::from_millis(500)).as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// Writes a rate: a whole number below 10,000, and three digits in thousands or millions above.
fn short(rate: f64) -> String {
    let (value, unit) = match rate {
        r if r < 9_999.5 => return format!("{r:.0}"),
        r if r < 999_500.0 => (r / 1e3, "k"),
        r => (r / 1e6, "M"),
    };
    let places = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.places$}{unit}")
}

/// Writes a time with three digits.
fn time(ns: u64) -> String {
    let ns = ns as f64;
    let (value, unit) = match ns {
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let places = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.places$} {unit}")
}

/// The width of a terminal that does not tell it.
const WIDTH: usize = 80;

/// This many columns at the end of a line stay empty.
const MARGIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_usual_line_fits_on_80_columns() {
        let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
        plan.rate = Some(200_000.0);
        plan.until = Until::Elapsed(Duration::from_secs(10));
        let mut display = Display::new();
        display.of(10, Some(12), Some('B'), Some(Duration::from_secs(720)));
        display.messages = 987_654;
        display.response.record(1_234_567_890).unwrap();
        let line = display.measured(&plan, Duration::from_secs(5));
        let line = format!("{}{line}", display.of);
        assert!(
            line.starts_with("run 10/12 B: 12:05 left, 198k of 200k/s, p50"),
            "{line}"
        );
        assert!(line.chars().count() <= WIDTH - MARGIN, "{line}");
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!(time(61_400), "61.4 µs");
        assert_eq!(time(1_200_000), "1.20 ms");
        assert_eq!(clock(Duration::from_millis(64_600)), "1:05");
        assert_eq!(short(1_234.0), "1234");
        assert_eq!(short(31_998.0), "32.0k");
        assert_eq!(short(3_494_440.0), "3.49M");
        assert_eq!(clock(Duration::from_secs(3_661)), "1:01:01");
    }
}

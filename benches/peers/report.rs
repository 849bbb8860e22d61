//! The report as Markdown, printed and written to a file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::block::{Sample, Timing};
use crate::common::output::aligned;
use crate::goals::{cpu, rate};
use crate::growth::Point;
use crate::race::{Comparison, OURS, Row};
use crate::servers::{PEERS, chooses_its_buffer};

/// The text of the report, which is printed as it grows, and the folder for its files.
pub(crate) struct Report {
    folder: PathBuf,
    text: String,
}

impl Report {
    /// Creates the folder.
    pub(crate) fn new(folder: &Path) -> io::Result<Report> {
        fs::create_dir_all(folder)?;
        Ok(Report {
            folder: folder.to_owned(),
            text: String::new(),
        })
    }

    /// Adds a text and prints it.
    pub(crate) fn say(&mut self, text: &str) {
        // Goes on if standard output is closed: the text is in the file too.
        let _ = writeln!(io::stdout(), "{text}");
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Writes a file into the folder.
    pub(crate) fn keep(&self, name: &str, content: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), content)
    }

    /// Writes the text to `peers.md`, with a table of contents.
    pub(crate) fn end(self) -> io::Result<()> {
        self.keep("peers.md", &with_contents(&self.text))?;
        let _ = writeln!(io::stdout(), "written to {}", self.folder.display());
        Ok(())
    }
}

/// Returns the text with a list of links to its sections, in front of the first one. The anchors are those of GitHub:
/// lower case, hyphens for spaces, no punctuation.
fn with_contents(text: &str) -> String {
    let anchor = |title: &str| -> String {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || *c == ' ');
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let contents: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| format!("- [{title}](#{})\n", anchor(title)))
        .collect();
    match text.find("## ") {
        Some(start) => format!("{}{contents}\n{}", &text[..start], &text[start..]),
        None => text.to_owned(),
    }
}

/// Returns the title, the machine and how it was measured.
pub(crate) fn heading(machine: &str, pinned: bool, rounds: usize, timing: Timing) -> String {
    format!(
        "# Echo servers compared\n\nFor users who compare servers. `docs/PERFORMANCE.md` explains the method.\n\n\
         {machine}; {}. Rounds: {rounds}, {} ms each. {}. The load generator verifies every \
         byte, and leaves out runs that its own rules make invalid. Figures are medians; in brackets the quartiles of \
         the rounds. Made by `cargo bench --bench peers`.\n",
        humantime::format_rfc3339_seconds(std::time::SystemTime::now())
            .to_string()
            .split('T')
            .next()
            .unwrap_or_default(),
        timing.window.as_millis(),
        match pinned {
            true =>
                "Each server runs in its own process on one core, the load generator on the other",
            false => "**Not pinned**: servers and load generator share the processors",
        },
    )
}

/// Returns the table of one workload, and the reasons of the servers that failed below it.
pub(crate) fn table(comparison: &Comparison) -> String {
    let workload = &comparison.workload;
    let bare = comparison.barest(cpu);
    let by_bare = bare.map_or("CPU ÷ bare epoll".to_owned(), |row| {
        format!("CPU ÷ {}", row.name)
    });
    let mut lines = vec![
        [
            "",
            "messages/s",
            "CPU µs/message",
            "rate ÷ mio-echo",
            "CPU ÷ mio-echo",
            &by_bare,
            "p50 µs",
            "p99 µs",
            "KiB/connection",
        ]
        .map(str::to_owned),
    ];
    lines.extend(
        comparison
            .rows
            .iter()
            .map(|row| cells(comparison, row, bare)),
    );
    format!(
        "## {}\n\n{}{}, {} bytes a message, {} in flight on each connection{}.\n\n{}\n{}",
        workload.name,
        plural(workload.clients, "client"),
        if workload.idle > 0 {
            format!(" among {} idle connections", workload.idle)
        } else {
            String::new()
        },
        workload.size,
        workload.pipeline,
        if workload.never_sleeps {
            ", a client that polls without sleeping"
        } else if workload.reconnects {
            ", a new connection for each message"
        } else {
            ""
        },
        aligned(&lines),
        faults(comparison),
    )
}

/// Returns a line for each server with rounds without figures: how many, and why the last of them has none.
pub(crate) fn faults(comparison: &Comparison) -> String {
    let line = |row: &Row| {
        let (count, last) = (row.faults().count(), row.faults().last()?);
        let rounds = row.rounds.len();
        Some(format!(
            "- **{}**, {count} of {rounds} rounds: {last}\n",
            row.name
        ))
    };
    comparison.rows.iter().filter_map(line).collect()
}

/// Returns what a reader must know about the memory of the servers.
pub(crate) fn about_memory() -> String {
    let (own, ours): (Vec<&str>, Vec<&str>) = PEERS
        .iter()
        .map(|(name, _)| *name)
        .partition(|name| chooses_its_buffer(name));
    format!(
        "KiB/connection: the growth of the server's own memory. A buffer of 64 KiB was this bench's choice for {}; the \
         two epoll loops and the mio textbook have one for all connections, the others one for each connection. In the \
         rows {} the library's own copy function chooses the buffer.\n",
        ours.join(", "),
        own.join("; ")
    )
}

fn cells(comparison: &Comparison, row: &Row, bare: Option<&Row>) -> [String; 9] {
    if row.is_empty() {
        let mut cells = [const { String::new() }; 9];
        row.name.clone_into(&mut cells[0]);
        "see below".clone_into(&mut cells[1]);
        return cells;
    }
    let median = |figure: fn(&Sample) -> f64| row.spread(figure).median;
    let by = |other: Option<&Row>, figure: fn(&Sample) -> f64| match other {
        Some(other) => row.by(other, figure).to_string(),
        None => "–".to_owned(),
    };
    let ours = comparison.row(OURS);
    [
        row.name.clone(),
        format!("{:.0}", median(rate)),
        format!("{:.2}", median(cpu)),
        by(ours, rate),
        by(ours, cpu),
        by(bare, cpu),
        micros(median(|sample| sample.p50_us)),
        micros(median(|sample| sample.p99_us)),
        format!("{:.2}", median(|sample| sample.kib)),
    ]
}

/// Writes a time; a dash if there were too few messages for it.
pub(crate) fn micros(us: f64) -> String {
    match us.is_nan() {
        true => "–".to_owned(),
        false => format!("{us:.0}"),
    }
}

/// Returns the table of the curves.
pub(crate) fn curve(points: &[Point]) -> String {
    let mut lines = vec![
        [
            "clients",
            "mio-echo, messages/s",
            "mio-echo, CPU µs",
            "rate ÷ level",
            "CPU ÷ level",
            "rate ÷ edge",
            "CPU ÷ edge",
        ]
        .map(str::to_owned),
    ];
    lines.extend(points.iter().map(|point| {
        let [level, edge] = &point.bare;
        [
            point.clients.to_string(),
            format!("{:.0}", point.ours.spread(rate).median),
            point.ours.spread(cpu).to_string(),
            point.ours.by(level, rate).to_string(),
            point.ours.by(level, cpu).to_string(),
            point.ours.by(edge, rate).to_string(),
            point.ours.by(edge, cpu).to_string(),
        ]
    }));
    format!(
        "## Growth\n\nMessages of 64 bytes. A client sends its next message when the echo is back. Level and edge are \
         the bare epoll loops.\n\n{}",
        aligned(&lines)
    )
}

pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

//! The report as Markdown, printed and written to a file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::block::{Sample, Timing};
use crate::common::output::aligned;
use crate::growth::Point;
use crate::race::{Comparison, LIMIT, OURS, Row};

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
         byte. Figures are medians; in brackets the quartiles of the rounds. Made by `cargo bench --bench peers`.\n",
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
    let mut lines = vec![
        [
            "",
            "messages/s",
            "CPU µs/message",
            "p50 µs",
            "p99 µs",
            "KiB/connection",
            "CPU ÷ epoll limit",
            "rate ÷ mio-echo",
        ]
        .map(str::to_owned),
    ];
    let mut faults = Vec::new();
    for row in &comparison.rows {
        lines.push(cells(comparison, row));
        if let Some(fault) = &row.fault {
            faults.push(format!("- **{}**: {fault}\n", row.name));
        }
    }
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
        faults.concat(),
    )
}

fn cells(comparison: &Comparison, row: &Row) -> [String; 8] {
    if row.samples.iter().all(Option::is_none) {
        let mut cells = [const { String::new() }; 8];
        row.name.clone_into(&mut cells[0]);
        "see below".clone_into(&mut cells[1]);
        return cells;
    }
    let median = |figure: fn(&Sample) -> f64| row.spread(figure).median;
    let by = |other: &str, figure: fn(&Sample) -> f64| match comparison.row(other) {
        Some(other) => row.by(other, figure).to_string(),
        None => "–".to_owned(),
    };
    [
        row.name.clone(),
        format!("{:.0}", median(|sample| sample.rate)),
        format!("{:.2}", median(|sample| sample.cpu_us)),
        format!("{:.0}", median(|sample| sample.p50_us)),
        format!("{:.0}", median(|sample| sample.p99_us)),
        format!("{:.2}", median(|sample| sample.kib)),
        by(LIMIT, |sample| sample.cpu_us),
        by(OURS, |sample| sample.rate),
    ]
}

/// Returns the table of both curves.
pub(crate) fn curve(points: &[Point]) -> String {
    let mut lines = vec![["clients", "mio-echo", "epoll limit", "ratio"].map(str::to_owned)];
    lines.extend(points.iter().map(|point| {
        [
            point.clients.to_string(),
            point.ours.to_string(),
            point.limit.to_string(),
            point.ratio.to_string(),
        ]
    }));
    format!(
        "## Growth\n\nProcessor time in µs a message of 64 bytes. A client sends its next message when the echo is \
         back.\n\n{}",
        aligned(&lines)
    )
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

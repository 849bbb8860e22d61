//! What was measured, as Markdown: the same on the terminal and in a file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::block::{Sample, Timing};
use crate::common::output::aligned;
use crate::growth::Point;
use crate::race::{Heat, LIMIT, OURS, Row};

/// A text that is printed as it grows, and its files.
pub(crate) struct Report {
    folder: PathBuf,
    text: String,
}

impl Report {
    pub(crate) fn new(folder: &Path) -> io::Result<Report> {
        fs::create_dir_all(folder)?;
        Ok(Report {
            folder: folder.to_owned(),
            text: String::new(),
        })
    }

    pub(crate) fn say(&mut self, text: &str) {
        // Whoever does not read on may still find it in the folder.
        let _ = writeln!(io::stdout(), "{text}");
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(crate) fn keep(&self, name: &str, content: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), content)
    }

    pub(crate) fn end(self) -> io::Result<()> {
        self.keep("peers.md", &self.text)?;
        let _ = writeln!(io::stdout(), "written to {}", self.folder.display());
        Ok(())
    }
}

pub(crate) fn heading(machine: &str, pinned: bool, rounds: usize, timing: Timing) -> String {
    format!(
        "# Echo servers side by side\n\n{machine}; {}. Rounds: {rounds}, {} ms each; {}, every byte verified. Medians; in brackets the quartiles of the rounds. Made by \
         `cargo bench --bench peers`.\n",
        humantime::format_rfc3339_seconds(std::time::SystemTime::now())
            .to_string()
            .split('T')
            .next()
            .unwrap_or_default(),
        timing.window.as_millis(),
        match pinned {
            true => "each server in a process of its own on one core, the load on the other",
            false => "**not pinned**: servers and load share the processors",
        },
    )
}

/// A workload's table.
pub(crate) fn table(heat: &Heat) -> String {
    let workload = &heat.workload;
    let mut lines = vec![
        [
            "",
            "messages/s",
            "CPU µs/message",
            "p50 µs",
            "p99 µs",
            "KiB/connection",
            "CPU ÷ limit's",
            "rate ÷ ours",
        ]
        .map(str::to_owned),
    ];
    let mut faults = Vec::new();
    for row in &heat.rows {
        lines.push(cells(heat, row));
        if let Some(fault) = &row.fault {
            faults.push(format!("- **{}**: {fault}\n", row.name));
        }
    }
    format!(
        "## {}\n\n{}{}, {} bytes a message, {} under way on each connection{}.\n\n{}\n{}",
        workload.name,
        plural(workload.clients, "client"),
        if workload.idle > 0 {
            format!(" among {} idle ones", workload.idle)
        } else {
            String::new()
        },
        workload.size,
        workload.pipeline,
        if workload.awake {
            ", and a client that never sleeps"
        } else if workload.reconnects {
            ", a new connection for each message"
        } else {
            ""
        },
        aligned(&lines),
        faults.concat(),
    )
}

fn cells(heat: &Heat, row: &Row) -> [String; 8] {
    if row.samples.iter().all(Option::is_none) {
        let mut cells = [const { String::new() }; 8];
        row.name.clone_into(&mut cells[0]);
        "see below".clone_into(&mut cells[1]);
        return cells;
    }
    let median = |figure: fn(&Sample) -> f64| row.spread(figure).median;
    let by = |other: &str, figure: fn(&Sample) -> f64| match heat.row(other) {
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

/// The curve's table.
pub(crate) fn curve(points: &[Point]) -> String {
    let mut lines = vec![["clients", "CPU µs/message", "the limit's", "ratio"].map(str::to_owned)];
    lines.extend(points.iter().map(|point| {
        [
            point.clients.to_string(),
            point.ours.to_string(),
            point.limit.to_string(),
            point.ratio.to_string(),
        ]
    }));
    format!(
        "## Growth\n\nClients in ping-pong, 64 bytes a message.\n\n{}",
        aligned(&lines)
    )
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

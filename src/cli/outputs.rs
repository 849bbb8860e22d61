//! The outputs of a report: text on standard output, and files for programs and browsers.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mio_echo::report::{self, Document};

use super::failure::Failure;
use super::writing::{cannot_write, is_stdout, print, write};

/// The files that a report is written to.
#[derive(Args, Debug)]
#[command(next_help_heading = REPORT)]
pub(super) struct Outputs {
    /// Write the report as JSON. With - it goes to standard output, and the text to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the report as a page, in one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the comparisons, the conditions and the runs as Markdown, for a comment on a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Write one line of comma-separated values for each second
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write one line of comma-separated values for each run
    #[arg(long, value_name = "FILE")]
    csv_runs: Option<PathBuf>,

    /// Write the response times in the text format of the HdrHistogram tools. Needs a single run
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

impl Outputs {
    /// True if `--hgrm` is given, which needs a single run.
    pub(super) fn has_hgrm(&self) -> bool {
        self.hgrm.is_some()
    }

    /// Returns the files, without standard output.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let json = self.json.as_ref().filter(|path| !is_stdout(path));
        let others = [
            &self.html,
            &self.markdown,
            &self.csv,
            &self.csv_runs,
            &self.hgrm,
        ];
        json.into_iter().chain(others.into_iter().flatten())
    }

    /// Checks that each file can be written, for a document of `runs` runs. Call it before the measurement: a file that
    /// cannot be written would lose the result.
    ///
    /// # Errors
    /// [`Failure::Usage`] for options that contradict each other, [`Failure::Message`] for a file that cannot be
    /// written.
    pub(super) fn check(&self, runs: usize) -> Result<(), Failure> {
        if self.hgrm.is_some() && runs > 1 {
            let why = "--hgrm writes one distribution, and there are several runs: use --json, which has one for each";
            return Err(Failure::Usage(why.to_owned()));
        }
        check_files(&self.files().collect::<Vec<_>>())
    }

    /// Writes the report to each output. If one output fails, the others are still written.
    ///
    /// # Errors
    /// The first output that failed.
    pub(super) fn write(&self, document: &Document) -> Result<(), Failure> {
        let mut done = Ok(());
        if let Some(path) = &self.html {
            done = done.and(write(path, &report::page(document)));
        }
        if let Some(path) = &self.markdown {
            done = done.and(write(path, &report::markdown(document)));
        }
        if let Some(path) = &self.csv {
            done = done.and(write(path, &report::csv(document)));
        }
        if let Some(path) = &self.csv_runs {
            done = done.and(write(path, &report::csv_of_runs(document)));
        }
        if let (Some(path), Some(run)) = (&self.hgrm, document.runs.first()) {
            done = done.and(write(path, &report::hgrm(run)));
        }
        let json = match &self.json {
            None => None,
            Some(path) if is_stdout(path) => Some(document.to_json()?),
            Some(path) => {
                done = done.and(write(path, &document.to_json()?));
                None
            }
        };
        let written: Vec<&PathBuf> = match done {
            Ok(()) => self.files().collect(),
            // The message on standard error says which file is missing.
            Err(_) => Vec::new(),
        };
        let text = |has_colours| {
            let text = match has_colours {
                true => report::coloured_text(document),
                false => report::text(document),
            };
            text + &wrote(&written)
        };
        match json {
            None => done.and(print(&text(has_colours(&io::stdout())))),
            Some(json) => {
                // The text is for a person who watches. A closed standard error is not an error here.
                let text = text(has_colours(&io::stderr()));
                let _ = io::stderr().write_all(text.as_bytes());
                done.and(print(&json))
            }
        }
    }
}

/// Checks that each of these files can be written, and that no two are the same.
pub(super) fn check_files(files: &[&PathBuf]) -> Result<(), Failure> {
    for (n, path) in files.iter().enumerate() {
        if is_stdout(path) {
            let why = "only --json can write to standard output (-): name a file";
            return Err(Failure::Usage(why.to_owned()));
        }
        if files[..n].contains(path) {
            let why =
                "two reports would be written to one file, and the second would replace the first";
            return Err(Failure::Usage(why.to_owned()));
        }
        let is_new = !path.exists();
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| cannot_write(path, &error))?;
        if is_new {
            // Remove the file that this check created. A file must exist only if it holds a report.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Says which files were written.
pub(super) fn wrote(files: &[&PathBuf]) -> String {
    let files = files.iter();
    let lines = files.map(|path| format!("wrote {}\n", path.display()));
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// Whether text for this stream has colours: a terminal has them, unless `NO_COLOR` is set (no-color.org).
pub(super) fn has_colours(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// Reads a report that was saved as JSON.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Document::from_json(&text).map_err(|error| format!("{} {error}", path.display()).into())
}

/// The heading of these options in the help.
pub(super) const REPORT: &str = "Report";

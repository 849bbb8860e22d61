//! Where a report goes: standard output for a person, files for programs and browsers.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mio_echo::report::{self, Document};

use super::failure::Failure;

/// The files of a report.
#[derive(Args, Debug)]
#[command(next_help_heading = REPORT)]
pub(super) struct Outputs {
    /// Write the report as JSON; - is standard output, and the text goes to standard error then
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write each second as a line of comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write the report as a page, one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the response times as HdrHistogram's tools print them; of one run only
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

impl Outputs {
    /// Whether one distribution is asked for.
    pub(super) fn has_hgrm(&self) -> bool {
        self.hgrm.is_some()
    }

    /// Whether all of it can be written: known before anything is measured, not after.
    pub(super) fn check(&self, runs: usize) -> Result<(), Failure> {
        if self.hgrm.is_some() && runs > 1 {
            let why =
                "--hgrm is one distribution, and there are several runs: --json has each of theirs";
            return Err(Failure::Usage(why.to_owned()));
        }
        let files = [&self.json, &self.csv, &self.html, &self.hgrm];
        if files[1..]
            .iter()
            .any(|path| path.as_deref().is_some_and(is_stdout))
        {
            let why = "only --json writes to standard output by -: name a file";
            return Err(Failure::Usage(why.to_owned()));
        }
        for (n, path) in files.iter().enumerate() {
            if path.is_some() && files[..n].contains(path) {
                let why = "two reports would be written to one file, the second over the first";
                return Err(Failure::Usage(why.to_owned()));
            }
        }
        for path in files.into_iter().flatten().filter(|path| !is_stdout(path)) {
            let is_new = !path.exists();
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| cannot_write(path, &error))?;
            if is_new {
                // Until there is a report there is no file.
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Writes all of it. What cannot be written keeps nothing else from being written.
    ///
    /// # Errors
    /// The first of what went wrong.
    pub(super) fn write(&self, document: &Document) -> Result<(), Failure> {
        let text = report::text(document);
        let mut done = Ok(());
        if let Some(path) = &self.html {
            done = done.and(write(path, &report::page(document)));
        }
        if let Some(path) = &self.csv {
            done = done.and(write(path, &report::csv(document)));
        }
        if let (Some(path), Some(run)) = (&self.hgrm, document.runs.first()) {
            done = done.and(write(path, &report::hgrm(run)));
        }
        let Some(path) = &self.json else {
            return done.and(print(&text));
        };
        let json = document.to_json()?;
        if is_stdout(path) {
            // For a person who looks on.
            let _ = io::stderr().write_all(text.as_bytes());
            return done.and(print(&json));
        }
        done = done.and(write(path, &json));
        done.and(print(&text))
    }
}

/// To standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
    }
}

/// Reads a report.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Document::from_json(&text).map_err(|error| format!("{} {error}", path.display()).into())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Told(format!("cannot write {}: {error}", path.display()))
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// The heading of these options.
pub(super) const REPORT: &str = "Report";

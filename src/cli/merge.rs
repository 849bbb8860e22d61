//! `mio-echo merge`: merges the saved reports of several processes that made one load together.

use std::path::PathBuf;

use clap::Args;
use mio_echo::report;

use super::conclusion::conclude;
use super::failure::Failure;
use super::outputs::{self, Outputs};

/// Merge the reports of several bench processes that made one load together. Histograms are added, so nothing is lost
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct MergeArgs {
    /// Reports written by `mio-echo bench --json`, at least two
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    outputs: Outputs,
}

/// Merges the reports, and writes the result as if one process had measured it.
pub(super) fn run(args: &MergeArgs) -> Result<(), Failure> {
    let documents: Result<Vec<_>, Failure> =
        args.files.iter().map(|path| outputs::read(path)).collect();
    let merged = report::merge(&documents?)?;
    args.outputs.check(merged.runs.len())?;
    args.outputs.write(&merged)?;
    conclude(&merged)
}

const EXIT_CODES: &str = "\
All reports need the same number of runs, and the same sizes and pipelines. Each must come from a different process, \
and all processes must have measured at the same time: use bench --start-at. The rates count the time in which all of \
them measured. It must be at least 80 % of the longest window. The exit codes are those of mio-echo bench, for the \
merged report.";

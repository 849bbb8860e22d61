//! `mio-echo merge`: several saved reports of one load, as one.

use std::path::PathBuf;

use clap::Args;
use mio_echo::report;

use super::conclusion::conclude;
use super::failure::Failure;
use super::outputs::{self, Outputs};

/// Merge reports of one load that several processes have made, without loss: histograms are added up
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct MergeArgs {
    /// Reports that `mio-echo bench --json` has written
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    outputs: Outputs,
}

/// Merges, and reports as if it had been one run.
pub(super) fn run(args: &MergeArgs) -> Result<(), Failure> {
    let documents: Result<Vec<_>, Failure> =
        args.files.iter().map(|path| outputs::read(path)).collect();
    let merged = report::merge(&documents?)?;
    args.outputs.check(merged.runs.len())?;
    args.outputs.write(&merged)?;
    conclude(&merged)
}

const EXIT_CODES: &str = "\
The reports have the same runs, sizes and pipelines, and differ in their processes. Exit codes: as of mio-echo bench, for \
the merged report.";

//! `mio-echo compare`: compares two saved reports.

use std::io;
use std::path::PathBuf;

use clap::Args;
use mio_echo::report::{
    self, Assertion, AssertionResult, Comparison, Side, Verdict, compare_documents,
};

use super::failure::Failure;
use super::failure::{CONDITION_MET, INVALID};
use super::{outputs, writing};

/// Compare two saved reports. Two sittings show whether the machine or the program made a difference only if both
/// measured the same control target first; otherwise measure both servers side by side, with mio-echo bench A B
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompareArgs {
    /// The baseline: a report written by `mio-echo bench --json`
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// The report to compare with the baseline
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// Exit with 99 if this condition is met. regress(p99)>5% is met if B is worse than A by more than 5%; rate and
    /// other percentiles are possible in place of p99. A condition may also be about B alone, such as p99>2ms. May be
    /// repeated
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Assertion>,

    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,

    /// Write the comparison as a page, in one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the comparison as Markdown, for a comment on a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Compares the reports, writes the result, and returns the exit code that follows from it.
pub(super) fn run(args: &CompareArgs) -> Result<(), Failure> {
    let files: Vec<&PathBuf> = [&args.html, &args.markdown].into_iter().flatten().collect();
    outputs::check_files(&files)?;
    let (a, b) = (outputs::read(&args.a)?, outputs::read(&args.b)?);
    let mut comparison = compare_documents(&a, &b, &args.fail_if)?;
    let target = |name: &str, path: &PathBuf| format!("{} ({name})", path.display());
    comparison.a = target(&comparison.a, &args.a);
    comparison.b = target(&comparison.b, &args.b);
    let is_invalid = [&a, &b]
        .iter()
        .any(|document| document.validity.verdict == Verdict::Invalid);
    let mut with_comparison = b.clone();
    with_comparison.comparisons = vec![comparison.clone()];
    // A condition about B alone is not about the control.
    if b.options.targets.len() > 1 {
        with_comparison.runs.retain(|run| run.side != Some(Side::A));
    }
    let results: Vec<_> = args
        .fail_if
        .iter()
        .map(|a| a.check(&with_comparison))
        .collect();
    if let Some(path) = &args.html {
        writing::write(
            path,
            &report::comparison_page(&a, &b, &comparison, &results),
        )?;
    }
    if let Some(path) = &args.markdown {
        writing::write(path, &report::comparison_markdown(&comparison, &results))?;
    }
    print(args, &comparison, &results, &files)?;
    if is_invalid || results.iter().any(|result| result.met.is_none()) {
        return Err(Failure::Code(INVALID));
    }
    match results.iter().any(|result| result.met == Some(true)) {
        true => Err(Failure::Code(CONDITION_MET)),
        false => Ok(()),
    }
}

fn print(
    args: &CompareArgs,
    comparison: &Comparison,
    results: &[AssertionResult],
    files: &[&PathBuf],
) -> Result<(), Failure> {
    if args.json {
        let both = serde_json::json!({ "comparison": comparison, "assertions": results });
        return writing::print(&(serde_json::to_string_pretty(&both)? + "\n"));
    }
    let text = match outputs::has_colours(&io::stdout()) {
        true => report::coloured_comparison_text(comparison, results),
        false => report::comparison_text(comparison, results),
    };
    writing::print(&(text + &outputs::wrote(files)))
}

const AFTER_HELP: &str = "\
Control: measure the same program first in both sittings, such as `bench CONTROL OLD --json a.json` and later \
`bench CONTROL NEW --json b.json`. Then the control removes the difference of the machine.

Exit codes: 0 compared, 1 failure, 2 usage error, 4 a report is invalid or a --fail-if condition cannot be decided, 99 \
a --fail-if condition is met, 141 the reader of standard output has gone. If 4 and 99 both apply, the exit code is 4.";

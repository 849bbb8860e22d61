//! `mio-echo compare`: compares two saved reports.

use std::path::PathBuf;

use clap::Args;
use mio_echo::report::{Assertion, compare_documents, comparison_text};

use super::failure::Failure;
use super::failure::{CONDITION_MET, INVALID};
use super::{outputs, writing};

/// Compare two saved reports: whether the second is better, worse, or different only by chance
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct CompareArgs {
    /// The baseline: a report written by `mio-echo bench --json`
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// The report to compare with the baseline
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// Exit with 99 if this condition is met. regress(p99)>5% is met if B is worse than A by more than 5%; rate and p50
    /// are possible in place of p99. A condition may also be about B alone, such as p99>2ms. May be repeated
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Assertion>,

    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

/// Compares the reports and prints the result.
pub(super) fn run(args: &CompareArgs) -> Result<(), Failure> {
    let (a, b) = (outputs::read(&args.a)?, outputs::read(&args.b)?);
    let mut comparison = compare_documents(&a, &b)?;
    let target = |name: &str, path: &PathBuf| format!("{} ({name})", path.display());
    comparison.a = target(&comparison.a, &args.a);
    comparison.b = target(&comparison.b, &args.b);
    let mut with_comparison = b;
    with_comparison.comparison = Some(comparison.clone());
    let results: Vec<_> = args
        .fail_if
        .iter()
        .map(|a| a.check(&with_comparison))
        .collect();
    if args.json {
        let both = serde_json::json!({ "comparison": comparison, "assertions": results });
        writing::print(&(serde_json::to_string_pretty(&both)? + "\n"))?;
    } else {
        writing::print(&comparison_text(&comparison, &results))?;
    }
    if results.iter().any(|result| result.met.is_none()) {
        return Err(Failure::Code(INVALID));
    }
    match results.iter().any(|result| result.met == Some(true)) {
        true => Err(Failure::Code(CONDITION_MET)),
        false => Ok(()),
    }
}

const EXIT_CODES: &str = "\
Exit codes: 0 compared, 1 failure, 2 usage error, 4 a --fail-if condition cannot be decided, 99 a --fail-if \
condition is met, 141 the reader of standard output has gone. If 4 and 99 both apply, the exit code is 4.";

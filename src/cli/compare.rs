//! `mio-echo compare`: two saved reports.

use std::path::PathBuf;

use clap::Args;
use mio_echo::report::{Assertion, compare_documents, comparison_text};

use super::failure::Failure;
use super::failure::{CONDITION_MET, INVALID};
use super::outputs;

/// Compare two saved reports: whether the second is better or worse, or whether it is chance
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct CompareArgs {
    /// What is compared with: a report that `mio-echo bench --json` has written
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// What is compared
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// Exit with 99 if this is so: regress(p99)>5%, or of rate or p50; others, such as p99>2ms, are about the second. May
    /// be repeated
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Assertion>,

    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

/// Compares, and says what can be said.
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
        outputs::print(&(serde_json::to_string_pretty(&both)? + "\n"))?;
    } else {
        outputs::print(&comparison_text(&comparison, &results))?;
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
Exit codes: 0 compared, 1 failure, 2 usage error, 4 a --fail-if cannot be decided, 99 a --fail-if was met.";

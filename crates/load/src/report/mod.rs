//! Makes a report of measured runs and judges whether it is valid. It uses no socket and reads no clock.
//!
//! A [`DocumentBuilder`] takes the [`Recording`](crate::Recording) of each run and makes a [`Document`]. [`text()`],
//! [`page()`], [`csv`], [`hgrm`] and [`Document::to_json`] write it. [`compare_documents`] compares two documents, and
//! [`merge`] makes one document of several. An [`Assertion`] is a condition on a document.

mod assertion;
mod builder;
mod comparison;
mod document;
mod findings;
mod knee;
mod latency;
mod markdown;
mod merging;
mod options;
mod page;
mod rate_search;
mod side;
mod student;
mod summary;
mod tables;
mod text;
mod units;
mod validity;

pub use assertion::{Assertion, AssertionError, Checked, Operator, Quantity, Times};
pub use builder::DocumentBuilder;
pub use comparison::{ComparisonError, compare, compare_documents};
pub use document::{
    Document, ErrorSummary, Fairness, FirstError, Generator, IntervalSummary, LatencySet, Limit,
    Loop, Options, Parameters, Program, ReadError, Run, SCHEMA, SizeLatency, Throughput, Validity,
    Verdict,
};
pub use findings::{
    AssertionResult, Comparison, Difference, Finding, Knee, KnownMaximum, Metric, Origin, Outcome,
    RatioInterval, TriedRate,
};
pub use latency::Latency;
pub use markdown::{comparison_markdown, markdown};
pub use merging::{MergeError, merge};
pub use page::{comparison_page, page};
pub use rate_search::RateSearch;
pub use side::Side;
pub use summary::Measured;
pub use tables::{csv, csv_of_runs, hgrm};
pub use text::{coloured_comparison_text, coloured_text, comparison_text, text};

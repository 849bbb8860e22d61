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
mod latency;
mod merging;
mod page;
mod rate_search;
mod summary;
mod tables;
mod text;
mod units;
mod validity;

pub use assertion::{Assertion, AssertionError, Checked, Operator, Quantity, Times};
pub use builder::DocumentBuilder;
pub use comparison::{ComparisonError, compare, compare_documents};
pub use document::{
    Document, ErrorSummary, Fairness, FirstError, Generator, IntervalSummary, KnownMaximum,
    LatencySet, Loop, Options, Parameters, Program, ReadError, Run, SCHEMA, Side, Throughput,
    Validity, Verdict,
};
pub use findings::{AssertionResult, Comparison, Metric};
pub use latency::Latency;
pub use merging::{MergeError, merge};
pub use page::page;
pub use rate_search::RateSearch;
pub use summary::Measured;
pub use tables::{csv, hgrm};
pub use text::{comparison_text, text};

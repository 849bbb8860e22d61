//! What a measurement means: from a [`Recording`](crate::load::Recording) to a verdict, a text, a JSON document, a page;
//! and from several of them to a comparison, or to one of them all. Knows no socket and reads no clock.

mod assertion;
mod comparison;
mod document;
mod findings;
mod latency;
mod merging;
mod page;
mod summary;
mod tables;
mod text;
mod units;
mod validity;

pub use assertion::{Assertion, Operator, Quantity, parse_number};
pub use comparison::{ComparisonError, compare, compare_documents};
pub use document::{
    Document, ErrorSummary, Fairness, FirstError, Generator, IntervalSummary, KnownMaximum,
    LatencySet, Loop, Options, Parameters, Program, Run, SCHEMA, Side, Throughput, Validity,
    Verdict,
};
pub use findings::{AssertionResult, Comparison, Metric};
pub use latency::Latency;
pub use merging::{MergeError, merge};
pub use page::page;
pub use summary::summarise;
pub use tables::{csv, hgrm};
pub use text::{comparison_text, text};
pub use validity::of_runs as document_validity;

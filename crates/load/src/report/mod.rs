//! What a measurement means: from a [`Recording`](crate::Recording) to a verdict, a text, a JSON document, a
//! page; and from several of them to a comparison, or to one of them all. Knows no socket and reads no clock.
//!
//! A [`DocumentBuilder`] makes a [`Document`] of runs. [`text()`], [`page()`], [`csv`] and [`Document::to_json`] show it;
//! [`compare_documents`] and [`merge`] take several; an [`Assertion`] is a condition on one.

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

pub use assertion::{Assertion, AssertionError, Operator, Quantity};
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

//! `--metrics`: a page for a person and OpenMetrics for Prometheus, over HTTP, on a thread of its own.
//!
//! [`http`] answers requests, and bounds what a client can use. [`serving`] has the numbers of `serve`, and [`loading`]
//! those of `bench`. Each offers its numbers in two forms: as OpenMetrics, and as the [`status`] that the page draws.

mod http;
#[cfg(feature = "load")]
mod loading;
mod measured;
mod serving;
mod status;

pub(super) use http::{DESCRIPTORS, Site};
#[cfg(feature = "load")]
pub(super) use loading::Load;
pub(super) use serving::Serving;

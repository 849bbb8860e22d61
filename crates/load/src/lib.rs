//! The load generator: connects to an echo server, verifies every byte of every echo and measures the times without
//! coordinated omission.
//!
//! A [`Plan`] says what to do. [`run`] carries it out and returns a [`Recording`]. The module [`report`] makes
//! figures of a recording and judges whether they are valid.
//!
//! ```
//! use std::time::Duration;
//! use mio_echo_load::{Plan, Stopper, Until, run};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let target = listener.local_addr()?;
//! # std::thread::spawn(move || {
//! #     for stream in listener.incoming().flatten() {
//! #         std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
//! #     }
//! # });
//!
//! let mut plan = Plan::new(target.into());
//! plan.until = Until::Elapsed(Duration::from_millis(100));
//! plan.warmup = Duration::ZERO;
//! let recording = run(&plan, &Stopper::default(), |_| ())?;
//! assert!(recording.counts.ok > 0);
//! assert_eq!(recording.counts.errors, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::disallowed_methods,
        reason = "a panic makes a test fail"
    )
)]

#[cfg(feature = "bench_support")]
#[doc(hidden)]
pub mod bench_support;
mod diagnosis;
mod driver;
mod duration;
mod environment;
mod exchange;
mod names;
mod number;
mod pace;
mod payload;
mod plan;
mod presence;
mod recorder;
mod recording;
pub mod report;
mod runner;
mod schedule;
mod sizes;
mod start_barrier;
mod stopper;

pub use diagnosis::FaultKind;
pub use environment::Environment;
pub use exchange::Verify;
pub use hdrhistogram::Histogram;
pub use names::UnknownName;
pub use number::{Number, ParseNumberError};
pub use plan::{Plan, PlanError, Until, random_seed};
pub(crate) use recording::add;
pub use recording::{Counts, Faults, FirstFault, Health, Interval, Recording, histogram};
pub use runner::{Progress, RunError, run, run_on};
pub use schedule::Arrivals;
pub use sizes::{SizeClass, Sizes, SizesError};
pub use stopper::Stopper;

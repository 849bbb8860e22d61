//! The echo server: [`lifecycle`] binds and stops it, [`event_loop`] runs it, and [`connection`] echoes the bytes of a
//! peer.

mod acceptor;
mod bind;
mod buffers;
mod config;
mod connection;
mod control;
mod event_loop;
mod lifecycle;
mod limits;
mod log_limiter;
mod memory;
mod quota;
mod run_queue;
#[cfg(test)]
mod scripted;
#[cfg(all(unix, any(test, feature = "simulation")))]
pub(crate) mod simulation;
mod stats;
mod sweeps;
mod table;
mod timeouts;
mod trace;
mod turns;

pub use bind::{BindError, Passed};
#[cfg(feature = "bench_support")]
pub(crate) use buffers::Buffers;
pub use config::Config;
#[cfg(feature = "bench_support")]
pub(crate) use connection::{Answer, Connection, PumpLimits};
pub use control::Handle;
pub use lifecycle::{RunningServer, Server};
#[cfg(feature = "bench_support")]
pub(crate) use limits::TURN_BUDGET;
#[cfg(feature = "bench_support")]
pub(crate) use quota::Quota;
#[cfg(feature = "bench_support")]
pub(crate) use stats::Counters;
pub use stats::{AcceptErrors, Closed, Stats};
#[cfg(feature = "bench_support")]
pub(crate) use trace::PeerTracer;
pub use turns::{Histogram, Turns};

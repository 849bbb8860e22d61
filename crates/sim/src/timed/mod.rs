//! A simulated kernel in virtual nanoseconds, where every call costs time: for programs that measure times.
//!
//! A [`Network`] joins two hosts. The client's program always runs on the first one, over a [`TimedPoller`]. The server
//! is a written-down [`Behaviour`] of the kernel, or a second program on the other host.
//!
//! - **Time** moves only in calls: each one costs what [`Costs`] says. Reading the clock is free, as with the vDSO
//!   (vdso(7)). A [`Stall`] takes the processor away from the client's program.
//! - **Events** are edge-triggered, as with `EPOLLET` (epoll(7)): each arrival is reported once, and room to write only
//!   after a `WouldBlock`.
//! - **Buffers** are finite in both directions. A [`Link`] has a delay and a rate.
//! - A [`Ledger`] holds the truth about each message: when it was offered, served, arrived and back.
//!
//! Two programs run on two threads, but never at the same time: a call waits until its host has the smallest clock. So
//! a run depends on the settings only.
//!
//! The module [`kernel`](crate::kernel) simulates the kernel of a server. It counts milliseconds, time moves there only
//! inside a poll, and its decisions are random. This module decides nothing at random except the service times of
//! [`Times::Exponential`].

mod behaviour;
mod flow;
mod host;
mod ledger;
mod network;
mod settings;
mod sockets;
#[cfg(test)]
mod tests;

pub use ledger::{ConnectionLedger, InjectedError, Ledger, MessageTimes};
pub use network::Network;
pub use settings::{
    Behaviour, Costs, Injection, Link, NetworkSettings, Pause, Stall, StallKind, Times, Wrong,
};
pub use sockets::{TimedListener, TimedPoller, TimedStream, TimedWaker};

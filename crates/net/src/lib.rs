//! The interface between the event loops of mio-echo and the kernel, as traits, and its implementation for the real
//! kernel.
//!
//! - The traits: [`Poller`](poller::Poller), [`Connector`](connect::Connector) for clients, [`Socket`](stream::Socket),
//!   [`Pipe`](pipe::Pipe). A simulated kernel implements them too.
//! - The implementation with mio: [`MioPoller`](poller::MioPoller), [`Stream`](stream::Stream),
//!   [`Listener`](socket::Listener), [`KernelPipe`](pipe::KernelPipe).
//! - Addresses, listening, connecting, socket options, the descriptor limit.
//!
//! This crate contains nothing that is specific to an echo, a server or a load generator. It is made for the crates of
//! mio-echo only: its interface is not stable and may change with every version.

#![warn(clippy::disallowed_methods)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test may wait for the real kernel"
    )
)]

pub mod address;
mod clock;
pub mod connect;
pub mod delivery;
pub mod descriptors;
pub mod outcome;
pub mod pipe;
pub mod poller;
pub mod socket;
#[cfg(unix)]
mod socket_file;
pub mod stream;
pub mod threads;

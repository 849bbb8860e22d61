//! All that an event loop of mio-echo asks of a kernel, and the real kernel behind it.
//!
//! - The traits: [`Poller`](poller::Poller), [`Connector`](connect::Connector) for clients, [`Socket`](stream::Socket),
//!   [`Pipe`](pipe::Pipe). A simulated kernel implements them too.
//! - mio and the system behind them: [`MioPoller`](poller::MioPoller), [`Stream`](stream::Stream),
//!   [`Listener`](socket::Listener), [`KernelPipe`](pipe::KernelPipe).
//! - Addresses, listening, connecting, socket options, the descriptor limit.
//!
//! Knows nothing of echoes, of servers or of load generators. Made for the crates of mio-echo: its interface follows their
//! needs from version to version.

#![warn(clippy::disallowed_methods)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test may wait for a real kernel"
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

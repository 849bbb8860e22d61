//! An echo server for thousands of clients on one nonblocking event loop. Its comments name each pitfall of the kernel.
//! The feature `load` adds a load generator that compares every byte and reports whether its measurement is valid.
//!
//! One thread polls a [mio](https://docs.rs/mio) `Poll`. Its listening sockets and accepted streams are in one slab.
//! The loop writes back each byte that it reads. Bytes that the kernel does not accept at once are the connection's
//! pending write. The loop reads no further bytes of that connection before the pending write is written.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let server = mio_echo::Server::spawn()?;
//! let mut client = std::net::TcpStream::connect(server.local_addr())?;
//! client.write_all(b"hello")?;
//! let mut echo = [0; 5];
//! client.read_exact(&mut echo)?;
//! assert_eq!(&echo, b"hello");
//! drop(client);
//! assert_eq!(server.stop()?.accepted, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to read first
//!
//! | to learn | read |
//! |---|---|
//! | the steps of one turn of the event loop | `src/server/event_loop.rs` |
//! | partial reads and writes, back-pressure, half-close | `src/server/connection.rs` |
//! | what mio's selectors guarantee, and what they do not | `crates/net/src/poller.rs` |
//! | how the server handles each error of accept(2) | `src/server/acceptor.rs` |
//! | timeouts of thousands of connections, in constant time | `src/server/timeouts.rs` |
//! | the socket options, and the reason for each | `crates/net/src/socket.rs` |
//! | a client that compares every byte of the echo | `crates/load/src/exchange.rs`, `payload.rs` |
//! | sending on schedule, and recording the results | `crates/load/src/schedule.rs`, `recorder.rs` |
//! | when a measurement is invalid | `crates/load/src/report/validity.rs` |

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
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
mod server;

#[cfg(feature = "load")]
pub use load;
#[cfg(feature = "load")]
pub use load::report;
pub use net::address::{Address, Host, ParseAddressError, Port};
pub use net::descriptors::raise_descriptor_limit;
#[cfg(all(unix, feature = "simulation"))]
#[doc(hidden)]
pub use server::simulation::check_tape;
pub use server::{
    AcceptErrors, BindError, Closed, Config, Handle, Histogram, Passed, RunningServer, Server,
    Stats, Turns,
};

//! An echo server on one nonblocking event loop: thousands of clients, nothing lost, every pitfall of the kernel named. With the
//! feature `load` also a load generator whose figures can be believed.
//!
//! One thread polls a [mio](https://docs.rs/mio) `Poll`, keeps its listening sockets and every accepted stream in one slab, and
//! writes back what it reads. What the kernel does not take at once is the connection's pending write, and its peer is not read
//! before that is written.
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
//! | what a turn of an event loop is | `src/server/event_loop.rs` |
//! | partial reads and writes, back-pressure, half-close | `src/server/connection.rs` |
//! | what mio's selectors promise, and what they do not | `crates/net/src/poller.rs` |
//! | what each failure of accept asks for | `src/server/acceptor.rs` |
//! | thousands of timeouts in constant time | `src/server/timeouts.rs` |
//! | socket options, and why | `crates/net/src/socket.rs` |
//! | a client that verifies what comes back, byte by byte | `crates/load/src/exchange.rs`, `payload.rs` |
//! | sending on schedule, and measuring what that takes | `crates/load/src/schedule.rs`, `recorder.rs` |
//! | when a measurement is not to be believed | `crates/load/src/report/validity.rs` |

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
        reason = "a test that panics has failed"
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
pub use server::{AcceptErrors, BindError, Closed, Config, Handle, RunningServer, Server, Stats};

//! An echo server on one nonblocking event loop: thousands of clients, nothing lost, every kernel surprise named. And a
//! [load generator](load) whose figures can be believed.
//!
//! One thread polls a [mio](https://docs.rs/mio) `Poll`, keeps its listening sockets and every accepted stream in one
//! slab, and writes back what it reads. What the kernel will not take at once waits in the connection's own buffer,
//! and its peer is not read before that is out.
//!
//! ```
//! use std::io::{Read, Write};
//! use mio_echo::{Config, Server};
//!
//! let addresses = vec!["127.0.0.1:auto".parse()?];
//! let server = Server::bind(&Config { addresses, ..Config::default() })?;
//! let (address, handle) = (server.local_addresses()[0].to_string(), server.handle());
//! let running = std::thread::spawn(|| server.run());
//!
//! let mut client = std::net::TcpStream::connect(address)?;
//! client.write_all(b"hello")?;
//! let mut echo = [0; 5];
//! client.read_exact(&mut echo)?;
//! assert_eq!(&echo, b"hello");
//! drop(client);
//!
//! handle.shutdown();
//! assert_eq!(running.join().unwrap()?.accepted, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to read first
//!
//! | to learn | read |
//! |---|---|
//! | what a turn of an event loop is | `server/event_loop.rs` |
//! | partial reads and writes, back-pressure, half-close | `server/connection.rs` |
//! | what mio's selectors promise, and what they do not | `poller.rs` |
//! | what each failure of accept asks for | `server/acceptor.rs` |
//! | thousands of timeouts in constant time | `server/timeouts.rs` |
//! | socket options, and why | `socket.rs` |
//! | a client that verifies what comes back, byte by byte | `load/exchange.rs`, `load/payload.rs` |
//! | sending on schedule, and measuring what that takes | `load/schedule.rs`, `load/recorder.rs` |
//! | when a measurement is not to be believed | `report/validity.rs` |

#[macro_use]
mod planted;

mod address;
mod clock;
mod connect;
mod delivery;
mod environment;
mod limits;
pub mod load;
mod pipe;
mod poller;
mod refusal;
pub mod report;
mod server;
mod socket;
#[cfg(unix)]
mod socket_file;
mod stream;
#[doc(hidden)]
pub mod workbench;

pub use address::{Address, Host, ParseAddressError, Port};
pub use environment::Environment;
pub use limits::raise_descriptor_limit;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use server::simulation::fuzz;
pub use server::{AcceptErrors, BindError, Closed, Config, Handle, Server, Stats};

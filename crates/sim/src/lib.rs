//! A simulated kernel with a virtual clock, behind the traits of mio-echo-net: for tests and fuzzing.
//!
//! A program that is written for [`Poller`](net::poller::Poller) and [`Socket`](net::stream::Socket) runs on it without
//! change. This documentation calls that program the server, because it accepts connections. The peers are part of the
//! simulation. Each of them expects an echo: it waits until it has received as many bytes as it has sent. The kernel
//! does not compare the bytes.
//!
//! - A [`Tape`](tape::Tape) determines a run: the same tape gives the same trace. A tape comes from a seed ([`seeds`])
//!   or from a fuzzer. proptest shrinks a tape that causes a violation.
//! - A [`Script`](script::Script) is decoded from the tape. It has the limits and faults of the
//!   [`World`](script::World), and the actions of each peer. The last lane of the tape holds the decisions of the
//!   kernel during the run ([`Choices`](tape::Choices)).
//! - A [`Kernel`](kernel::Kernel) runs the script. [`SimulatedPoller`](sockets::SimulatedPoller) is its interface to
//!   the server.
//! - An [`Observer`](observer::Observer) gets reports of the server's calls, and returns the violations that it finds.
//! - The module [`timed`] is another kernel: for a load generator, with calls that cost virtual nanoseconds.
//!
//! # How to use it
//!
//! ```
//! use std::cell::RefCell;
//! use std::rc::Rc;
//!
//! use net::poller::Poller;
//! use mio_echo_sim::kernel::Kernel;
//! use mio_echo_sim::observer::NullObserver;
//! use mio_echo_sim::script::{Action, Script, World};
//! use mio_echo_sim::sockets::SimulatedPoller;
//! use mio_echo_sim::tape::Choices;
//!
//! let script = Script::of(World::simple(), &[&[Action::Send(3)]]);
//! let observer = Rc::new(RefCell::new(NullObserver));
//! let kernel = Kernel::new(&script, Choices::of(&[]), observer);
//! let mut poller = SimulatedPoller::new(Rc::new(RefCell::new(kernel)));
//! let mut listener = poller.listener(None);
//! poller.register_listener(&mut listener, 0)?;
//! let mut events = Vec::new();
//! // The poll returns when the peer has connected.
//! poller.poll(&mut events, None)?;
//! let (stream, peer) = poller.accept(&mut listener)?;
//! assert_eq!(peer.to_string(), "peer 0");
//! drop(stream);
//! assert_eq!(poller.kernel().borrow_mut().take_violation(), None);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What the kernel checks itself
//!
//! These rules hold for every server:
//!
//! - The server deregisters a stream before it closes it, and registers no key twice.
//! - The buffer of a read has room for at least one byte, and a write has at least one byte. A pipe is empty before the
//!   server fills it again.
//! - The server does not go on polling without progress.
//! - The server stops when it is told to stop.
//! - The server serves every peer to the end. When nothing can happen any more, faults end and every peer reads. Then
//!   each connection must end.
//!
//! The observer makes all other checks.

#![cfg(unix)]

mod acting;
mod calls;
pub mod kernel;
pub mod observer;
pub mod peer;
pub mod script;
pub mod seeds;
mod selector;
mod shrinking;
pub mod sockets;
mod splicing;
pub mod tape;
#[cfg(test)]
mod tests;
pub mod timed;
pub mod trace;
pub mod wire;

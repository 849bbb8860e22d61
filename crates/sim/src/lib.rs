//! A simulated kernel with a virtual clock, behind the traits of mio-echo-net: for tests and fuzzing.
//!
//! A program that is written against [`Poller`](net::poller::Poller) and [`Socket`](net::stream::Socket) runs on it
//! unchanged. Here that program is called the server, because it is the side that accepts. The peers are part of the
//! simulation, and expect an echo: each of them is content when it has got as many bytes as it has sent. Which bytes
//! the server writes is not the kernel's business.
//!
//! - A run is a function of its [`Tape`](tape::Tape): the same tape gives the same trace. A tape comes from a seed,
//!   from proptest, which shrinks it ([`seeds`]), or from a fuzzer.
//! - A [`Script`](script::Script) is decoded from the tape: the [`World`](script::World) with its limits and faults,
//!   and what each peer does. The tape's last lane answers every question that the kernel has on the way
//!   ([`Choices`](tape::Choices)).
//! - A [`Kernel`](kernel::Kernel) runs the script. [`SimulatedPoller`](sockets::SimulatedPoller) is its interface to
//!   the server.
//! - An [`Observer`](observer::Observer) learns of each call of the server, and says what was wrong with it.
//!
//! # How to use it
//!
//! ```
//! use std::cell::RefCell;
//! use std::rc::Rc;
//!
//! use net::poller::Poller;
//! use mio_echo_sim::kernel::Kernel;
//! use mio_echo_sim::observer::Indifferent;
//! use mio_echo_sim::script::{Action, Script, World};
//! use mio_echo_sim::sockets::SimulatedPoller;
//! use mio_echo_sim::tape::Choices;
//!
//! let script = Script::of(World::tame(), &[&[Action::Send(3)]]);
//! let observer = Rc::new(RefCell::new(Indifferent));
//! let kernel = Kernel::new(&script, Choices::of(&[]), observer);
//! let mut poller = SimulatedPoller::new(Rc::new(RefCell::new(kernel)));
//! let mut listener = poller.listener(None);
//! poller.register_listener(&mut listener, 0)?;
//! let mut events = Vec::new();
//! // Returns when the peer has connected.
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
//! - It deregisters a stream before it closes it, and registers no key twice.
//! - It reads and writes at least one byte at a time, and empties a pipe before it fills it again.
//! - It does not poll for ever without effect.
//! - It stops when it is told to.
//! - It forgets no peer. When nothing can happen any more, faults cease and every peer reads. Then each connection
//!   has to come to an end.
//!
//! All other checks are the observer's.

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
pub mod trace;
pub mod wire;

//! The server's interface to the simulated kernel: the traits that the real kernel's sockets implement too.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use net::delivery::Delivery;
use net::poller::{Event, Poller, Signal};
use net::stream::Socket;

use crate::kernel::{self, Kernel};
use crate::observer::How;
pub use crate::splicing::SimulatedPipe;

/// The selector of a simulated kernel, and its listeners.
#[derive(Debug)]
pub struct SimulatedPoller {
    kernel: Rc<RefCell<Kernel>>,
}

/// A listening socket of the simulated kernel. It holds the number of the listener.
#[derive(Debug)]
pub struct SimulatedListener(usize);

/// A stream of the simulated kernel. Dropping it closes it.
#[derive(Debug)]
pub struct SimulatedStream {
    kernel: Rc<RefCell<Kernel>>,
    /// The number of the peer at the other end.
    peer: usize,
}

/// The name of a peer, such as "peer 3".
#[derive(Debug)]
pub struct Name(usize);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

impl SimulatedPoller {
    /// Creates the selector of a kernel.
    pub fn new(kernel: Rc<RefCell<Kernel>>) -> SimulatedPoller {
        SimulatedPoller { kernel }
    }

    /// The kernel of this selector.
    pub fn kernel(&self) -> &RefCell<Kernel> {
        &self.kernel
    }

    /// Opens a listening socket. Its connections inherit `give_up_after` (`TCP_USER_TIMEOUT`).
    pub fn listener(&self, give_up_after: Option<Duration>) -> SimulatedListener {
        let listeners = &mut self.kernel.borrow_mut().listeners;
        listeners.push(kernel::Listener {
            user_timeout: give_up_after.map(in_ms),
            ..kernel::Listener::default()
        });
        SimulatedListener(listeners.len() - 1)
    }
}

impl Poller for SimulatedPoller {
    type Listener = SimulatedListener;
    type Stream = SimulatedStream;
    type PeerName = Name;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.kernel.borrow_mut().poll(events, timeout);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.kernel.borrow().instant()
    }

    fn signal(&mut self) -> Option<Signal> {
        self.kernel.borrow_mut().signal.take()
    }

    fn accept(&mut self, listener: &mut SimulatedListener) -> io::Result<(SimulatedStream, Name)> {
        let peer = self.kernel.borrow_mut().accept(listener.0)?;
        let kernel = self.kernel.clone();
        Ok((SimulatedStream { kernel, peer }, Name(peer)))
    }

    fn backlog_length(&self, listener: &SimulatedListener) -> Option<usize> {
        self.kernel.borrow_mut().backlog_length(listener.0)
    }

    fn register_listener(
        &mut self,
        listener: &mut SimulatedListener,
        key: usize,
    ) -> io::Result<()> {
        let listener = &mut self.kernel.borrow_mut().listeners[listener.0];
        listener.key = Some(key);
        listener.armed = true;
        Ok(())
    }

    fn register_stream(&mut self, stream: &mut SimulatedStream, key: usize) -> io::Result<()> {
        self.kernel.borrow_mut().register(stream.peer, key)
    }

    fn deregister_listener(&mut self, listener: &mut SimulatedListener) {
        self.kernel.borrow_mut().close_listener(listener.0);
    }

    fn deregister_stream(&mut self, stream: &mut SimulatedStream) {
        self.kernel.borrow_mut().deregister(stream.peer);
    }

    fn short_read_means_empty(&self, _: &SimulatedStream) -> bool {
        self.kernel.borrow().world.short_read_means_empty()
    }
}

impl Read for SimulatedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.kernel
            .borrow_mut()
            .read(self.peer, buffer, How::Consume)
    }
}

impl Write for SimulatedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kernel.borrow_mut().write(self.peer, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for SimulatedStream {
    type Pipe = SimulatedPipe;

    fn splice_in(&mut self, pipe: &mut SimulatedPipe, most: usize) -> io::Result<usize> {
        self.kernel.borrow_mut().splice_in(self.peer, pipe, most)
    }

    fn splice_out(&mut self, pipe: &mut SimulatedPipe, held: usize) -> io::Result<usize> {
        self.kernel.borrow_mut().splice_out(self.peer, pipe, held)
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.kernel.borrow_mut().read(self.peer, buffer, How::Peek)
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        self.kernel.borrow_mut().shut_down_writing(self.peer)
    }

    fn received(&self) -> u32 {
        self.kernel.borrow_mut().received(self.peer)
    }

    fn delivery(&self) -> Option<Delivery> {
        self.kernel.borrow().delivery(self.peer)
    }

    fn shares_our_processor(&self) -> bool {
        false
    }

    fn take_error(&self) -> Option<io::Error> {
        self.kernel.borrow_mut().take_error(self.peer)
    }

    fn give_up_after(&mut self, time: Option<Duration>) {
        let peer = &mut self.kernel.borrow_mut().peers[self.peer];
        peer.wire.user_timeout = time.map(in_ms);
    }

    fn reset_on_close(&mut self) {
        self.kernel.borrow_mut().peers[self.peer]
            .wire
            .reset_on_close = true;
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        // After a panic nothing more is checked: the panic is the violation.
        if std::thread::panicking() {
            return;
        }
        if let Ok(mut kernel) = self.kernel.try_borrow_mut() {
            kernel.close(self.peer);
        }
    }
}

fn in_ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

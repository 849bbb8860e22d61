//! The interface by which the kernel reports the server's calls to a test, and the test reports violations.

use std::fmt;
use std::io;
use std::time::Duration;

use net::poller::Event;

/// The result of a check: `Ok`, or the description of a violation. The first violation ends the run.
pub type Checked = Result<(), String>;

/// Observes what the server does on a kernel of type `K`. The only such type is [`Kernel`](crate::kernel::Kernel).
///
/// Most methods report one call of the server, and run after it. [`polls`](Observer::polls) and the methods that start
/// with `closing` run before their call. [`stops`](Observer::stops) and [`gave_up`](Observer::gave_up) report actions
/// of the kernel, and [`is_busy_polling`](Observer::is_busy_polling) answers a question of the kernel. By default no
/// method does anything.
///
/// The kernel gives the time ([`Kernel::now`](crate::kernel::Kernel::now)) and both ends of each connection
/// ([`Kernel::wire`](crate::kernel::Kernel::wire)).
pub trait Observer<K>: fmt::Debug {
    /// The server is about to poll, and waits for at most `timeout`; `None`: without a limit.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn polls(&mut self, kernel: &K, timeout: Option<Duration>) -> Checked {
        let _ = (kernel, timeout);
        Ok(())
    }

    /// A poll has returned these events.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn polled(&mut self, kernel: &K, events: &[Event]) -> Checked {
        let _ = (kernel, events);
        Ok(())
    }

    /// Returns true while the server is busy polling. A poll that finds nothing then takes 1 ms and counts as progress.
    fn is_busy_polling(&self, kernel: &K) -> bool {
        let _ = kernel;
        false
    }

    /// The kernel tells the server to stop. If `how` is [`Stop::Handle`], the observer passes the request on to the
    /// server. If it is [`Stop::Signal`], the server gets the signal from the poller.
    fn stops(&mut self, kernel: &K, how: Stop) {
        let _ = (kernel, how);
    }

    /// An accept has returned the number of a peer, or failed.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn accepted(&mut self, kernel: &K, result: &io::Result<usize>) -> Checked {
        let _ = (kernel, result);
        Ok(())
    }

    /// The selector has registered a peer's stream under a key, or the registration failed.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn registered(
        &mut self,
        kernel: &K,
        peer: usize,
        key: usize,
        result: &io::Result<()>,
    ) -> Checked {
        let _ = (kernel, peer, key, result);
        Ok(())
    }

    /// A call that reads from a peer's stream has returned.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn read(&mut self, kernel: &K, peer: usize, how: How, result: &io::Result<usize>) -> Checked {
        let _ = (kernel, peer, how, result);
        Ok(())
    }

    /// A call that writes `bytes` to a peer's stream has returned. A splice out of a pipe is such a call too.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn wrote(
        &mut self,
        kernel: &K,
        peer: usize,
        bytes: &[u8],
        result: &io::Result<usize>,
    ) -> Checked {
        let _ = (kernel, peer, bytes, result);
        Ok(())
    }

    /// The server has asked for the pending error of a peer's stream (`SO_ERROR`), and got this one.
    fn took_error(&mut self, kernel: &K, peer: usize, error: io::ErrorKind) {
        let _ = (kernel, peer, error);
    }

    /// The server has asked for the number of unread bytes of a peer (`FIONREAD`).
    fn asked_received(&mut self, kernel: &K, peer: usize) {
        let _ = (kernel, peer);
    }

    /// The server has ended its stream to a peer, or the call failed.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn shut_down(&mut self, kernel: &K, peer: usize, result: &io::Result<()>) -> Checked {
        let _ = (kernel, peer, result);
        Ok(())
    }

    /// The server is about to close a peer's stream.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn closing(&mut self, kernel: &K, peer: usize) -> Checked {
        let _ = (kernel, peer);
        Ok(())
    }

    /// The server is about to close a listener.
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn closing_listener(&mut self, kernel: &K, listener: usize) -> Checked {
        let _ = (kernel, listener);
        Ok(())
    }

    /// The kernel has ended a connection because bytes were unacknowledged for too long (`TCP_USER_TIMEOUT`).
    ///
    /// # Errors
    /// Returns the violation that the observer finds.
    fn gave_up(&mut self, kernel: &K, peer: usize) -> Checked {
        let _ = (kernel, peer);
        Ok(())
    }
}

/// An observer that does nothing.
#[derive(Debug)]
pub struct NullObserver;

impl<K> Observer<K> for NullObserver {}

/// The effect of a read on the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Copies and consumes the bytes (`read`).
    Consume,
    /// Copies the bytes and does not consume them (`MSG_PEEK`).
    Peek,
    /// Moves the bytes into a pipe (`splice`).
    Splice,
}

/// The way in which the server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// By SIGTERM, which ends the poll.
    Signal,
    /// By another thread, through the server's handle. The wake-up of the poll may be lost.
    Handle,
}

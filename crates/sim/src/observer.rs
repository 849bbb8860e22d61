//! The interface through which the kernel reports the server's calls, and a test reports violations.

use std::fmt;
use std::io;
use std::time::Duration;

use net::poller::Event;

/// Whether all is well; if not, what is wrong, in words. The first violation ends the run.
pub type Checked = Result<(), String>;

/// Observes what the server does on a kernel `K`, which is the [`Kernel`](crate::kernel::Kernel).
///
/// Each method belongs to one call of the server. It gets the kernel as it is after that call: the time
/// ([`Kernel::now`](crate::kernel::Kernel::now)) and both ends of the connection ([`Kernel::wire`](crate::kernel::Kernel::wire)). Only [`polls`](Observer::polls) and the methods
/// that begin with `closing` come before their call. By default no method does anything.
pub trait Observer<K>: fmt::Debug {
    /// The server polls, and waits for at most `timeout`.
    ///
    /// # Errors
    /// A violation.
    fn polls(&mut self, kernel: &K, timeout: Option<Duration>) -> Checked {
        let _ = (kernel, timeout);
        Ok(())
    }

    /// A poll has returned these events.
    ///
    /// # Errors
    /// A violation.
    fn polled(&mut self, kernel: &K, events: &[Event]) -> Checked {
        let _ = (kernel, events);
        Ok(())
    }

    /// Returns true while the server polls without sleeping on purpose. A poll that finds nothing then takes a
    /// millisecond, and is not counted as one without effect.
    fn is_busy_polling(&self, kernel: &K) -> bool {
        let _ = kernel;
        false
    }

    /// The server has to stop. If `how` is [`Stop::Handle`], the observer has to tell it; a signal comes from the
    /// poller.
    fn stops(&mut self, kernel: &K, how: Stop) {
        let _ = (kernel, how);
    }

    /// An accept has returned a peer's connection, or failed.
    ///
    /// # Errors
    /// A violation.
    fn accepted(&mut self, kernel: &K, result: &io::Result<usize>) -> Checked {
        let _ = (kernel, result);
        Ok(())
    }

    /// A peer's stream was registered under a key, or refused by the selector.
    ///
    /// # Errors
    /// A violation.
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
    /// A violation.
    fn read(&mut self, kernel: &K, peer: usize, how: How, result: &io::Result<usize>) -> Checked {
        let _ = (kernel, peer, how, result);
        Ok(())
    }

    /// A call that writes these bytes to a peer's stream has returned. The bytes out of a pipe are among them.
    ///
    /// # Errors
    /// A violation.
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

    /// The server was told the error of a peer's stream that no call had returned (`SO_ERROR`).
    fn took_error(&mut self, kernel: &K, peer: usize, error: io::ErrorKind) {
        let _ = (kernel, peer, error);
    }

    /// The server has asked how many bytes of a peer are unread (`FIONREAD`).
    fn asked_received(&mut self, kernel: &K, peer: usize) {
        let _ = (kernel, peer);
    }

    /// The server has ended its stream to a peer, or failed to.
    ///
    /// # Errors
    /// A violation.
    fn shut_down(&mut self, kernel: &K, peer: usize, result: &io::Result<()>) -> Checked {
        let _ = (kernel, peer, result);
        Ok(())
    }

    /// The server is about to close a peer's stream.
    ///
    /// # Errors
    /// A violation.
    fn closing(&mut self, kernel: &K, peer: usize) -> Checked {
        let _ = (kernel, peer);
        Ok(())
    }

    /// The server is about to close a listener.
    ///
    /// # Errors
    /// A violation.
    fn closing_listener(&mut self, kernel: &K, listener: usize) -> Checked {
        let _ = (kernel, listener);
        Ok(())
    }

    /// The kernel has ended the connection of a peer that acknowledged nothing for too long (`TCP_USER_TIMEOUT`).
    ///
    /// # Errors
    /// A violation.
    fn gave_up(&mut self, kernel: &K, peer: usize) -> Checked {
        let _ = (kernel, peer);
        Ok(())
    }
}

/// An observer that does nothing.
#[derive(Debug)]
pub struct Indifferent;

impl<K> Observer<K> for Indifferent {}

/// How a read treats the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Copies and consumes them (`read`).
    Consume,
    /// Copies them only (`MSG_PEEK`).
    Peek,
    /// Moves them into a pipe (`splice`).
    Splice,
}

/// How the server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// By SIGTERM, which ends the poll.
    Signal,
    /// By another thread, through whatever the server has for that. Its wake-up of the poll may be lost.
    Handle,
}

//! What other threads may ask of a running loop.
//!
//! Flags that the loop looks at once a turn, and the waker that brings the turn about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

use super::stats::{Counters, Stats};

/// The flags, shared by the loop and its handles.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    counters: Counters,
}

impl Control {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether somebody has asked the loop to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// A way to reach a [`Server`](crate::Server) that runs on another thread. Cheap to clone.
///
/// It outlives the server: then shutting down does nothing, and the statistics are the final ones.
#[derive(Clone, Debug)]
pub struct Handle {
    control: Arc<Control>,
    waker: Arc<Waker>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>, waker: Waker) -> Handle {
        Handle {
            control,
            waker: Arc::new(waker),
        }
    }

    /// Asks the server to drain and to end: no new clients, what was received is written out, and
    /// [`Server::run`](crate::Server::run) returns at the latest after the drain timeout. Returns at once.
    pub fn shutdown(&self) {
        self.control.stop();
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the server up, it will notice at its next event: {error}");
        }
    }

    /// What the server has done so far. Asks the loop for nothing, so it costs the loop nothing.
    pub fn stats(&self) -> Stats {
        self.control.counters().snapshot()
    }
}

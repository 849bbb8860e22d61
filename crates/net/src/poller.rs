//! [`Poller`], the trait of everything that an event loop needs from a kernel, and its implementation with mio's
//! `Poll`.
//!
//! This module also defines what each selector guarantees. A socket's token is its key in the loop's table: these count
//! up from 0. The tokens of the waker and of the signals count down from `usize::MAX`.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::socket::{Listener, PeerAddress};
use crate::stream::{Socket, Stream};

/// Everything that the event loop needs from a kernel. A simulated kernel implements it too.
pub trait Poller {
    /// A listening socket.
    type Listener: fmt::Debug;
    /// An accepted stream.
    type Stream: Socket + fmt::Debug;
    /// The name of a peer for the log.
    type PeerName: fmt::Display;

    /// Waits for events until `timeout` has passed, and replaces the contents of `events` with them. Without a timeout
    /// it waits without limit. It may return early without events, because of a signal or a waker.
    ///
    /// # Errors
    /// Every error is fatal: the loop cannot continue after it. An interruption (`EINTR`) is not an error.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// Returns the current time. The server's loop normally reads it once in each turn.
    fn now(&self) -> Instant;

    /// Returns a signal that has arrived and that no call has returned yet, if there is one.
    fn signal(&mut self) -> Option<Signal>;

    /// Takes one connection from the backlog.
    ///
    /// # Errors
    /// The errors of accept(2).
    fn accept(
        &mut self,
        listener: &mut Self::Listener,
    ) -> io::Result<(Self::Stream, Self::PeerName)>;

    /// Returns the number of connections in the backlog, or `None` if the system does not report it.
    fn backlog_length(&self, listener: &Self::Listener) -> Option<usize>;

    /// Registers a listener: from now on, the poll reports its events with this key.
    ///
    /// # Errors
    /// The errors of epoll_ctl(2), or of the corresponding call of another selector.
    fn register_listener(&mut self, listener: &mut Self::Listener, key: usize) -> io::Result<()>;

    /// Registers a stream: from now on, the poll reports its events with this key.
    ///
    /// # Errors
    /// The errors of epoll_ctl(2), or of the corresponding call of another selector. On Linux these are `ENOSPC` if the
    /// user's limit of watches is reached, and `ENOMEM`.
    fn register_stream(&mut self, stream: &mut Self::Stream, key: usize) -> io::Result<()>;

    /// Deregisters a listener. The caller must close it next.
    fn deregister_listener(&mut self, listener: &mut Self::Listener);

    /// Deregisters a stream. The caller must close it next: on some selectors only the close ends the registration.
    fn deregister_stream(&mut self, stream: &mut Self::Stream);

    /// Whether a short read (fewer bytes than requested) proves that the receive queue is empty. If so, the next bytes
    /// cause a new event. Otherwise, only `WouldBlock` proves it.
    fn short_read_means_empty(&self, stream: &Self::Stream) -> bool;
}

/// One event of a poll. It is only a hint that a call may succeed; the result of the call decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key under which the socket was registered.
    pub key: usize,
    /// The calls that may succeed.
    pub readiness: Readiness,
}

/// The calls that may succeed after an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A read may find bytes, the end of the stream or an error.
    pub readable: bool,
    /// A write may find space in the send queue or an error.
    pub writable: bool,
    /// A short read proves nothing this time: the end of the stream or an urgent byte may follow. No further event
    /// reports it, or the bytes behind it. The caller must read until `WouldBlock`.
    pub read_on: bool,
}

/// The request that a signal makes.
#[cfg_attr(
    not(unix),
    allow(
        dead_code,
        reason = "on a system without these signals, no code makes a value"
    )
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM: drain and stop.
    Stop,
    /// SIGUSR1: log the statistics.
    Report,
}

/// The real kernel, through mio.
pub struct MioPoller {
    /// mio's selector.
    poll: Poll,
    /// The events of the last poll, as mio reported them.
    events: Events,
    /// The source of signals; `None` before [`MioPoller::catch_signals`].
    #[cfg(unix)]
    signals: Option<signal_hook_mio::v1_0::Signals>,
    /// Signals that have arrived and that [`Poller::signal`] has not returned yet.
    signalled: Vec<Signal>,
}

impl fmt::Debug for MioPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MioPoller")
            .field("poll", &self.poll)
            .field("signalled", &self.signalled)
            .finish_non_exhaustive()
    }
}

impl MioPoller {
    /// Creates a selector.
    ///
    /// # Errors
    /// The errors of epoll_create1(2), or of the corresponding call of another selector. `EMFILE` is the most likely.
    pub fn new() -> io::Result<MioPoller> {
        Ok(MioPoller {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_A_TURN),
            #[cfg(unix)]
            signals: None,
            signalled: Vec::new(),
        })
    }

    /// Creates a waker, which ends the current `poll` from any thread.
    ///
    /// # Errors
    /// The errors of eventfd(2), or of the corresponding call of another system.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }

    /// Catches SIGINT, SIGTERM and SIGUSR1: from now on, each ends a `poll`, and [`Poller::signal`] returns it.
    ///
    /// # Errors
    /// The errors of socketpair(2) and sigaction(2).
    #[cfg(unix)]
    pub fn catch_signals(&mut self) -> io::Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        self.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Waits for events for at most `asleep`, to the nanosecond. An epoll descriptor can itself be polled, so this
    /// waits for it with ppoll(2) and then takes the events. It may return early.
    #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        not(mio_unsupported_force_poll_poll)
    ))]
    pub(crate) fn sleep(&mut self, events: &mut Vec<Event>, asleep: Duration) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec};
        if let Ok(timeout) = Timespec::try_from(asleep) {
            let mut selector = [PollFd::new(self.registry(), PollFlags::IN)];
            match rustix::event::poll(&mut selector, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.poll(events, Some(Duration::ZERO))
    }

    /// Waits for events for at most `asleep`, rounded down to whole milliseconds. It may return early.
    #[cfg(not(all(
        any(target_os = "linux", target_os = "android"),
        not(mio_unsupported_force_poll_poll)
    )))]
    pub(crate) fn sleep(&mut self, events: &mut Vec<Event>, asleep: Duration) -> io::Result<()> {
        let whole = Duration::from_millis(asleep.as_millis().try_into().unwrap_or(u64::MAX));
        self.poll(events, Some(whole))
    }

    /// Moves the signals that have arrived into `signalled`.
    #[cfg(unix)]
    fn collect_signals(&mut self) -> io::Result<()> {
        let Some(signals) = &mut self.signals else {
            return Ok(());
        };
        self.signalled.extend(signals.pending().map(|number| {
            if number == signal_hook::consts::SIGUSR1 {
                Signal::Report
            } else {
                Signal::Stop
            }
        }));
        // signal-hook reads its socket with recv(2), without mio's knowledge. A selector that re-arms a source on
        // `WouldBlock` does not see that result, and would report no later signal. A new registration re-arms it. On
        // other selectors it changes nothing.
        self.poll
            .registry()
            .reregister(signals, SIGNALS, Interest::READABLE)
    }

    #[cfg(not(unix))]
    fn collect_signals(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn registry(&self) -> &Registry {
        self.poll.registry()
    }
}

impl Poller for MioPoller {
    type Listener = Listener;
    type Stream = Stream;
    type PeerName = PeerAddress;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // Not an error: a signal handler ran on this thread during the wait. mio does not repeat the call. The loop
            // must handle its timers before it polls again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut signalled = false;
        for event in &self.events {
            match event.token() {
                WAKER => {}
                SIGNALS => signalled = true,
                Token(key) => events.push(Event {
                    key,
                    readiness: readiness_of(event),
                }),
            }
        }
        if signalled {
            self.collect_signals()?;
        }
        Ok(())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the real kernel's time is read here"
    )]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn signal(&mut self) -> Option<Signal> {
        self.signalled.pop()
    }

    fn accept(&mut self, listener: &mut Listener) -> io::Result<(Stream, PeerAddress)> {
        listener.accept()
    }

    fn backlog_length(&self, listener: &Listener) -> Option<usize> {
        listener.backlog_length()
    }

    fn register_listener(&mut self, listener: &mut Listener, key: usize) -> io::Result<()> {
        self.registry()
            .register(listener.source(), Token(key), Interest::READABLE)
    }

    fn register_stream(&mut self, stream: &mut Stream, key: usize) -> io::Result<()> {
        self.registry()
            .register(stream.source(), Token(key), STREAM_EVENTS)
    }

    fn deregister_listener(&mut self, listener: &mut Listener) {
        // This fails only if the listener is not registered.
        let _ = self.registry().deregister(listener.source());
    }

    fn deregister_stream(&mut self, stream: &mut Stream) {
        if !CLOSING_DEREGISTERS {
            let _ = self.registry().deregister(stream.source());
        }
    }

    /// On an edge-triggered selector, a short read proves that the receive queue of a TCP stream is empty. There are
    /// two exceptions, in which a read stops although more bytes are in the queue:
    ///
    /// - TCP: a read stops in front of an urgent byte. Only Linux announces it, as [`Readiness::read_on`].
    /// - Unix-domain sockets: a read stops behind a message with descriptors (`SCM_RIGHTS`). No event announces it.
    ///
    /// So on other systems, and for Unix-domain sockets, only `WouldBlock` proves that the queue is empty.
    fn short_read_means_empty(&self, stream: &Stream) -> bool {
        let urgent_is_announced = cfg!(any(target_os = "linux", target_os = "android"));
        EDGE_TRIGGERED && urgent_is_announced && matches!(stream, Stream::Tcp(_))
    }
}

/// Converts mio's flags.
///
/// Each selector reports a reset or a full close of the peer with different flags. So in both cases the caller must try
/// a read and a write, and their results decide.
fn readiness_of(event: &mio::event::Event) -> Readiness {
    let broken = event.is_error() || event.is_write_closed();
    Readiness {
        readable: event.is_readable() || event.is_read_closed() || broken,
        writable: event.is_writable() || broken,
        read_on: event.is_read_closed() || event.is_priority() || broken,
    }
}

/// The token of the waker.
const WAKER: Token = Token(usize::MAX);

/// The token of the source of signals.
const SIGNALS: Token = Token(usize::MAX - 1);

/// The most events of one `poll`. Further events wait for the next poll. A larger number needs fewer calls if thousands
/// of sockets are ready at once (12 bytes for each event on epoll). With a smaller number, the timers run sooner.
const EVENTS_A_TURN: usize = 1024;

/// Whether mio's selector on this system is edge-triggered: it reports each arrival once (epoll with `EPOLLET`, kqueue
/// with `EV_CLEAR`). The other selectors (`poll(2)`, Windows) report an event, and then none until a call has returned
/// `WouldBlock`.
const EDGE_TRIGGERED: bool = cfg!(all(
    not(mio_unsupported_force_poll_poll),
    any(
        target_os = "linux",
        target_os = "android",
        target_os = "redox",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    )
));

/// Whether the last close of a socket ends its registration. This is so if the kernel keeps the list of registrations.
/// mio's `poll(2)` selector keeps the list in user space. There, a registration would remain after the close, and its
/// descriptor number could then belong to another socket.
const CLOSING_DEREGISTERS: bool = EDGE_TRIGGERED;

/// The events of a stream: both directions, registered once and never changed. On an edge-triggered selector, a
/// direction that the loop does not wait for costs nothing. Changing the registration would cost a system call for each
/// echo.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STREAM_EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The events of a stream: both directions, as on the other systems, and `PRIORITY`.
///
/// `PRIORITY` announces an urgent byte. A TCP read stops in front of it, however many bytes follow (tcp(7), "urgent
/// data").
#[cfg(any(target_os = "linux", target_os = "android"))]
const STREAM_EVENTS: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);

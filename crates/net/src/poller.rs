//! mio's `Poll` behind the trait that names all that an event loop needs of a kernel.
//!
//! Knows what each selector promises, and nothing of echoes. The tokens of what is in the loop's table are the
//! table's keys, from 0 up; the tokens of what is not (the waker, signals) come from `usize::MAX` down.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::socket::{Listener, PeerAddress};
use crate::stream::{Socket, Stream};

/// All that the event loop asks of a kernel; a simulated one implements it too.
pub trait Poller {
    /// A listening socket.
    type Listener: fmt::Debug;
    /// An accepted stream.
    type Stream: Socket + fmt::Debug;
    /// How a peer is called in the log.
    type PeerName: fmt::Display;

    /// Waits for readiness until `timeout` has passed, for ever without one, and fills `events` with what it saw.
    /// May return early and with nothing: a signal, a waker.
    ///
    /// # Errors
    /// None that the loop could go on after.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// The time. The loop reads it once a turn.
    fn now(&self) -> Instant;

    /// The next signal that asks something of the loop, if one has come.
    fn signal(&mut self) -> Option<Signal>;

    /// Takes one connection from the backlog.
    ///
    /// # Errors
    /// Those of accept(2).
    fn accept(
        &mut self,
        listener: &mut Self::Listener,
    ) -> io::Result<(Self::Stream, Self::PeerName)>;

    /// How many connections wait in the backlog; `None` where the system does not tell.
    fn backlog_length(&self, listener: &Self::Listener) -> Option<usize>;

    /// Asks for a listener's events under this key, from now on.
    ///
    /// # Errors
    /// Those of epoll_ctl(2) and its kin.
    fn register_listener(&mut self, listener: &mut Self::Listener, key: usize) -> io::Result<()>;

    /// Asks for a stream's events under this key, from now on.
    ///
    /// # Errors
    /// `ENOSPC` when the user's watches are used up, `ENOMEM`: those of epoll_ctl(2) and its kin.
    fn register_stream(&mut self, stream: &mut Self::Stream, key: usize) -> io::Result<()>;

    /// Ends a listener's events. It is closed next.
    fn deregister_listener(&mut self, listener: &mut Self::Listener);

    /// Ends a stream's events. It is closed next.
    fn deregister_stream(&mut self, stream: &mut Self::Stream);

    /// Whether a read that returns less than was asked for proves that nothing is left, so that the next arrival is a
    /// new edge. If not, only `WouldBlock` proves it.
    fn short_read_means_empty(&self, stream: &Self::Stream) -> bool;
}

/// One line of what `poll` saw: a hint to try, never a fact to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key under which the socket was registered.
    pub key: usize,
    /// What may be worth trying.
    pub readiness: Readiness,
}

/// What a readiness event hints at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A read may find bytes, the end of the stream or an error.
    pub readable: bool,
    /// A write may find room or an error.
    pub writable: bool,
    /// A short read proves nothing this time: the end of the stream or an urgent byte is on the way, and no further
    /// edge will announce what lies behind it. Read on to `WouldBlock`.
    pub read_on: bool,
}

/// What an operator asks by a signal.
// Where there are no such signals, nobody makes one.
#[cfg_attr(not(unix), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM: drain and end.
    Stop,
    /// SIGUSR1: log the statistics.
    Report,
}

/// The real kernel, through mio.
pub struct MioPoller {
    /// mio's selector.
    poll: Poll,
    /// What the last poll reported, as mio has it.
    events: Events,
    #[cfg(unix)]
    signals: Option<signal_hook_mio::v1_0::Signals>,
    /// Signals that have come and that the loop has not asked for yet.
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
    /// # Errors
    /// Those of epoll_create1(2) and its kin, `EMFILE` above all.
    pub fn new() -> io::Result<MioPoller> {
        Ok(MioPoller {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_A_TURN),
            #[cfg(unix)]
            signals: None,
            signalled: Vec::new(),
        })
    }

    /// A waker that ends a `poll` under way from any thread.
    ///
    /// # Errors
    /// Those of eventfd(2) and its kin.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }

    /// Lets SIGINT, SIGTERM and SIGUSR1 end a `poll`, and [`Poller::signal`] tell of them.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    #[cfg(unix)]
    pub fn catch_signals(&mut self) -> io::Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        self.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// A selector that can itself be polled can be waited for in nanoseconds (ppoll(2)).
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

    /// In whole milliseconds, rounded down.
    #[cfg(not(all(
        any(target_os = "linux", target_os = "android"),
        not(mio_unsupported_force_poll_poll)
    )))]
    pub(crate) fn sleep(&mut self, events: &mut Vec<Event>, asleep: Duration) -> io::Result<()> {
        let whole = Duration::from_millis(asleep.as_millis().try_into().unwrap_or(u64::MAX));
        self.poll(events, Some(whole))
    }

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
        // signal-hook empties its pipe with recv(2), behind mio's back, so a selector that re-arms on `WouldBlock`
        // never sees one and would drop every later signal. Asking again re-arms it; elsewhere it changes nothing.
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
            // Not an error: a signal handler ran, on this thread, while the kernel waited. mio leaves the retry to
            // us, and the loop has to look at its timers first.
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
        // Fails only for what is not registered.
        let _ = self.registry().deregister(listener.source());
    }

    fn deregister_stream(&mut self, stream: &mut Stream) {
        if !CLOSING_DEREGISTERS {
            let _ = self.registry().deregister(stream.source());
        }
    }

    /// A short read proves a TCP receive queue empty on an edge-triggered selector. Two readers stop short with more
    /// in the queue: TCP at an urgent byte, which [`Readiness::read_on`] announces on Linux alone, and a Unix-domain
    /// socket behind a message with descriptors (`SCM_RIGHTS`), which nothing announces. There only `WouldBlock` will
    /// do.
    fn short_read_means_empty(&self, stream: &Stream) -> bool {
        let urgent_is_announced = cfg!(any(target_os = "linux", target_os = "android"));
        EDGE_TRIGGERED && urgent_is_announced && matches!(stream, Stream::Tcp(_))
    }
}

/// Translates mio's flags.
///
/// A peer's reset or a full close arrives with flags that differ from selector to selector, so both count as
/// "try everything"; what the read or the write then returns decides.
fn readiness_of(event: &mio::event::Event) -> Readiness {
    let broken = event.is_error() || event.is_write_closed();
    Readiness {
        readable: event.is_readable() || event.is_read_closed() || broken,
        writable: event.is_writable() || broken,
        read_on: event.is_read_closed() || event.is_priority() || broken,
    }
}

const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);

/// How many events one `poll` may return; those beyond wait for the next. A larger number saves calls when thousands
/// are ready at once (12 bytes each on epoll), a smaller one gets back to the timers sooner.
const EVENTS_A_TURN: usize = 1024;

/// Whether mio's selector here reports an arrival once (epoll with `EPOLLET`, kqueue with `EV_CLEAR`). The others
/// (`poll(2)`, Windows) report nothing further until an operation has said `WouldBlock`.
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

/// Whether the last close of a socket ends its registration. So it is where the kernel keeps the list; mio's
/// `poll(2)` keeps it in user space, where it would outlive the descriptor's number.
const CLOSING_DEREGISTERS: bool = EDGE_TRIGGERED;

/// Both directions from the start and for good: under edge triggering an interest that nothing waits for costs
/// nothing, and one that need not be toggled costs no system call per echo.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STREAM_EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// With priority, so that an urgent byte is announced: TCP's reads stop in front of it however much follows
/// (tcp(7), "urgent data").
#[cfg(any(target_os = "linux", target_os = "android"))]
const STREAM_EVENTS: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);

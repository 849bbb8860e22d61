//! The settings of a simulated network: what calls cost, the links, the server's behaviour and the faults.

/// The settings of a [`Network`](super::Network).
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSettings {
    /// What each call costs.
    pub costs: Costs,
    /// The link of every connection, in each direction.
    pub link: Link,
    /// The size of a send buffer, in bytes.
    pub send_buffer: usize,
    /// The size of a receive buffer, in bytes.
    pub receive_buffer: usize,
    /// The length of every message, in bytes.
    pub message: u64,
    /// The most connections that are open at the same time. Further attempts are refused (`ECONNREFUSED`).
    pub accepts: usize,
    /// The most events that one poll returns (`maxevents` of epoll_wait(2)). The others wait for the next poll.
    pub most_events: usize,
    /// The behaviour of the server. `None`: a program runs on the server's host.
    pub server: Option<Behaviour>,
    /// The times in which the server stands still, in order.
    pub pauses: Vec<Pause>,
    /// The server's errors, at most one for each connection.
    pub injections: Vec<Injection>,
    /// The stalls of the client's program, in order.
    pub stalls: Vec<Stall>,
}

impl NetworkSettings {
    /// Makes settings without faults: a server that echoes every byte at once, calls of a microsecond, a link without
    /// delay, buffers of 256 KiB, and at most 1,024 events a poll.
    #[must_use]
    pub fn simple() -> NetworkSettings {
        NetworkSettings {
            costs: Costs::all(1000),
            link: Link {
                delay_ns: 0,
                ps_per_byte: 0,
                segment: 64 * 1024,
            },
            send_buffer: 256 * 1024,
            receive_buffer: 256 * 1024,
            message: 64,
            accepts: usize::MAX,
            most_events: 1024,
            server: Some(Behaviour::Stream { service_ns: 0 }),
            pauses: Vec::new(),
            injections: Vec::new(),
            stalls: Vec::new(),
        }
    }
}

/// The duration of each call, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// epoll_wait(2) without the wait.
    pub poll_ns: u64,
    /// From the end of a wait until the thread runs again.
    pub wake_up_ns: u64,
    /// recv(2).
    pub read_ns: u64,
    /// send(2). The bytes leave at the end of the call.
    pub write_ns: u64,
    /// connect(2).
    pub connect_ns: u64,
    /// accept(2).
    pub accept_ns: u64,
    /// epoll_ctl(2).
    pub register_ns: u64,
    /// close(2).
    pub close_ns: u64,
}

impl Costs {
    /// Makes costs where every call takes the same time.
    #[must_use]
    pub fn all(ns: u64) -> Costs {
        Costs {
            poll_ns: ns,
            wake_up_ns: ns,
            read_ns: ns,
            write_ns: ns,
            connect_ns: ns,
            accept_ns: ns,
            register_ns: ns,
            close_ns: ns,
        }
    }
}

/// One direction of a connection's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The time that a byte travels. An acknowledgement travels as long.
    pub delay_ns: u64,
    /// The time in picoseconds that a byte occupies the link: 8,000 is 1 Gbit/s.
    pub ps_per_byte: u64,
    /// The most bytes that arrive at once.
    pub segment: usize,
}

/// The behaviour of a server that is part of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    /// Echoes each segment `service_ns` after its arrival. Segments do not wait for each other.
    Stream {
        /// The time from a segment's arrival to its echo.
        service_ns: u64,
    },
    /// Serves one message after another, over all connections in the order of their last bytes' arrival. An echo is
    /// sent when its message is served.
    Queue(Times),
}

/// The service times of a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Times {
    /// Every message takes this time, in nanoseconds.
    Constant(u64),
    /// The times are exponentially distributed.
    Exponential {
        /// Their mean, in nanoseconds.
        mean_ns: f64,
        /// The seed of the random numbers.
        seed: u64,
    },
}

/// A time in which the server stands still: it serves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The start, in nanoseconds of the network's clock.
    pub from_ns: u64,
    /// The end.
    pub to_ns: u64,
}

/// An error of the server on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The number of the connection: how many attempts were made before it.
    pub connection: usize,
    /// The offset in the echo.
    pub offset: u64,
    /// The error.
    pub wrong: Wrong,
}

/// The kinds of [`Injection`]. None of them reaches beyond the bytes that the server echoes at once: one message, or
/// one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The byte is changed.
    Corrupt,
    /// The server inserts this number of bytes, which the client never sent, before the byte.
    Insert(usize),
    /// The server repeats this number of bytes before the offset, or fewer if the echo has fewer.
    Repeat(usize),
    /// The server sends bytes of another connection instead of the rest of the echo.
    Foreign,
    /// The server leaves out this number of bytes, and sends the rest.
    Omit(usize),
    /// The server ends the stream before the byte.
    End,
    /// The server resets the connection before the byte.
    Reset,
    /// The server sends nothing from the byte on.
    Silence,
}

/// A time in which the client's program has no processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The start, in nanoseconds of the network's clock.
    pub at_ns: u64,
    /// The length.
    pub length_ns: u64,
    /// The kind.
    pub kind: StallKind,
}

/// The account in which a [`Stall`] appears. Both kinds have the same effect on the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallKind {
    /// The process is stopped (SIGSTOP), or the hypervisor runs something else: no account has this time.
    Suspended,
    /// The thread waits in the run queue: the scheduler accounts for it (proc_pid_schedstat(5)).
    RunQueue,
}

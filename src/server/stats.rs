//! The statistics of a server: live counters with one writer, and snapshots of them.
//!
//! Every number starts at 0 when the server is bound.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only the thread of the loop changes and every thread may read.
///
/// With one writer, a plain load and a plain store are enough. A locked instruction for each message would cost more.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares a struct of plain numbers, a struct of counters with the same fields, and the snapshot of the counters. All
/// three come from one declaration, so no counter can be missing in one of them.
macro_rules! counted {
    (
        $(#[$about:meta])* $stats:ident, $counters:ident {
            $($(#[$doc:meta])* $field:ident,)*
        } $({
            $($(#[$group_doc:meta])* $group:ident: $group_stats:ident, $group_counters:ident,)*
        })?
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $stats {
            $($(#[$doc])* pub $field: u64,)*
            $($($(#[$group_doc])* pub $group: $group_stats,)*)?
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $(pub(crate) $field: Counter,)*
            $($(pub(crate) $group: $group_counters,)*)?
        }

        impl $stats {
            /// Adds the numbers of another loop.
            pub(crate) fn add(&mut self, other: &$stats) {
                $(self.$field += other.$field;)*
                $($(self.$group.add(&other.$group);)*)?
            }

            /// Returns each number with its name, in the order of the declaration, without the numbers of the groups.
            fn numbers(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }

        impl $counters {
            pub(crate) fn snapshot(&self) -> $stats {
                $stats {
                    $($field: self.$field.get(),)*
                    $($($group: self.$group.snapshot(),)*)?
                }
            }
        }
    };
}

counted! {
    /// The statistics of a server, or of one of its loops, since it was bound.
    ///
    /// [`Handle::stats`](crate::Handle::stats) returns them while the server runs, and
    /// [`Server::run`](crate::Server::run) at its end. While the server runs, the numbers are not all from the same
    /// moment. Each number is exact, except that the pending bytes are those at the end of the last turn.
    Stats, Counters {
        /// Connections accepted from the backlog, including those that were turned away.
        accepted,
        /// Connections turned away because the table was full.
        rejected,
        /// Connections that were in a backlog when a shutdown closed the listener. The server ran out of descriptors,
        /// memory or time, or they arrived after the shutdown began. Counted for TCP on Linux; otherwise 0.
        left_in_backlog,
        /// Connections that are open now.
        open,
        /// The largest number of connections that were open at the same time.
        peak,
        /// Bytes read from peers, without the discarded bytes.
        bytes_in,
        /// The part of `bytes_in` that went through a pipe in the kernel (splice(2)).
        bytes_spliced,
        /// Bytes written to peers.
        bytes_out,
        /// Bytes that the server read and discarded, because it had ended its own stream of the connection.
        bytes_discarded,
        /// Reads that returned bytes or the end of the stream, including splices into the pipe.
        reads,
        /// Writes of which the kernel accepted bytes, including splices out of the pipe.
        writes,
        /// Reads and writes that returned `WouldBlock`.
        would_blocks,
        /// Pending writes: how often the kernel did not accept all bytes of a read, so that the server stored the rest.
        spills,
        /// Reads that consumed nothing (`MSG_PEEK`), because the memory budget did not allow a pending write.
        peeks,
        /// Bytes that are in pending writes now: their peers do not read.
        pending_bytes,
        /// The largest number of bytes that were in pending writes at the same time. With several loops it is the sum
        /// of their largest numbers, which may be of different moments.
        peak_pending_bytes,
        /// Times that a connection used up its budget of a turn and continued in the next turn.
        yields,
        /// Calls of the poll.
        polls,
        /// Readiness events that the poll returned.
        events,
    } {
        /// Connections closed, by reason.
        closed: Closed, ClosedCounters,
        /// Failures of accept, by kind.
        accept_errors: AcceptErrors, AcceptErrorCounters,
    }
}

counted! {
    /// The number of closed connections, by the reason of the close.
    Closed, ClosedCounters {
        /// The peer ended its stream, and its echo is complete.
        end_of_stream,
        /// The peer reset the connection, or a write failed because the peer no longer had it open (`EPIPE`).
        reset,
        /// A read or a write failed with another error: an error of the network, or unanswered keep-alive probes.
        failed,
        /// The peer sent nothing for the idle timeout, and its kernel acknowledged nothing for three quarters of it.
        idle,
        /// The peer's kernel acknowledged nothing of the undelivered bytes for the stall timeout. The server or the
        /// kernel's own timer (`TCP_USER_TIMEOUT`) found that.
        stalled,
        /// The server was shutting down, and the peer had its whole echo: the peer ended its stream, or it was silent
        /// and its kernel had acknowledged everything.
        drained,
        /// The drain timeout passed before the peer ended its stream, or [`Handle::abort`](crate::Handle::abort) closed
        /// the connection.
        abandoned,
        /// The selector did not register the connection (`epoll_ctl`: `ENOSPC`, `ENOMEM`).
        unregistered,
    }
}

counted! {
    /// The number of failures of accept, by the kind of the error.
    AcceptErrors, AcceptErrorCounters {
        /// The peer closed the connection before the server accepted it (`ECONNABORTED`).
        aborted,
        /// A signal interrupted the call (`EINTR`).
        interrupted,
        /// A firewall rule forbids the connection (`EPERM`).
        forbidden,
        /// An error of the network on the new connection. As accept(2) requires, the server then tries the next one.
        network,
        /// This process has no descriptor left (`EMFILE`).
        process_descriptors,
        /// The system has no descriptor left (`ENFILE`).
        system_descriptors,
        /// The system has no memory left for a socket (`ENOBUFS`, `ENOMEM`).
        memory,
        /// All other errors.
        other,
    }
}

impl Stats {
    /// Returns the number of connections that were closed, for any reason.
    pub fn closed_in_all(&self) -> u64 {
        self.closed.numbers().iter().map(|(_, count)| count).sum()
    }
}

/// Formats the statistics as one line, with the names of the JSON. Numbers that are 0 are left out, except `accepted`.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [
            ("", self.numbers()),
            ("; closed: ", self.closed.numbers()),
            ("; accept errors: ", self.accept_errors.numbers()),
        ];
        for (title, numbers) in groups {
            let mut before = title;
            for (name, number) in numbers {
                if number > 0 || name == "accepted" {
                    write!(f, "{before}{} {number}", name.replace('_', " "))?;
                    before = ", ";
                }
            }
        }
        Ok(())
    }
}

//! What the server counts: live counters with one writer, and snapshots of them.
//!
//! Knows what happened, not why. Every number starts at 0 when the server is bound.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that the loop's thread alone changes and every thread may read.
///
/// With one writer a plain load and store is enough: no locked instruction is paid per message.
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

/// Declares a struct of plain numbers, its live twin of counters, and the snapshot from one to the other, so that no
/// counter can be forgotten in any of the three.
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
            /// Each number with its name, in the order of the declaration, without those of the groups.
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
    /// What a server has done since it was bound.
    ///
    /// From [`Handle::stats`](crate::Handle::stats) while it runs (each number is exact, but for the pending bytes,
    /// which are those of the last turn; the whole is not from one instant), and from [`Server::run`](crate::Server::run) at its end.
    Stats, Counters {
        /// Connections taken from the backlog, those turned away among them.
        accepted,
        /// Connections turned away because the table was full.
        rejected,
        /// Connections that had been made when the server began to shut down, and that it could not accept any more: it was
        /// out of descriptors, memory or time. Counted over TCP on Linux; elsewhere 0.
        left_in_backlog,
        /// Connections open now.
        open,
        /// The most connections that were ever open at once.
        peak,
        /// Bytes read from peers, without those discarded.
        bytes_in,
        /// Of these, bytes that went from socket to socket through a pipe in the kernel (splice(2)).
        bytes_spliced,
        /// Bytes written to peers.
        bytes_out,
        /// Bytes that peers sent after the server had ended its own stream, read and thrown away.
        bytes_discarded,
        /// Reads that returned bytes or the end of the stream.
        reads,
        /// Writes that the kernel took bytes of.
        writes,
        /// Reads and writes that found nothing to do.
        would_blocks,
        /// Times that the kernel took less than was read, so that the rest had to be kept.
        spills,
        /// Reads that consumed nothing (`MSG_PEEK`), because the memory budget had no room for a pending write.
        peeks,
        /// Bytes that are kept now because their peers do not read.
        pending_bytes,
        /// The most bytes that were ever kept at once.
        peak_pending_bytes,
        /// Turns that ended on their budget, with more to do.
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
    /// Why connections were closed.
    Closed, ClosedCounters {
        /// The peer ended its stream and got everything back.
        end_of_stream,
        /// The peer reset the connection, or was gone when something was written.
        reset,
        /// Another error: the network's, or a keep-alive that nobody answered.
        failed,
        /// Nothing moved for the idle timeout: no byte came, and the peer's kernel acknowledged none.
        idle,
        /// The peer's kernel acknowledged nothing of its pending output for the stall timeout, as our timer found or the
        /// kernel's (`TCP_USER_TIMEOUT`).
        stalled,
        /// The server was shutting down, and the peer had everything: it ended its stream, or it was silent and its kernel
        /// had acknowledged all.
        drained,
        /// The drain timeout came before the peer's end of stream.
        abandoned,
        /// The selector would not take it (`epoll_ctl`: `ENOSPC`, `ENOMEM`).
        unregistered,
    }
}

counted! {
    /// Why accept failed.
    AcceptErrors, AcceptErrorCounters {
        /// The peer was gone before it was accepted (`ECONNABORTED`).
        aborted,
        /// A signal came first (`EINTR`).
        interrupted,
        /// A firewall rule forbids it (`EPERM`).
        forbidden,
        /// An error of the network on the new connection, which accept(2) says to treat as "try the next".
        network,
        /// This process has no descriptor left (`EMFILE`).
        process_descriptors,
        /// The system has no descriptor left (`ENFILE`).
        system_descriptors,
        /// The system has no memory left for a socket (`ENOBUFS`, `ENOMEM`).
        memory,
        /// Anything else.
        other,
    }
}

impl Stats {
    /// Connections closed, for whatever reason.
    pub fn closed_in_all(&self) -> u64 {
        self.closed.numbers().iter().map(|(_, count)| count).sum()
    }
}

/// One line, with the names that the JSON has too. What is 0 is left out, as most of it is.
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

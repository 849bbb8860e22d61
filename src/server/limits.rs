//! The limits of a running loop: the configuration, adjusted to the descriptor limit, and with every default filled in.

use std::sync::Arc;
use std::time::Duration;

use net::descriptors;

use super::config::Config;
use super::quota::Quota;
use super::timeouts;

/// The limits of a running loop. The loops of a server have clones, which share the quotas.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The connections that may be open at the same time, of all loops together. A loop accepts every further
    /// connection and closes it.
    pub(super) connections: Arc<Quota>,
    /// If more connections than this were open at the same time, the loop frees the memory of its tables after the last
    /// close.
    pub(super) shrink_above: usize,
    /// The number of entries for which the tables reserve space.
    pub(super) expected_connections: usize,
    /// The most connections that a shutdown accepts from one backlog, if the system does not report their number.
    pub(super) backlog: usize,
    /// The size of the read buffer, in bytes.
    pub(super) read_buffer: usize,
    /// The pending writes that may be in use at the same time, of all loops together.
    pub(super) pending_writes: Arc<Quota>,
    /// A connection may be spliced after reads that filled the buffer have returned this many bytes in one turn; `None`
    /// means never.
    pub(super) splice_threshold: Option<usize>,
    /// The time after which an idle connection is closed; `None` means never.
    pub(super) idle_timeout: Option<Duration>,
    /// A peer whose kernel acknowledges nothing for this time is stalled; `None` means never.
    pub(super) stall_timeout: Option<Duration>,
    /// The longest duration of a drain.
    pub(super) drain_timeout: Duration,
    /// The time after an event in which the poll does not sleep; `None` means that it may always
    /// sleep.
    pub(super) busy_poll: Option<Duration>,
    /// The interval at which the statistics are logged; `None` means never.
    pub(super) stats_every: Option<Duration>,
    /// Whether the loop records the duration of each turn.
    pub(super) turn_histograms: bool,
    /// The interval at which the loop wakes up even if nothing happens; `None` means never.
    pub(super) heartbeat: Option<Duration>,
    /// The budget of a connection in one turn, in bytes. When it is used up, the other connections run.
    pub(super) turn_budget: usize,
    /// The quota of a listener in one turn, in connections. When it is used up, the other listeners and the connections
    /// run.
    pub(super) accepts_a_turn: usize,
}

impl Limits {
    /// Returns the limits, and an estimate of the memory that the server uses if every connection stalls, in bytes. It
    /// does not include free buffers. Logs a warning if the descriptor limit allows fewer connections than the
    /// configuration.
    pub(super) fn of(config: &Config) -> (Limits, usize) {
        let threads = config.threads.max(1);
        // Each further loop has a selector, a waker, a pipe and a listener for each address.
        let further = (threads - 1) * (4 + config.addresses.len());
        let room = descriptors::room_for_connections(further + config.spare_descriptors);
        let wanted = config.max_connections.unwrap_or(room);
        let max_connections = wanted.min(room);
        if wanted > room {
            log::warn!(
                "the descriptor limit allows {room} connection{} at the same time, and {wanted} are configured",
                if room == 1 { "" } else { "s" }
            );
        }
        let read_buffer = config.read_buffer.max(1);
        let limits = Limits {
            connections: Arc::new(Quota::new(max_connections)),
            shrink_above: SHRINK_ABOVE,
            expected_connections: max_connections.div_ceil(threads).min(MOST_EXPECTED)
                + config.addresses.len(),
            backlog: config
                .backlog
                .map_or(MOST_WAITING, |n| (n as usize).min(MOST_WAITING)),
            read_buffer,
            pending_writes: Arc::new(Quota::new(config.memory / read_buffer)),
            splice_threshold: (config.splice && config.read_buffer >= LEAST_READ)
                .then_some(TURN_BUDGET),
            idle_timeout: config
                .idle_timeout
                .map(|after| after.clamp(SHORTEST, timeouts::LONGEST)),
            stall_timeout: config
                .stall_timeout
                .map(|after| after.clamp(SHORTEST_STALL, timeouts::LONGEST)),
            drain_timeout: config.drain_timeout.min(timeouts::LONGEST),
            busy_poll: config.busy_poll.map(|time| time.min(LONGEST_BUSY_POLL)),
            stats_every: config
                .stats_every
                .map(|every| every.clamp(SHORTEST, timeouts::LONGEST)),
            turn_histograms: config.turn_histograms,
            heartbeat: config
                .heartbeat
                .map(|every| every.clamp(SHORTEST, timeouts::LONGEST)),
            turn_budget: TURN_BUDGET.max(config.read_buffer),
            accepts_a_turn: ACCEPTS_A_TURN,
        };
        let pending = limits
            .pending_writes
            .most()
            .min(max_connections)
            .saturating_mul(read_buffer);
        let worst_case = max_connections
            .saturating_mul(BYTES_A_CONNECTION)
            .saturating_add(pending)
            .saturating_add(read_buffer.saturating_mul(threads));
        (limits, worst_case)
    }
}

/// The shortest idle timeout, and the shortest interval of the statistics and of the heartbeat. With an idle timeout of
/// zero, the server would close a peer before the first read. With an interval of zero, the loop would do nothing else.
const SHORTEST: Duration = Duration::from_millis(1);

/// The shortest stall timeout. Linux sends a lost packet again after 200 ms at the earliest (`TCP_RTO_MIN`), and the
/// next time after twice as long. So a healthy peer may acknowledge nothing for more than half a second.
const SHORTEST_STALL: Duration = Duration::from_secs(1);

/// The tables of fewer connections are so small that they are not freed.
const SHRINK_ABOVE: usize = 1024;

/// The most connections that a shutdown accepts from a backlog of unknown length.
const MOST_WAITING: usize = 65_535;

/// The longest busy polling after an event. A longer one keeps a processor busy, and no event is handled sooner.
const LONGEST_BUSY_POLL: Duration = Duration::from_secs(1);

/// The budget of a connection in one turn, in bytes. It is large enough for four reads of 64 KiB after each poll. It is
/// small enough that 100 busy peers delay another peer by only some milliseconds.
pub(crate) const TURN_BUDGET: usize = 256 * 1024;

/// The smallest read buffer with splicing, in bytes. With smaller reads, a read and a write cost less than two splices.
const LEAST_READ: usize = 16 * 1024;

/// The quota of a listener in one turn, in connections. A burst of thousands of new connections takes several turns, so
/// an open connection waits for at most this many accepts of each listener.
const ACCEPTS_A_TURN: usize = 64;

/// The most connections for which the tables reserve space. With more connections, the tables grow as they are filled.
const MOST_EXPECTED: usize = 1 << 20;

/// The memory of a connection, in bytes: its entry in the table, its link in the timeouts, and the unused space that
/// growing tables leave.
const BYTES_A_CONNECTION: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// A longer timeout would compare times that the timers cannot have.
    #[test]
    fn a_duration_outside_its_range_counts_as_the_nearest_value() {
        let of = |time: Duration| {
            let config = Config {
                idle_timeout: Some(time),
                stall_timeout: Some(time),
                drain_timeout: time,
                stats_every: Some(time),
                heartbeat: Some(time),
                ..Config::default()
            };
            Limits::of(&config).0
        };
        let long = of(Duration::MAX);
        let some = Some(timeouts::LONGEST);
        assert_eq!((long.idle_timeout, long.stall_timeout), (some, some));
        assert_eq!((long.stats_every, long.heartbeat), (some, some));
        assert_eq!(long.drain_timeout, timeouts::LONGEST);
        let short = of(Duration::ZERO);
        assert_eq!(short.idle_timeout, Some(SHORTEST));
        assert_eq!(short.stall_timeout, Some(SHORTEST_STALL));
    }
}

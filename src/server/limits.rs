//! What bounds a running loop: the configuration, checked against the process and with every default filled in.

use std::time::Duration;

use net::descriptors;

use super::config::Config;
use super::timeouts;

/// What bounds a running loop.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// One connection more is accepted and closed.
    pub(super) max_connections: usize,
    /// More connections than these at once are a crowd, whose memory is given back when all have gone.
    pub(super) crowd: usize,
    /// For how many connections tables have room from the start.
    pub(super) expected_connections: usize,
    /// The most connections that are accepted from one backlog when a shutdown begins, where the system does not tell how
    /// many there are.
    pub(super) backlog: usize,
    /// The size of a read, in bytes.
    pub(super) read_buffer: usize,
    /// For all pending writes together, in bytes.
    pub(super) memory: usize,
    /// How many bytes must come without a gap before a connection is spliced; `None` is never.
    pub(super) splice_threshold: Option<usize>,
    /// How long a connection may be idle; `None` is without limit.
    pub(super) idle_timeout: Option<Duration>,
    /// How long a peer's kernel may acknowledge nothing; `None` is without limit.
    pub(super) stall_timeout: Option<Duration>,
    /// How long a drain may take.
    pub(super) drain_timeout: Duration,
    /// How long after an event the poll does not sleep; `None` is not at all.
    pub(super) busy_poll: Option<Duration>,
    /// How often the statistics are logged; `None` is never.
    pub(super) stats_every: Option<Duration>,
    /// How many bytes one peer may move before the others get their turn.
    pub(super) turn: usize,
    /// How many connections one listener may hand over before the others get their turn.
    pub(super) accepts_a_turn: usize,
}

impl Limits {
    /// The limits, and the most memory that a server with them can come to hold.
    pub(super) fn of(config: &Config) -> (Limits, usize) {
        let room = descriptors::room_for_connections();
        let wanted = config.max_connections.unwrap_or(room);
        let max_connections = wanted.min(room);
        if wanted > room {
            log::warn!(
                "the descriptor limit has room for {room} connections, which is fewer than the {wanted} that were asked for"
            );
        }
        let limits = Limits {
            max_connections,
            crowd: CROWD,
            expected_connections: max_connections.min(MOST_EXPECTED) + config.addresses.len(),
            backlog: config
                .backlog
                .map_or(MOST_WAITING, |n| (n as usize).min(MOST_WAITING)),
            read_buffer: config.read_buffer.max(1),
            memory: config.memory,
            splice_threshold: (config.splice && config.read_buffer >= LEAST_READ).then_some(TURN),
            idle_timeout: config.idle_timeout.map(|after| after.max(SHORTEST)),
            stall_timeout: config
                .stall_timeout
                .map(|after| after.clamp(SHORTEST_STALL, timeouts::LONGEST)),
            drain_timeout: config.drain_timeout.min(timeouts::LONGEST),
            busy_poll: config.busy_poll.map(|time| time.min(LONGEST_BUSY_POLL)),
            stats_every: config
                .stats_every
                .map(|every| every.clamp(SHORTEST, timeouts::LONGEST)),
            turn: TURN.max(config.read_buffer),
            accepts_a_turn: ACCEPTS_A_TURN,
        };
        let pending = (limits.memory / limits.read_buffer)
            .min(max_connections)
            .saturating_mul(limits.read_buffer);
        let worst_case = max_connections
            .saturating_mul(BYTES_A_CONNECTION)
            .saturating_add(pending)
            .saturating_add(limits.read_buffer);
        (limits, worst_case)
    }
}

/// The shortest timer. With none at all a peer would be closed before it is read, and the loop would do nothing but
/// report.
const SHORTEST: Duration = Duration::from_millis(1);

/// The shortest stall timeout. One lost packet is sent again after 200 ms at the earliest (Linux, `TCP_RTO_MIN`), the next
/// time after twice as long: a peer that has done nothing wrong may acknowledge nothing for the better part of a second.
const SHORTEST_STALL: Duration = Duration::from_secs(1);

/// Tables of fewer connections are not worth giving back.
const CROWD: usize = 1024;

/// The longest backlog that a shutdown empties without knowing its length.
const MOST_WAITING: usize = 65_535;

/// The longest busy poll. A longer one costs a processor and serves no event sooner.
const LONGEST_BUSY_POLL: Duration = Duration::from_secs(1);

/// One connection's share of a turn, in bytes. Large enough for four reads a poll; small enough that 100 busy peers delay any
/// other by some milliseconds only.
pub(crate) const TURN: usize = 256 * 1024;

/// The size of a read from which a splice in and a splice out cost less than a read and a write.
const LEAST_READ: usize = 16 * 1024;

/// One listener's share of a turn, in connections. A burst of thousands takes several turns, and no pinger waits for
/// more than these.
const ACCEPTS_A_TURN: usize = 64;

/// Beyond a million connections tables grow as they are filled.
const MOST_EXPECTED: usize = 1 << 20;

/// A table entry and a place in the timeouts' queues, with what their growth leaves unused.
const BYTES_A_CONNECTION: usize = 128;

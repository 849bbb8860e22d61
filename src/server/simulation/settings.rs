//! The settings of the server in a simulated run, and a case: a script with these settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sim::script::{Script, differences};
use sim::tape::{Tape, pick};

use crate::server::connection::LEAST_CHARGE;
use crate::server::limits::Limits;
use crate::server::quota::Quota;

/// The settings of the server. Times are in milliseconds, sizes in bytes. They are small, so that a short script
/// reaches every limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerSettings {
    /// The maximal size of a read.
    pub(crate) read_buffer: usize,
    /// The number of pending writes that the memory budget has room for; `None`: more than any script needs.
    pub(crate) memory: Option<usize>,
    /// Whether the server may splice.
    pub(crate) splices: bool,
    /// The maximal number of open connections.
    pub(crate) max_connections: usize,
    /// The maximal number of connections that are accepted from one listener in a turn.
    pub(crate) accepts_a_turn: usize,
    /// The budget of a connection in a turn, as a number of small reads (`LEAST_CHARGE` each).
    pub(crate) turn: usize,
    /// The time of busy polling after an event.
    pub(crate) busy_poll: Option<u64>,
    /// The interval at which the server logs its statistics.
    pub(crate) stats_every: Option<u64>,
    /// The idle timeout.
    pub(crate) idle: Option<u64>,
    /// The stall timeout.
    pub(crate) stall: Option<u64>,
    /// The drain timeout.
    pub(crate) drain: u64,
}

/// A script, and the settings of the server that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// The world, and the actions of the peers.
    pub(crate) script: Script,
    /// The settings of the server.
    pub(crate) settings: ServerSettings,
}

impl ServerSettings {
    /// The simplest settings: no script reaches a limit, and no timer runs.
    pub(crate) fn simple() -> ServerSettings {
        ServerSettings::decode(&Tape::default())
    }

    /// Decodes the last two words of a tape's first lane.
    fn decode(tape: &Tape) -> ServerSettings {
        let [.., mut a, mut b] = tape.world;
        ServerSettings {
            read_buffer: pick(&mut a, &[16, 1, 4, 64]),
            memory: pick(&mut a, &[None, None, Some(0), Some(1), Some(2)]),
            splices: pick(&mut a, &[false, true]),
            max_connections: pick(&mut a, &[usize::MAX, usize::MAX, usize::MAX, 1, 2]),
            accepts_a_turn: pick(&mut a, &[64, 1, 2]),
            turn: pick(&mut a, &[64, 1, 2, 4]),
            busy_poll: pick(&mut a, &[None, None, None, Some(3), Some(8)]),
            stats_every: pick(&mut a, &[None, None, None, Some(700)]),
            idle: pick(&mut b, &[None, None, Some(400), Some(60)]),
            stall: pick(&mut b, &[None, Some(300), Some(40)]),
            drain: pick(&mut b, &[5000, 200, 0]),
        }
    }

    /// Returns the limits of an event loop with these settings.
    pub(crate) fn limits(&self, backlog: usize) -> Limits {
        let after = |ms: Option<u64>| ms.map(Duration::from_millis);
        Limits {
            connections: Arc::new(Quota::new(self.max_connections)),
            expected_connections: 0,
            backlog,
            shrink_above: CROWD,
            read_buffer: self.read_buffer,
            pending_writes: Arc::new(Quota::new(self.memory.unwrap_or(1 << 20))),
            splice_threshold: self.splices.then_some(self.read_buffer),
            idle_timeout: after(self.idle),
            stall_timeout: after(self.stall),
            drain_timeout: Duration::from_millis(self.drain),
            busy_poll: after(self.busy_poll),
            stats_every: after(self.stats_every),
            turn_histograms: false,
            heartbeat: None,
            turn_budget: self.turn * LEAST_CHARGE,
            accepts_a_turn: self.accepts_a_turn,
        }
    }

    /// The time after which the kernel gives up on a peer that acknowledges nothing (`TCP_USER_TIMEOUT`). It is longer
    /// than the stall timeout, as in `Server::bind`.
    pub(crate) fn give_up_after(&self) -> Option<Duration> {
        self.stall.map(|after| Duration::from_millis(2 * after))
    }
}

impl Case {
    /// Decodes the first two lanes of a tape.
    pub(crate) fn decode(tape: &Tape) -> Case {
        let mut script = Script::decode(tape);
        let mut settings = ServerSettings::decode(tape);
        if settings.splices {
            // A connection splices only if it used up its budget in the turn before and its peer reads fast enough. The
            // small budget makes that frequent. The send queue has room for at most two reads, so some splices find it
            // full.
            settings.turn = 1;
            let world = &mut script.world;
            world.send_queue = world.send_queue.min(2 * settings.read_buffer);
            world.writable_at = world.writable_at.min(world.send_queue);
        }
        if script.world.crowd > 0 {
            // All peers of the crowd are connected at the same time.
            settings.max_connections = usize::MAX;
        }
        Case { script, settings }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differs = differences(&self.settings, &ServerSettings::simple());
        if !differs.is_empty() {
            writeln!(f, "the server's settings: {differs}")?;
        }
        self.script.fmt(f)
    }
}

/// The number of connections above which the server shrinks its tables after they have closed.
pub(crate) const CROWD: usize = 100;

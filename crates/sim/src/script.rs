//! The input of a run: the limits and faults of the world, and the actions of each peer.
//!
//! A script is decoded from a [`Tape`] or written in a test. This module runs nothing.

use std::fmt;

use crate::tape::{Tape, digit, pick};

/// The limits and the behaviour of a simulated kernel. Sizes are in bytes. They are small, so that a short script
/// reaches every limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The kind of selector.
    pub selector: Selector,
    /// Whether one event reports both directions of a socket.
    pub events: Events,
    /// The faults that happen at random.
    pub faults: Faults,
    /// Whether a read may be short, without any hint, although more bytes follow. A read of a Unix-domain socket is
    /// short after a message with descriptors. With [`Selector::Rearm`] every read may be short, whatever this field
    /// says.
    pub short_reads: bool,
    /// The number of listening sockets.
    pub listeners: usize,
    /// The maximal number of connections in one backlog.
    pub backlog: usize,
    /// The maximal number of open accepted streams: with this number open, accept fails with `EMFILE`.
    pub descriptors: usize,
    /// The capacity of the server's receive queue for one connection.
    pub receive_queue: usize,
    /// The capacity of the server's send queue for one connection.
    pub send_queue: usize,
    /// The room in the send queue that the selector requires to report the socket as writable. A write needs room for
    /// one byte only.
    pub writable_at: usize,
    /// Whether the kernel reports how much a peer has acknowledged, as Linux does for TCP (`TCP_INFO`, tcp(7)).
    pub tells_delivery: bool,
    /// Whether the kernel ends a connection whose bytes stay unacknowledged for too long (`TCP_USER_TIMEOUT`, tcp(7)).
    pub kernel_times_stalls: bool,
    /// Whether the send queue of a peer that reads nothing may grow, as it does on Linux.
    pub send_queue_grows: bool,
    /// The number of additional peers. Each of them sends one byte, reads it, and pauses for two seconds.
    pub crowd: usize,
    /// The first turn in which the server may be told to stop; `None`: only after every peer has finished.
    pub stop: Option<u64>,
}

/// The kind of selector: the rule by which it repeats a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Edge-triggered: epoll with `EPOLLET`, kqueue with `EV_CLEAR`. Each arrival is reported once, even if earlier
    /// bytes are still unread. Room to write is reported once after a write returned `WouldBlock`.
    Edge,
    /// Re-armed by calls: mio on Windows, and mio over `poll(2)`. After a report, a direction is not reported again
    /// until a call returns `WouldBlock`. That re-arms both directions.
    Rearm,
}

/// The number of events by which a selector reports one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// One event with every direction that is ready now, as epoll does.
    Merged,
    /// One event for each direction, as kqueue does.
    Split,
}

/// The faults that happen at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// No faults.
    None,
    /// Faults that change no peer's outcome: spurious events, polls that return early or late, suspensions of the
    /// server, `EINTR`, and accepts and splices that fail.
    Harmless,
    /// Also faults that end a connection, such as a registration that fails.
    All,
}

/// One action of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends this number of bytes, and waits for room where necessary.
    Send(u32),
    /// Reads this number of bytes of its echo, and waits for them where necessary.
    Read(u32),
    /// Does nothing for this time, in milliseconds. Pauses at the start of a script come before the peer connects.
    Pause(u32),
    /// Sends one urgent byte.
    SendUrgent,
    /// Ends its stream and can still read.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Closes its socket, even with unread bytes.
    Close,
    /// Stops answering for the rest of the run.
    Vanish,
}

/// A world and the actions of each peer. After its actions a peer reads the rest of its echo, ends its stream, and
/// waits for the end of the server's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The limits and the behaviour of the kernel.
    pub world: World,
    /// The actions of each peer.
    pub peers: Vec<Vec<Action>>,
}

impl World {
    /// The simplest world: no faults, and limits that a short script does not reach.
    pub fn simple() -> World {
        World::decode(&Tape::default())
    }

    /// Whether a short read proves the receive queue empty.
    pub fn short_read_means_empty(&self) -> bool {
        self.selector == Selector::Edge && !self.short_reads
    }

    /// Decodes the first three words of a tape's first lane.
    fn decode(tape: &Tape) -> World {
        let [mut a, mut b, mut c, ..] = tape.world;
        let receive_queue = pick(&mut b, &[64, 1, 6, 200]);
        let send_queue = pick(&mut b, &[64, 1, 6, 200]);
        World {
            selector: pick(&mut a, &[Selector::Edge, Selector::Rearm]),
            events: pick(&mut a, &[Events::Merged, Events::Split]),
            faults: pick(&mut a, &[Faults::None, Faults::All]),
            listeners: pick(&mut a, &[1, 1, 2]),
            short_reads: pick(&mut a, &[false, false, true]),
            backlog: pick(&mut a, &[8, 1, 2]),
            descriptors: pick(&mut a, &[usize::MAX, usize::MAX, 1, 2]),
            tells_delivery: pick(&mut a, &[true, true, false]),
            kernel_times_stalls: pick(&mut a, &[false, true]),
            send_queue_grows: pick(&mut a, &[false, true]),
            receive_queue,
            send_queue,
            writable_at: pick(&mut b, &[1, send_queue.div_ceil(3)]),
            crowd: match b % 500 {
                499 => 300,
                _ => 0,
            },
            stop: pick(&mut c, &[None, None, Some(())]).map(|()| u64::from(1 + c % 16)),
        }
    }
}

impl Script {
    /// Decodes the first two lanes of a tape.
    pub fn decode(tape: &Tape) -> Script {
        let mut script = Script {
            world: World::decode(tape),
            peers: Vec::new(),
        };
        for word in &tape.script {
            let mut word = *word;
            let peer = digit(&mut word, PEERS) as usize;
            let action = Action::decode(word);
            if script.peers.len() <= peer {
                script.peers.resize(peer + 1, Vec::new());
            }
            script.peers[peer].push(action);
        }
        for peer in &mut script.peers {
            make_possible(peer);
        }
        if script.world.crowd > 0 {
            // All peers of the crowd are connected at the same time. Then they leave.
            let one = vec![Action::Send(1), Action::Read(1), Action::Pause(2000)];
            let crowd = std::iter::repeat_n(one, script.world.crowd);
            script.peers.extend(crowd);
            script.world.backlog = script.world.crowd;
            script.world.descriptors = usize::MAX;
        }
        script
    }

    /// Creates a script from the actions of each peer.
    pub fn of(world: World, peers: &[&[Action]]) -> Script {
        Script {
            world,
            peers: peers.iter().map(|actions| actions.to_vec()).collect(),
        }
    }
}

impl Action {
    /// Decodes one word of a tape's second lane.
    fn decode(mut word: u32) -> Action {
        let kind = digit(&mut word, 20);
        let size = 1
            + word % 7
            + if word.is_multiple_of(3) {
                word / 3 % 250
            } else {
                0
            };
        match kind {
            0..=6 => Action::Send(size),
            7..=9 => Action::Read(size),
            10 | 11 => Action::Pause([1, 10, 50, 100, 350, 2000][word as usize % 6]),
            12 | 13 => Action::SendUrgent,
            14..=16 => Action::HalfClose,
            17 => Action::Reset,
            18 => Action::Close,
            _ => Action::Vanish,
        }
    }
}

/// Removes actions that are impossible: sends after the end of the stream, and reads of bytes that were not sent.
fn make_possible(actions: &mut Vec<Action>) {
    let (mut owed, mut ended, mut gone) = (0, false, false);
    actions.retain_mut(|action| {
        if gone {
            return false;
        }
        match action {
            Action::Send(_) | Action::SendUrgent | Action::HalfClose if ended => return false,
            Action::Send(n) => owed += *n,
            Action::SendUrgent => owed += 1,
            Action::Read(n) => {
                *n = (*n).min(owed);
                owed -= *n;
                return *n > 0;
            }
            Action::HalfClose => ended = true,
            Action::Reset | Action::Close | Action::Vanish => gone = true,
            Action::Pause(_) => {}
        }
        true
    });
}

/// Returns the fields of `here` that differ from those of `there`, as `name: value, name: value`.
pub fn differences<T: fmt::Debug>(here: &T, there: &T) -> String {
    let fields = |of: &T| {
        let text = format!("{of:?}");
        let (_, inside) = text.split_once(" { ").unwrap_or_default();
        let inside = inside.trim_end_matches(" }");
        inside.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let pairs = fields(here).into_iter().zip(fields(there));
    let differs: Vec<_> = pairs
        .filter_map(|(here, there)| (here != there).then_some(here))
        .collect();
    differs.join(", ")
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match differences(&self.world, &World::simple()) {
            differs if differs.is_empty() => writeln!(f, "the simplest world")?,
            differs => writeln!(f, "the simplest world, except {differs}")?,
        }
        let named = self.peers.len() - self.world.crowd;
        for (n, actions) in self.peers[..named].iter().enumerate() {
            write!(f, "peer {n} ")?;
            for action in actions {
                write!(f, "{action}, ")?;
            }
            writeln!(f, "then reads all of its echo and finishes")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Send(n) => write!(f, "sends {n}"),
            Action::Read(n) => write!(f, "reads {n}"),
            Action::Pause(ms) => write!(f, "pauses {ms} ms"),
            Action::SendUrgent => f.write_str("sends an urgent byte"),
            Action::HalfClose => f.write_str("ends its stream"),
            Action::Reset => f.write_str("resets"),
            Action::Close => f.write_str("closes"),
            Action::Vanish => f.write_str("vanishes"),
        }
    }
}

/// The maximal number of peers of a script that is decoded from a tape.
const PEERS: u32 = 5;

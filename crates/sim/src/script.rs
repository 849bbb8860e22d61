//! What a run is about: the world's limits, and what each peer does in it.
//!
//! Decoded from a [`Tape`], or written down in a test. Runs nothing.

use std::fmt;

use crate::tape::{Tape, digit, pick};

/// The limits and habits of a simulated world. Times are in milliseconds, sizes in bytes; they are small, so that a
/// short script meets every bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The promises of the selector.
    pub selector: Selector,
    /// How the selector puts what is ready into events.
    pub events: Events,
    /// Which faults happen at random.
    pub faults: Faults,
    /// Whether a read may be short with more behind it on an edge too, unannounced: a Unix-domain socket does that,
    /// behind a message with descriptors.
    pub short_reads: bool,
    /// How many listening sockets there are.
    pub listeners: usize,
    /// How many connections wait in one backlog at most.
    pub backlog: usize,
    /// How many accepted streams may be open before accept fails with `EMFILE`.
    pub descriptors: usize,
    /// How much the server's kernel holds of what a peer sent.
    pub receive_queue: usize,
    /// How much the server's kernel holds of what the server wrote.
    pub send_queue: usize,
    /// How much of the send queue must be free for the socket to be reported as writable. A write takes less.
    pub writable_at: usize,
    /// Whether the kernel tells what a peer has acknowledged, as Linux does for TCP.
    pub tells_delivery: bool,
    /// Whether the kernel ends a connection whose peer acknowledges nothing for long (`TCP_USER_TIMEOUT`).
    pub kernel_times_stalls: bool,
    /// Whether the kernel takes more and more for a peer that reads nothing, as Linux does.
    pub send_queue_grows: bool,
    /// How many more peers there are, which send a byte each and stay for a while.
    pub crowd: usize,
    /// In which turn the server is told to stop; `None` is when every peer has finished.
    pub stop: Option<u64>,
}

/// The promises of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Each arrival is reported once, whatever has been read meanwhile; room to write once after `WouldBlock`: epoll
    /// with `EPOLLET`, kqueue with `EV_CLEAR`.
    Edge,
    /// A direction that was reported is not reported again before a call has said `WouldBlock`, which re-arms both
    /// directions: Windows, and mio's `poll(2)`.
    Rearm,
}

/// How a selector puts what is ready into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// One event with all that is ready now, as epoll does.
    Merged,
    /// One event for each direction, as kqueue does.
    Split,
}

/// What goes wrong at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Nothing goes wrong.
    None,
    /// What changes no peer's outcome: events for nothing, polls that return early, `EINTR`, accepts that fail.
    Harmless,
    /// Registrations fail too, which ends a connection.
    All,
}

/// One thing that a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends so many bytes, waiting for room.
    Send(u32),
    /// Reads so many bytes of its echo, waiting for them.
    Read(u32),
    /// Does nothing for so many milliseconds. The first of these come before it connects.
    Pause(u32),
    /// Sends one urgent byte.
    SendUrgent,
    /// Ends its stream, and goes on reading.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Closes its socket, whatever it has not read.
    Close,
    /// Does and answers nothing from here on.
    Vanish,
}

/// A world and what each peer does in it. At the end of its actions a peer reads the whole of its echo, ends its
/// stream, and waits for the end of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The world.
    pub world: World,
    /// The actions of each peer.
    pub peers: Vec<Vec<Action>>,
}

impl World {
    /// A world in which nothing is short and nothing fails.
    pub fn tame() -> World {
        World::decode(&Tape::default())
    }

    /// Whether a short read proves that there is nothing more.
    pub fn short_read_means_empty(&self) -> bool {
        self.selector == Selector::Edge && !self.short_reads
    }

    /// Reads the first three words of a tape's first lane.
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
    /// Reads a tape's first two lanes.
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
            // They are there at the same time, and then they leave.
            let one = vec![Action::Send(1), Action::Read(1), Action::Pause(2000)];
            let crowd = std::iter::repeat_n(one, script.world.crowd);
            script.peers.extend(crowd);
            script.world.backlog = script.world.crowd;
            script.world.descriptors = usize::MAX;
        }
        script
    }

    /// A script that a test writes down.
    pub fn of(world: World, peers: &[&[Action]]) -> Script {
        Script {
            world,
            peers: peers.iter().map(|actions| actions.to_vec()).collect(),
        }
    }
}

impl Action {
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

/// Takes out what cannot be done: to send after the end, and to wait for bytes that were not sent.
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

/// The fields of one struct that are not as in the other, as `name: value, name: value`.
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
        match differences(&self.world, &World::tame()) {
            differs if differs.is_empty() => writeln!(f, "the world is tame")?,
            differs => writeln!(f, "the world is tame but for {differs}")?,
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

/// The most peers of a script on a tape.
const PEERS: u32 = 5;

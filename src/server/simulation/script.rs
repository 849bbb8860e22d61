//! What a run is about: the world's limits, and what each peer does in it.
//!
//! Decoded from a [`Tape`], or written down in a test. Knows no kernel.

use std::fmt;

use super::tape::{Tape, WORLD};

/// The limits and habits of a simulated world. Times are in milliseconds, sizes in bytes; they are small, so that a
/// short script meets every bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct World {
    /// What the selector promises.
    pub(crate) selector: Selector,
    /// How the selector puts what is ready into events.
    pub(crate) events: Events,
    /// Whether a read may be short with more behind it on an edge too, unannounced: a Unix-domain socket does that,
    /// behind a message with descriptors.
    pub(crate) short_reads: bool,
    /// How many listening sockets there are.
    pub(crate) listeners: usize,
    pub(crate) faults: Faults,
    pub(crate) accepts_a_turn: usize,
    /// In reads.
    pub(crate) turn: usize,
    pub(crate) read_buffer: usize,
    /// In spills; `None` is plenty.
    pub(crate) memory: Option<usize>,
    /// Whether the server has a pipe for what fills half of a read.
    pub(crate) splices: bool,
    /// What the server's kernel holds of what a peer sent.
    pub(crate) receive_queue: usize,
    /// What it holds of what the server wrote.
    pub(crate) send_queue: usize,
    /// So much of that must be free for the socket to be reported as writable. A write takes less.
    pub(crate) writable_at: usize,
    pub(crate) max_connections: usize,
    /// How many accepted streams may be open before accept fails with `EMFILE`.
    pub(crate) descriptors: usize,
    pub(crate) backlog: usize,
    pub(crate) idle: Option<u64>,
    pub(crate) stall: Option<u64>,
    pub(crate) drain: u64,
    /// Whether the kernel tells what a peer has acknowledged, as Linux does for TCP.
    pub(crate) tells_delivery: bool,
    /// Whether the kernel ends a connection whose peer acknowledges nothing for the stall timeout (`TCP_USER_TIMEOUT`).
    pub(crate) kernel_times_stalls: bool,
    /// Whether the kernel takes more and more for a peer that reads nothing, as Linux does.
    pub(crate) send_queue_grows: bool,
    /// For so long after an event the server polls without sleeping.
    pub(crate) busy_poll: Option<u64>,
    /// The server logs its statistics so often.
    pub(crate) stats_every: Option<u64>,
    /// So many more peers, which send a byte each and stay for a while.
    pub(crate) crowd: usize,
    /// In which turn the server is told to stop; otherwise it is when everybody has finished.
    pub(crate) stop: Option<u64>,
}

/// What a selector promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// Each arrival is reported once, whatever has been read meanwhile; room to write once after `WouldBlock`: epoll
    /// with `EPOLLET`, kqueue with `EV_CLEAR`.
    Edge,
    /// What has been reported is not reported again before a call has said `WouldBlock`, which re-arms both
    /// directions: Windows, and mio's `poll(2)`.
    Rearm,
}

/// How a selector puts what is ready into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// One event with all that is ready now, as epoll does.
    Merged,
    /// One event for each direction, as kqueue does.
    Split,
}

/// What goes wrong without anybody's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Nothing.
    None,
    /// What changes no peer's outcome: events for nothing, polls that return early, `EINTR`, accepts that fail.
    Harmless,
    /// Registrations fail too, which ends a connection.
    All,
}

/// One thing that a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
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
    /// Is never heard of again.
    Vanish,
}

/// A world and what each peer does in it. Whoever comes to the end of its actions reads the whole of its echo, ends
/// its stream, and waits for the end of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) world: World,
    pub(crate) peers: Vec<Vec<Action>>,
}

impl World {
    /// A world in which nothing is short and nothing fails.
    pub(crate) fn tame() -> World {
        World::decode([0; WORLD])
    }

    /// Whether a short read proves that there is nothing more.
    pub(crate) fn short_read_is_drained(&self) -> bool {
        self.selector == Selector::Edge && !self.short_reads
    }

    fn decode(words: [u32; WORLD]) -> World {
        let [mut a, mut b, mut c, mut d, mut e] = words;
        let send_queue = pick(&mut b, &[64, 1, 6, 200]);
        World {
            selector: pick(&mut a, &[Selector::Edge, Selector::Rearm]),
            events: pick(&mut a, &[Events::Merged, Events::Split]),
            faults: pick(&mut a, &[Faults::None, Faults::All]),
            listeners: pick(&mut a, &[1, 1, 2]),
            accepts_a_turn: pick(&mut a, &[64, 1, 2]),
            turn: pick(&mut a, &[64, 1, 2, 4]),
            short_reads: pick(&mut a, &[false, false, true]),
            read_buffer: pick(&mut b, &[16, 1, 4, 64]),
            memory: pick(&mut b, &[None, None, Some(0), Some(1), Some(2)]),
            receive_queue: pick(&mut b, &[64, 1, 6, 200]),
            send_queue,
            writable_at: pick(&mut b, &[1, send_queue.div_ceil(3)]),
            max_connections: pick(&mut c, &[usize::MAX, usize::MAX, usize::MAX, 1, 2]),
            descriptors: pick(&mut c, &[usize::MAX, usize::MAX, 1, 2]),
            backlog: pick(&mut c, &[8, 1, 2]),
            splices: pick(&mut c, &[false, true]),
            tells_delivery: pick(&mut e, &[true, true, false]),
            kernel_times_stalls: pick(&mut e, &[false, true]),
            send_queue_grows: pick(&mut e, &[false, true]),
            busy_poll: pick(&mut e, &[None, None, None, Some(3), Some(8)]),
            stats_every: pick(&mut e, &[None, None, None, Some(700)]),
            crowd: match e % 500 {
                499 => 300,
                _ => 0,
            },
            idle: pick(&mut d, &[None, None, Some(400), Some(60)]),
            stall: pick(&mut d, &[None, Some(300), Some(40)]),
            drain: pick(&mut d, &[5000, 200, 0]),
            stop: pick(&mut d, &[None, None, Some(())]).map(|()| u64::from(1 + d % 16)),
        }
    }
}

/// The next of a word's digits, as one of these.
fn pick<T: Copy>(word: &mut u32, of: &[T]) -> T {
    of[digit(word, of.len() as u32) as usize]
}

fn digit(word: &mut u32, base: u32) -> u32 {
    let digit = *word % base;
    *word /= base;
    digit
}

impl Script {
    /// Reads a tape's first two lanes.
    pub(crate) fn decode(tape: &Tape) -> Script {
        let mut script = Script {
            world: World::decode(tape.world),
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
            script.world.max_connections = usize::MAX;
            script.world.descriptors = usize::MAX;
        }
        script
    }

    /// This script in a world of its own, for tests that know what they want.
    #[cfg(test)]
    pub(crate) fn of(world: World, peers: &[&[Action]]) -> Script {
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

/// Takes out what cannot be done: sending after the end, and waiting for bytes that were not sent.
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

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tame = format!("{:?}", World::tame());
        let here = format!("{:?}", self.world);
        let inside = |text: &str| {
            let text = text.trim_start_matches("World { ").trim_end_matches(" }");
            text.split(", ").map(str::to_owned).collect::<Vec<_>>()
        };
        // Only what is not as in the tame world.
        let differs: Vec<_> = inside(&here)
            .into_iter()
            .zip(inside(&tame))
            .filter_map(|(here, tame)| (here != tame).then_some(here))
            .collect();
        match differs.is_empty() {
            true => writeln!(f, "the world is tame")?,
            false => writeln!(f, "the world is tame but for {}", differs.join(", "))?,
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

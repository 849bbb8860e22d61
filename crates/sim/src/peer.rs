//! A peer of a run: its script, its position in the script, and its only connection.

use crate::script::Action;
use crate::wire::Wire;

/// A peer, and its connection.
#[derive(Debug)]
pub struct Peer {
    /// Its actions, in order.
    pub script: Vec<Action>,
    /// How the connection ended for the peer; `None` before the end.
    pub ended: Option<Ended>,
    /// Its connection.
    pub wire: Wire,
    /// The index of its current action.
    at: usize,
    /// The number of bytes of that action that are done.
    done: u64,
    /// The end of its pause, or the time of its next attempt to connect. Times are milliseconds since the start of the
    /// run.
    pub(crate) wakes: u64,
    /// The time at which the server's keep-alive probes end the connection of a peer that has vanished.
    pub(crate) times_out_at: Option<u64>,
}

/// How a connection ended for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer has read the end of the server's stream.
    EndOfStream,
    /// The server's side reset the connection.
    ResetByServer,
    /// The listener was closed before the peer connected.
    Refused,
    /// The peer has reset the connection.
    Reset,
    /// The peer has closed its socket.
    Closed,
    /// The peer has vanished without closing its socket.
    Vanished,
}

impl Peer {
    /// A peer at the start of its script.
    pub(crate) fn new(script: &[Action]) -> Peer {
        Peer {
            script: script.to_vec(),
            ended: None,
            wire: Wire::new(),
            at: 0,
            done: 0,
            wakes: 0,
            times_out_at: None,
        }
    }

    /// The current action of the peer; `None` at the end of its script.
    pub(crate) fn action(&self) -> Option<&Action> {
        self.script.get(self.at)
    }

    /// Whether the peer has received as many bytes as it has sent.
    pub(crate) fn has_its_echo(&self) -> bool {
        self.wire.got == self.wire.sent
    }

    /// The number of bytes of the current action that are not done; 1 for an action without bytes.
    pub(crate) fn left_of_action(&self) -> u64 {
        let whole = match self.action() {
            Some(Action::Send(n) | Action::Read(n)) => u64::from(*n),
            _ => 1,
        };
        whole - self.done
    }

    /// Counts `n` bytes of the current action as done.
    pub(crate) fn did(&mut self, n: u64) {
        self.done += n;
        if self.left_of_action() == 0 {
            self.next_action();
        }
    }

    /// Goes on to the next action.
    pub(crate) fn next_action(&mut self) {
        self.at += 1;
        self.done = 0;
    }
}

//! A peer of a run: its script, how far it has come in it, and the one connection that it makes.

use crate::script::Action;
use crate::wire::Wire;

/// A peer, and its connection.
#[derive(Debug)]
pub struct Peer {
    /// Its actions, in order.
    pub script: Vec<Action>,
    /// How it ended for the peer, if it has.
    pub ended: Option<Ended>,
    /// Its connection.
    pub wire: Wire,
    /// The action that it is at.
    at: usize,
    /// How many bytes of that action are done.
    done: u64,
    /// Until when it does nothing, in milliseconds.
    pub(crate) wakes: u64,
    /// When the server's kernel finds that the peer has vanished.
    pub(crate) reaped_at: Option<u64>,
}

/// How a connection ended for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has read the end of the server's stream.
    EndOfStream,
    /// The server's side reset the connection.
    ResetByServer,
    /// The listener was closed.
    Refused,
    /// It has reset the connection.
    Reset,
    /// It has closed its socket.
    Closed,
    /// It has vanished.
    Vanished,
}

impl Peer {
    /// A peer that has done nothing yet.
    pub(crate) fn new(script: &[Action]) -> Peer {
        Peer {
            script: script.to_vec(),
            ended: None,
            wire: Wire::new(),
            at: 0,
            done: 0,
            wakes: 0,
            reaped_at: None,
        }
    }

    /// Its next action; `None` at the end of its script.
    pub(crate) fn action(&self) -> Option<&Action> {
        self.script.get(self.at)
    }

    /// Whether it has got as many bytes as it has sent.
    pub(crate) fn has_its_echo(&self) -> bool {
        self.wire.got == self.wire.sent
    }

    /// How many bytes of the action are left.
    pub(crate) fn left_of_action(&self) -> u64 {
        let whole = match self.action() {
            Some(Action::Send(n) | Action::Read(n)) => u64::from(*n),
            _ => 1,
        };
        whole - self.done
    }

    /// Counts `n` bytes of the action as done.
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

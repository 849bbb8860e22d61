//! Connections that used up their turn's budget, and listeners that used up their quota, and must run again. Under edge
//! triggering no event will announce what is left.
//!
//! Keys only; knows nothing of what lies under them.

#![allow(
    clippy::indexing_slicing,
    reason = "`push` makes room for a key before it is queued"
)]

/// A queue in which each key stands once.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    /// Keys of the next round, in the order in which they came.
    keys: Vec<usize>,
    /// Keys whose turns are coming in this round, the last one first.
    round: Vec<usize>,
    /// By key: whether it has its turn coming. Apart from the table, whose entries it would make larger by a word.
    marks: Vec<bool>,
}

impl RunQueue {
    /// Gives the key a turn in the next round, if it has none coming.
    pub(crate) fn push(&mut self, key: usize) {
        if self.marks.len() <= key {
            self.marks.resize(key + 1, false);
        }
        if !std::mem::replace(&mut self.marks[key], true) {
            self.keys.push(key);
        }
    }

    /// Whether the key has a turn coming.
    #[inline]
    pub(crate) fn contains(&self, key: usize) -> bool {
        self.marks.get(key).is_some_and(|mark| *mark)
    }

    /// Whether no key waits for the next round.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Begins a round with all keys of the queue. A key that is pushed from here on is in the next round.
    pub(crate) fn begin_round(&mut self) {
        std::mem::swap(&mut self.keys, &mut self.round);
        self.round.reverse();
    }

    /// Gives back the memory of a crowd that has left, if no key is queued.
    pub(crate) fn shrink(&mut self) {
        if self.keys.is_empty() && self.round.is_empty() {
            *self = RunQueue::default();
        }
    }

    /// Takes the next key of this round. From here on it can be pushed again.
    pub(crate) fn next_in_round(&mut self) -> Option<usize> {
        let key = self.round.pop()?;
        self.marks[key] = false;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_queues_once_and_again_when_its_turn_has_begun() {
        let mut queue = RunQueue::default();
        queue.push(3);
        queue.push(0);
        queue.push(3);
        assert!(queue.contains(3) && queue.contains(0) && !queue.contains(1) && !queue.contains(9));
        queue.begin_round();
        assert!(
            queue.is_empty() && queue.contains(3),
            "its turn is still to come"
        );
        queue.push(3);
        assert!(queue.is_empty(), "it was given a second turn");
        assert_eq!(queue.next_in_round(), Some(3));
        queue.push(3);
        assert_eq!(queue.next_in_round(), Some(0));
        assert_eq!(queue.next_in_round(), None);
        queue.begin_round();
        assert_eq!(queue.next_in_round(), Some(3));
    }
}

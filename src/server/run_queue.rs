//! The keys of connections and listeners that must run without a new event.
//!
//! A connection is in the queue when it used up its budget of a turn, and a listener when it used up its quota. The end
//! of a pause adds the listeners that waited for it. The start of a drain adds all connections. Under edge triggering,
//! no further event reports the bytes or connections that are left in the kernel (epoll(7)). The queue holds only keys.
//! It does not know the connections and listeners.

#![allow(
    clippy::indexing_slicing,
    reason = "`push` extends `marks` before it queues a key"
)]

/// A queue that holds each key at most once.
///
/// Call [`begin_turn`](RunQueue::begin_turn) once in each turn of the loop, and then
/// [`next_in_turn`](RunQueue::next_in_turn) until it returns `None`.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    /// Keys that run in the next turn, in the order of `push`.
    keys: Vec<usize>,
    /// Keys that still run in this turn, in reverse order: the next one is at the end.
    turn: Vec<usize>,
    /// By key: whether it is in the queue. The table does not store this, because its entries would grow by a word
    /// each.
    marks: Vec<bool>,
}

impl RunQueue {
    /// Adds the key for the next turn, unless it is already in the queue.
    pub(crate) fn push(&mut self, key: usize) {
        if self.marks.len() <= key {
            self.marks.resize(key + 1, false);
        }
        if !std::mem::replace(&mut self.marks[key], true) {
            self.keys.push(key);
        }
    }

    /// Returns true if the key is in the queue, for this turn or the next one.
    #[inline]
    pub(crate) fn contains(&self, key: usize) -> bool {
        self.marks.get(key).is_some_and(|mark| *mark)
    }

    /// Returns true if the queue holds no key for the next turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Begins a turn, in which all keys of the queue run. A key that is pushed after this call runs in the next turn.
    pub(crate) fn begin_turn(&mut self) {
        std::mem::swap(&mut self.keys, &mut self.turn);
        self.turn.reverse();
    }

    /// Frees the memory of the queue, unless it holds a key. The loop calls this after many connections have closed.
    pub(crate) fn shrink(&mut self) {
        if self.keys.is_empty() && self.turn.is_empty() {
            *self = RunQueue::default();
        }
    }

    /// Takes the next key of this turn out of the queue. `push` can then add it again.
    pub(crate) fn next_in_turn(&mut self) -> Option<usize> {
        let key = self.turn.pop()?;
        self.marks[key] = false;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_queued_once_and_can_be_pushed_again_while_it_runs() {
        let mut queue = RunQueue::default();
        queue.push(3);
        queue.push(0);
        queue.push(3);
        assert!(queue.contains(3) && queue.contains(0) && !queue.contains(1) && !queue.contains(9));
        queue.begin_turn();
        assert!(
            queue.is_empty() && queue.contains(3),
            "key 3 must still run in this turn"
        );
        queue.push(3);
        assert!(queue.is_empty(), "key 3 was queued twice");
        assert_eq!(queue.next_in_turn(), Some(3));
        queue.push(3);
        assert_eq!(queue.next_in_turn(), Some(0));
        assert_eq!(queue.next_in_turn(), None);
        queue.begin_turn();
        assert_eq!(queue.next_in_turn(), Some(3));
    }
}

//! Who has more to do than the last turn had room for. Under edge triggering nothing else will call them again.
//!
//! Keys only; knows nothing of what lies under them.

/// A queue in which each key stands once.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    keys: Vec<usize>,
    /// By key: whether it has its turn coming. Apart from the table, whose entries it would make larger by a word.
    marks: Vec<bool>,
}

impl ReadyQueue {
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
    pub(crate) fn has(&self, key: usize) -> bool {
        self.marks.get(key).is_some_and(|mark| *mark)
    }

    /// Whether nobody is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All that are in the queue, in order. Each keeps its turn until that [begins](ReadyQueue::begin).
    pub(crate) fn take_round(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.keys)
    }

    /// The key's turn begins: from here on it may queue again.
    pub(crate) fn begin(&mut self, key: usize) {
        self.marks[key] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_queues_once_and_again_when_its_turn_has_begun() {
        let mut ready = ReadyQueue::default();
        ready.push(3);
        ready.push(0);
        ready.push(3);
        assert!(ready.has(3) && ready.has(0) && !ready.has(1) && !ready.has(9));
        assert_eq!(ready.take_round(), [3, 0]);
        assert!(
            ready.is_empty() && ready.has(3),
            "its turn is still to come"
        );
        ready.push(3);
        assert!(ready.is_empty(), "it was given a second turn");
        ready.begin(3);
        ready.push(3);
        assert_eq!(ready.take_round(), [3]);
    }
}

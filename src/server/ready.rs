//! Who has more to do than the last turn had room for. Under edge triggering nothing else will call them again.
//!
//! Keys only; knows nothing of what lies under them.

/// A queue in which each key stands once.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    keys: Vec<usize>,
    /// Whose turns are coming in this round, the last one first.
    round: Vec<usize>,
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

    /// Whether nobody waits for the next round.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Begins a round with all that are in the queue: who comes from here on is in the next one.
    pub(crate) fn begin_round(&mut self) {
        std::mem::swap(&mut self.keys, &mut self.round);
        self.round.reverse();
    }

    /// Whose turn it is in this round, in the order in which they came. From here on the key may queue again.
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
        let mut ready = ReadyQueue::default();
        ready.push(3);
        ready.push(0);
        ready.push(3);
        assert!(ready.has(3) && ready.has(0) && !ready.has(1) && !ready.has(9));
        ready.begin_round();
        assert!(
            ready.is_empty() && ready.has(3),
            "its turn is still to come"
        );
        ready.push(3);
        assert!(ready.is_empty(), "it was given a second turn");
        assert_eq!(ready.next_in_round(), Some(3));
        ready.push(3);
        assert_eq!(ready.next_in_round(), Some(0));
        assert_eq!(ready.next_in_round(), None);
        ready.begin_round();
        assert_eq!(ready.next_in_round(), Some(3));
    }
}

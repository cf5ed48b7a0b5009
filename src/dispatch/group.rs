use std::sync::Mutex;

use crate::sync::lock;

/// Collects things while a batch is being written, so that however slow a write is, one serves all
/// who wait.
pub(super) struct Group<T> {
    waiting: Mutex<Backlog<T>>,
}

struct Backlog<T> {
    things: Vec<T>,
    /// Somebody writes, and will ask for the next batch.
    is_busy: bool,
}

impl<T> Group<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(Backlog {
                things: Vec::new(),
                is_busy: false,
            }),
        }
    }

    /// Says whether nobody writes: then the caller has to.
    #[must_use]
    pub(super) fn push(&self, things: impl IntoIterator<Item = T>) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.things.extend(things);
        !std::mem::replace(&mut waiting.is_busy, true)
    }

    /// The next batch, of at most so many; empty when there is none, and nobody writes any more.
    pub(super) fn next(&self, at_most: usize) -> Vec<T> {
        let mut waiting = lock(&self.waiting);
        if waiting.things.len() > at_most {
            return waiting.things.drain(..at_most).collect();
        }
        waiting.is_busy = !waiting.things.is_empty();
        std::mem::take(&mut waiting.things)
    }

    /// Of those that wait at most so many more, for whoever writes already.
    pub(super) fn more(&self, at_most: usize) -> Vec<T> {
        let things = &mut lock(&self.waiting).things;
        let number = at_most.min(things.len());
        things.drain(..number).collect()
    }

    /// Looks at each that waits.
    pub(super) fn map_waiting<R>(&self, look: impl FnMut(&mut T) -> R) -> Vec<R> {
        lock(&self.waiting).things.iter_mut().map(look).collect()
    }

    /// All that is left; whoever has been writing does so no more.
    pub(super) fn abandon(&self) -> Vec<T> {
        let mut waiting = lock(&self.waiting);
        waiting.is_busy = false;
        std::mem::take(&mut waiting.things)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_and_the_others_wait_for_it() {
        let group = Group::new();
        assert!(group.push([1]));
        assert!(!group.push([2]));
        assert_eq!(group.next(9), [1, 2]);
        assert!(!group.push([3, 4, 5]));
        assert_eq!(group.next(2), [3, 4]);
        assert_eq!(group.next(2), [5]);
        assert_eq!(group.next(2), [0; 0]);
        assert!(group.push([6]), "nobody writes any more");
    }

    #[test]
    fn whoever_writes_takes_more() {
        let group = Group::new();
        let _ = group.push([1, 2, 3]);
        assert_eq!(group.next(1), [1]);
        assert_eq!(group.more(1), [2]);
        assert_eq!(group.more(9), [3]);
        assert_eq!(group.more(9), [0; 0]);
        assert!(!group.push([4]), "it still writes");
    }

    #[test]
    fn what_a_writer_leaves_is_somebody_elses() {
        let group = Group::new();
        let _ = group.push([1, 2]);
        assert_eq!(group.abandon(), [1, 2]);
        assert!(group.push([3]));
    }
}

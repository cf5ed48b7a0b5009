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

/// Of what there are at most so many in a batch, and at most so many bytes, or one.
pub(super) struct Bounds<T> {
    pub(super) number: usize,
    pub(super) bytes: usize,
    pub(super) len: fn(&T) -> usize,
}

impl<T> Bounds<T> {
    /// Of what has no bytes to speak of.
    pub(super) fn at_most(number: usize) -> Self {
        Self {
            number,
            bytes: usize::MAX,
            len: |_| 0,
        }
    }

    fn fitting(&self, things: &[T]) -> usize {
        let mut bytes = 0_usize;
        let fits = |&(at, thing): &(usize, &T)| {
            bytes = bytes.saturating_add((self.len)(thing));
            at == 0 || bytes <= self.bytes
        };
        let some = things.iter().take(self.number);
        some.enumerate().take_while(fits).count()
    }
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

    /// The next batch; empty when there is none, and nobody writes any more.
    pub(super) fn next(&self, bounds: &Bounds<T>) -> Vec<T> {
        let mut waiting = lock(&self.waiting);
        let number = bounds.fitting(&waiting.things);
        if waiting.things.len() > number {
            return waiting.things.drain(..number).collect();
        }
        waiting.is_busy = !waiting.things.is_empty();
        std::mem::take(&mut waiting.things)
    }

    /// Of those that wait at most so many more, for whoever writes already.
    pub(super) fn more(&self, bounds: &Bounds<T>) -> Vec<T> {
        let things = &mut lock(&self.waiting).things;
        let number = bounds.fitting(things);
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
        assert_eq!(group.next(&Bounds::at_most(9)), [1, 2]);
        assert!(!group.push([3, 4, 5]));
        assert_eq!(group.next(&Bounds::at_most(2)), [3, 4]);
        assert_eq!(group.next(&Bounds::at_most(2)), [5]);
        assert_eq!(group.next(&Bounds::at_most(2)), [0; 0]);
        assert!(group.push([6]), "nobody writes any more");
    }

    #[test]
    fn whoever_writes_takes_more() {
        let group = Group::new();
        let _ = group.push([1, 2, 3]);
        assert_eq!(group.next(&Bounds::at_most(1)), [1]);
        assert_eq!(group.more(&Bounds::at_most(1)), [2]);
        assert_eq!(group.more(&Bounds::at_most(9)), [3]);
        assert_eq!(group.more(&Bounds::at_most(9)), [0; 0]);
        assert!(!group.push([4]), "it still writes");
    }

    #[test]
    fn what_a_writer_leaves_is_somebody_elses() {
        let group = Group::new();
        let _ = group.push([1, 2]);
        assert_eq!(group.abandon(), [1, 2]);
        assert!(group.push([3]));
    }

    #[test]
    fn a_batch_has_so_many_bytes_or_one_thing() {
        let group = Group::new();
        let bounds = || Bounds {
            number: 9,
            bytes: 10,
            len: |thing: &usize| *thing,
        };
        let _ = group.push([0, 11, 4, 6, 1, 0, 0, 0]);
        assert_eq!(group.next(&bounds()), [0]);
        assert_eq!(group.next(&bounds()), [11]);
        assert_eq!(group.next(&bounds()), [4, 6]);
        assert_eq!(group.next(&bounds()), [1, 0, 0, 0]);
    }
}

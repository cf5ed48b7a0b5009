//! What was pulled and not handed out: more bytes than were wanted, or what came in the place of a
//! delivery that was inserted. It is handed out before anything else is pulled.

use std::{collections::VecDeque, time::Duration};

use crate::pull::Pulled;

/// The most that lies here before an insert stops looking for what it has inserted.
const DELIVERIES: usize = 256;
const BYTES: usize = 16 << 20;

#[derive(Default)]
pub(crate) struct Ready {
    queue: VecDeque<Pulled>,
}

impl Ready {
    pub(crate) fn push(&mut self, pulled: Pulled) {
        self.queue.push_back(pulled);
    }

    /// The ones that came first.
    pub(crate) fn take(&mut self) -> VecDeque<Pulled> {
        std::mem::take(&mut self.queue)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        let bytes = self.queue.iter().map(|pulled| pulled.stored.payload.len());
        self.queue.len() >= DELIVERIES || bytes.sum::<usize>() >= BYTES
    }

    pub(crate) fn take_older_than(&mut self, age: Duration) -> Vec<Pulled> {
        let is_old = |pulled: &Pulled| pulled.at.elapsed() >= age;
        let (old, queue): (Vec<_>, Vec<_>) = self.take().into_iter().partition(is_old);
        self.queue = queue.into();
        old
    }
}

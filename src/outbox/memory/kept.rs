use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use crate::id::DeliveryId;

/// What has ended and is kept to be looked at, the oldest first. Its rows are elsewhere.
pub(super) struct Kept {
    queue: VecDeque<Entry>,
    bytes: usize,
    pub(super) limits: KeptLimits,
}

pub(super) struct KeptLimits {
    pub(super) number: usize,
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

struct Entry {
    id: DeliveryId,
    since: SystemTime,
    bytes: usize,
}

impl Kept {
    pub(super) fn new(limits: KeptLimits) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            limits,
        }
    }

    pub(super) fn push(&mut self, id: DeliveryId, bytes: usize, since: SystemTime) {
        self.queue.push_back(Entry { id, since, bytes });
        self.bytes += bytes;
    }

    /// Takes out the oldest one, where it has to go: there are too many, or it was kept for long enough.
    pub(super) fn pop_due(&mut self, now: SystemTime) -> Option<DeliveryId> {
        let KeptLimits {
            number,
            bytes,
            time,
        } = self.limits;
        let oldest = self.queue.front()?;
        let is_due = self.queue.len() > number
            || self.bytes > bytes
            || now.duration_since(oldest.since).unwrap_or_default() > time;
        if !is_due {
            return None;
        }
        let oldest = self.queue.pop_front()?;
        self.bytes -= oldest.bytes;
        Some(oldest.id)
    }

    pub(super) fn retain(&mut self, stays: impl Fn(DeliveryId) -> bool) {
        let bytes = &mut self.bytes;
        self.queue.retain(|entry| {
            let stays = stays(entry.id);
            if !stays {
                *bytes -= entry.bytes;
            }
            stays
        });
    }
}

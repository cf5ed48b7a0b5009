use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    Delivery,
    outbox::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState},
};

/// The dead letters of this process: so many, so many bytes, for so long. The oldest go first.
#[derive(Debug)]
pub(super) struct DeadLetters {
    kept: Mutex<Kept>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) number: usize,
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) delivery: Delivery,
    pub(super) accepted_at: SystemTime,
    pub(super) attempts: Vec<AttemptRecord>,
    died_at: SystemTime,
}

impl DeadLetters {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            kept: Mutex::default(),
            limits,
        }
    }

    pub(super) fn put(
        &self,
        delivery: &Delivery,
        accepted_at: SystemTime,
        attempts: Vec<AttemptRecord>,
    ) {
        let mut kept = self.lock();
        kept.bytes += delivery.payload().len();
        kept.letters.push_back(DeadLetter {
            // It holds no room while it lies here.
            delivery: delivery.detached(),
            accepted_at,
            attempts,
            died_at: SystemTime::now(),
        });
        while kept.letters.len() > self.limits.number || kept.bytes > self.limits.bytes {
            kept.drop_oldest();
        }
    }

    pub(super) fn list(&self, filter: &DeliveryFilter) -> Vec<DeliveryRecord> {
        let kept = self.lock();
        let letters = kept.letters.iter().rev();
        let wanted = letters.filter(|letter| letter.passes(filter));
        wanted
            .take(filter.limit())
            .map(DeadLetter::record)
            .collect()
    }

    pub(super) fn take(&self, filter: &DeliveryFilter) -> Vec<DeadLetter> {
        let mut kept = self.lock();
        let letters = std::mem::take(&mut kept.letters);
        let mut taken = Vec::new();
        for letter in letters {
            if taken.len() < filter.limit() && letter.passes(filter) {
                kept.bytes -= letter.delivery.payload().len();
                taken.push(letter);
            } else {
                kept.letters.push_back(letter);
            }
        }
        taken
    }

    /// What has lain here for too long is gone before anybody sees it.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let age = |letter: &DeadLetter| now.duration_since(letter.died_at).unwrap_or_default();
        while kept
            .letters
            .front()
            .is_some_and(|oldest| age(oldest) > self.limits.time)
        {
            kept.drop_oldest();
        }
        kept
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.letters.pop_front() {
            self.bytes -= oldest.delivery.payload().len();
        }
    }
}

impl DeadLetter {
    fn passes(&self, filter: &DeliveryFilter) -> bool {
        let (since, until) = filter.accepted();
        let is = |wanted: Option<bool>| wanted.unwrap_or(true);
        is(filter.id().map(|id| id == self.delivery.id()))
            && is(filter.state().map(|state| state == DeliveryState::Dead))
            && is(filter
                .endpoint_host()
                .map(|host| host == self.delivery.endpoint().host()))
            && is(since.map(|since| self.accepted_at >= since))
            && is(until.map(|until| self.accepted_at < until))
    }

    fn record(&self) -> DeliveryRecord {
        let delivery = &self.delivery;
        let mut record = DeliveryRecord::new(
            delivery.id().clone(),
            delivery.endpoint().clone(),
            delivery.status(),
            delivery.payload().len(),
            self.accepted_at,
        );
        record.state = DeliveryState::Dead;
        record.attempts.clone_from(&self.attempts);
        record
    }
}

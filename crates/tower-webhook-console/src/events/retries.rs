use std::time::SystemTime;

use tower_webhook::DeliveryId;

/// Of so many, the time of the next attempt is known; the oldest are forgotten.
const KEPT: usize = 512;

/// When deliveries are due again that have failed: a ring of a fixed size.
pub(super) struct Retries {
    ring: Vec<(DeliveryId, SystemTime)>,
    next: usize,
}

impl Retries {
    pub(super) fn new() -> Self {
        Self {
            ring: Vec::with_capacity(KEPT),
            next: 0,
        }
    }

    pub(super) fn add(&mut self, id: DeliveryId, due: SystemTime) {
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = (id, due),
            None => self.ring.push((id, due)),
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The last that was told.
    pub(super) fn due(&self, id: DeliveryId) -> Option<SystemTime> {
        let of_it = self.ring.iter().filter(|(other, _)| *other == id);
        of_it.map(|(_, due)| *due).max()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_time_counts_and_the_oldest_are_forgotten() {
        let mut retries = Retries::new();
        let (id, now) = (DeliveryId::fresh(), SystemTime::now());
        retries.add(id, now);
        retries.add(id, now + Duration::from_secs(1));
        assert_eq!(retries.due(id), Some(now + Duration::from_secs(1)));
        for _ in 0..KEPT {
            retries.add(DeliveryId::fresh(), now);
        }
        assert_eq!(retries.due(id), None);
        assert_eq!(retries.ring.capacity(), KEPT);
    }
}

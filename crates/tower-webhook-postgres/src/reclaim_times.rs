use std::time::{Duration, Instant};

/// Expired leases are looked for every tenth of a lease within these bounds, and that takes at most one part
/// in `PART` of the time.
const MOST_OFTEN: Duration = Duration::from_millis(50);
const LEAST_OFTEN: Duration = Duration::from_secs(1);
const PART: u32 = 20;

/// When expired leases are looked for.
///
/// A server that was away may have kept everybody from renewing, and fetches are more frequent than renewals.
/// So after an outage nothing is reclaimed for half a lease, which is longer than the third of a lease between
/// renewals. Leases of a dead process are reclaimed by then.
pub(crate) struct ReclaimTimes {
    every: Duration,
    grace: Duration,
    next: Instant,
    last_fetch: Instant,
    has_waited: bool,
}

impl ReclaimTimes {
    pub(crate) fn new(lease: Duration, now: Instant) -> Self {
        Self {
            every: (lease / 10).clamp(MOST_OFTEN, LEAST_OFTEN),
            grace: lease / 2,
            next: now,
            last_fetch: now,
            has_waited: false,
        }
    }

    pub(crate) fn note_fetch(&mut self, is_ok: bool, now: Instant) {
        match is_ok {
            true => self.last_fetch = now,
            false => self.has_waited = false,
        }
    }

    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        // Nothing is known of the time since. Once only, or a process that fetches rarely would never reclaim.
        if !self.has_waited && now.duration_since(self.last_fetch) > self.grace {
            self.next = now + self.grace;
            self.has_waited = true;
        }
        now >= self.next
    }

    /// All that had expired was found, or there may be more: then the next fetch continues.
    pub(crate) fn end(&mut self, is_all: bool, began: Instant, now: Instant) {
        self.has_waited = false;
        self.next = match is_all {
            true => now + (now.duration_since(began) * PART).max(self.every),
            false => began,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    /// A fetch at that time, which reclaims if it is time for that.
    fn fetch(times: &mut ReclaimTimes, now: Instant) -> bool {
        let is_due = times.is_due(now);
        if is_due {
            times.end(true, now, now);
        }
        times.note_fetch(true, now);
        is_due
    }

    #[test]
    fn it_is_due_ten_times_in_a_lease() {
        let now = Instant::now();
        let mut times = ReclaimTimes::new(LEASE, now);
        let due = (0..20).filter(|half| fetch(&mut times, now + SECOND / 2 * *half));
        assert_eq!(due.count(), 10);
    }

    #[test]
    fn after_fetches_that_failed_everybody_can_renew_first() {
        let now = Instant::now();
        let mut times = ReclaimTimes::new(LEASE, now);
        assert!(fetch(&mut times, now));
        for seconds in 1..30 {
            let now = now + SECOND * seconds;
            times.is_due(now);
            times.note_fetch(false, now);
        }
        let back = now + 3 * LEASE;
        assert!(!fetch(&mut times, back));
        assert!(!fetch(&mut times, back + LEASE / 3));
        assert!(fetch(&mut times, back + LEASE / 2));
    }

    #[test]
    fn after_a_time_without_fetches_everybody_can_renew_first() {
        let now = Instant::now();
        let mut times = ReclaimTimes::new(LEASE, now);
        assert!(fetch(&mut times, now));
        let back = now + 3 * LEASE;
        assert!(!fetch(&mut times, back));
        assert!(!fetch(&mut times, back + LEASE / 3));
        assert!(fetch(&mut times, back + LEASE / 2));
    }

    #[test]
    fn whoever_fetches_rarely_reclaims_every_other_time() {
        let now = Instant::now();
        let mut times = ReclaimTimes::new(LEASE, now);
        let due: Vec<_> = (1..5)
            .map(|time| fetch(&mut times, now + time * LEASE))
            .collect();
        assert_eq!(due, [false, true, false, true]);
    }

    #[test]
    fn after_a_full_batch_the_next_fetch_continues() {
        let now = Instant::now();
        let mut times = ReclaimTimes::new(LEASE, now);
        assert!(times.is_due(now));
        times.end(false, now, now + SECOND);
        assert!(times.is_due(now + SECOND));
    }
}

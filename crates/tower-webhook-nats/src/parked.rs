//! What is due in the stream for hosts without a permit. A stream cannot skip a host: it is pulled,
//! handed back, and comes again after a delay.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tower_webhook::{endpoint::Host, outbox::StoredDelivery};

/// So many are looked at again a second, however many wait. Hosts have equal shares of it.
const A_SECOND: u32 = 1_000;
/// Larger payloads count as several.
const BYTES: usize = 16 << 10;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3_600);

/// Each host's messages come again one after the other: what is handed back goes to the end of its line.
#[derive(Default)]
pub(crate) struct Parked {
    /// When the last one of each host comes again.
    last_of: HashMap<Host, Instant>,
}

impl Parked {
    /// After what time it is to come again. A host that takes many waits for no others: those that take nothing,
    /// however many they are, would keep its messages away for minutes.
    pub(crate) fn park(
        &mut self,
        stored: &StoredDelivery,
        is_taker: bool,
        now: Instant,
    ) -> Duration {
        let last = self.last_of.remove(&stored.host).unwrap_or(now);
        let hosts = match is_taker {
            true => 1,
            false => u32::try_from(1 + self.last_of.len()).unwrap_or(u32::MAX),
        };
        let looks = 1 + u64::try_from(stored.payload.len() / BYTES).unwrap_or(u64::MAX);
        let after = last + Duration::from_secs(looks) * hosts / A_SECOND;
        let at = after.clamp(now + SHORTEST, now + LONGEST);
        self.last_of.insert(stored.host.clone(), at);
        at - now
    }

    /// The time until some come again; `None` where all have.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Duration> {
        self.last_of.retain(|_, last| *last > now);
        (!self.last_of.is_empty()).then_some(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tower_webhook::{DeliveryId, RequestId, outbox::Envelope};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stored(host: &str, len: usize) -> StoredDelivery {
        StoredDelivery::new(
            DeliveryId::fresh(),
            RequestId::parse("run_1").unwrap(),
            Host::from(host),
            None,
            SystemTime::UNIX_EPOCH,
            Envelope::from_bytes(Vec::new()),
            Bytes::from(vec![0; len]).into(),
        )
    }

    /// Parked in one moment, they would come in one moment, and all but a few be parked again.
    #[test]
    fn they_come_again_one_after_the_other() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        let one = stored("a.example", 4);
        let delays: Vec<_> = (0..5_000).map(|_| parked.park(&one, false, now)).collect();
        assert_eq!(delays[0], SHORTEST);
        assert!(delays.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(delays[4_999], SHORTEST + SECOND * 4_999 / 1_000);
        assert_eq!(parked.next(now), Some(SHORTEST));
        // Half of them have come, and go to the end.
        let later = now + SECOND * 5 / 2;
        let again = parked.park(&one, false, later);
        assert_eq!(again, SHORTEST + SECOND * 5_000 / 1_000 - SECOND * 5 / 2);
        assert_eq!(parked.next(now + 6 * SECOND), None);
        assert_eq!(parked.park(&one, false, now + 6 * SECOND), SHORTEST);
    }

    #[test]
    fn a_host_has_to_wait_for_none_of_another_one() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        for _ in 0..1_000_000 {
            parked.park(&stored("dead.example", 4), false, now);
        }
        let few: Vec<_> = (0..100)
            .map(|_| parked.park(&stored("busy.example", 4), false, now))
            .collect();
        assert_eq!(few[99], SHORTEST + SECOND * 99 * 2 / 1_000);
    }

    #[test]
    fn a_host_that_takes_many_comes_as_if_it_were_alone() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        for number in 0..1_000 {
            parked.park(&stored(&format!("dead{number}.example"), 4), false, now);
        }
        let taker = stored("quick.example", 4);
        let delays: Vec<_> = (0..1_000).map(|_| parked.park(&taker, true, now)).collect();
        assert_eq!(delays[999], SHORTEST + SECOND * 999 / 1_000);
    }

    #[test]
    fn large_ones_come_more_rarely() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        let large = stored("a.example", 1 << 20);
        parked.park(&large, false, now);
        assert_eq!(
            parked.park(&large, false, now) - SHORTEST,
            SECOND * 65 / 1_000
        );
        for _ in 0..100_000 {
            parked.park(&large, false, now);
        }
        assert_eq!(parked.park(&large, false, now), LONGEST);
    }
}

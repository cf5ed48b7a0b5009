//! What is due in the stream for hosts without a permit. A stream cannot skip a host: it is pulled,
//! handed back, and comes again after a delay.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So many are looked at again a second, however many wait.
const A_SECOND: u32 = 1_000;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Parked {
    /// How many come again at which time.
    back: VecDeque<(Instant, usize)>,
    number: usize,
}

impl Parked {
    /// After what time so many are to come again.
    pub(crate) fn park(&mut self, more: usize, now: Instant) -> Duration {
        while let Some(&(at, number)) = self.back.front()
            && at <= now
        {
            self.number -= number;
            self.back.pop_front();
        }
        self.number += more;
        let number = u32::try_from(self.number).unwrap_or(u32::MAX);
        let delay = Duration::from_secs(number.into()) / A_SECOND;
        let delay = delay.clamp(SHORTEST, LONGEST);
        let at = now + delay;
        // In the order in which they come again.
        let later = self.back.partition_point(|&(other, _)| other <= at);
        self.back.insert(later, (at, more));
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_looked_at_again_a_second() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        assert_eq!(parked.park(1, now), SHORTEST);
        assert_eq!(parked.park(4_999, now), Duration::from_secs(5));
        assert_eq!(parked.park(1_000_000, now), LONGEST);
        // All but the last have come again by then.
        let later = now + Duration::from_secs(20);
        assert_eq!(parked.park(1, later), LONGEST);
        assert_eq!(parked.park(1, later + LONGEST), SHORTEST);
    }
}

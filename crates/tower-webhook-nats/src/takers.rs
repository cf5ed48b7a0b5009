//! Hosts that take many at once, and how many they take. What is handed back comes again slowly, and a quick host
//! would soon have taken it: so little of such a host's is handed back in search of what others may get.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tower_webhook::endpoint::Host;

/// In one call. A host that does not answer never gets so many.
const MANY: usize = 32;
const LATELY: Duration = Duration::from_secs(1);
/// Who takes so many a second takes them about as fast as they come again.
const QUICK: u32 = 500;
/// After some of a quick host's were handed back, nothing is looked for behind its messages for so long.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Takers {
    taken: HashMap<Host, Taken>,
    pause_ends: Option<Instant>,
}

/// What one host has taken.
struct Taken {
    last: Instant,
    since: Instant,
    /// Since then, and in the time before.
    numbers: [u32; 2],
}

impl Takers {
    /// It has got one more, so many of this call by now.
    pub(crate) fn add(&mut self, host: &Host, of_call: usize, now: Instant) {
        if of_call < MANY {
            return;
        }
        if of_call == MANY {
            self.taken.retain(|_, taken| now - taken.last < LATELY);
            self.taken.entry(host.clone()).or_insert(Taken {
                last: now,
                since: now,
                numbers: [0; 2],
            });
        }
        let Some(taken) = self.taken.get_mut(host) else {
            return;
        };
        if now - taken.since >= LATELY {
            taken.since = now;
            taken.numbers = [0, taken.numbers[0]];
        }
        taken.last = now;
        // The first ones were not counted.
        let number = if of_call == MANY { MANY } else { 1 };
        taken.numbers[0] += u32::try_from(number).unwrap_or(u32::MAX);
    }

    pub(crate) fn is_one(&self, host: &Host, now: Instant) -> bool {
        self.rate(host, now).is_some()
    }

    pub(crate) fn is_quick(&self, host: &Host, now: Instant) -> bool {
        self.rate(host, now).is_some_and(|rate| rate >= QUICK)
    }

    /// How many it has taken in a second; `None` where it has not taken many lately.
    fn rate(&self, host: &Host, now: Instant) -> Option<u32> {
        let taken = self.taken.get(host)?;
        let [current, before] = taken.numbers;
        (now - taken.last < LATELY).then_some(current.max(before))
    }

    pub(crate) fn begin_pause(&mut self, now: Instant) {
        self.pause_ends = Some(now + PAUSE);
    }

    /// What is left of it.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        let ends = self.pause_ends.unwrap_or(now);
        ends.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(takers: &mut Takers, host: &Host, number: usize, now: Instant) {
        for of_call in 1..=number {
            takers.add(host, of_call, now);
        }
    }

    #[test]
    fn who_took_many_is_one_for_a_second() {
        let (mut takers, now) = (Takers::default(), Instant::now());
        let [quick, other] = ["quick.example", "other.example"].map(Host::from);
        take(&mut takers, &quick, MANY, now);
        take(&mut takers, &other, MANY - 1, now);
        assert!(takers.rate(&quick, now + LATELY / 2).is_some());
        assert_eq!(takers.rate(&other, now), None);
        assert_eq!(takers.rate(&quick, now + LATELY), None);
        take(&mut takers, &other, MANY, now + LATELY);
        assert_eq!(takers.taken.len(), 1, "nobody is remembered for longer");
    }

    #[test]
    fn the_rate_is_that_of_the_better_second() {
        let (mut takers, now) = (Takers::default(), Instant::now());
        let host = Host::from("quick.example");
        for tenth in 0..10 {
            take(&mut takers, &host, 100, now + LATELY * tenth / 10);
        }
        assert_eq!(takers.rate(&host, now + LATELY), Some(1_000));
        take(&mut takers, &host, 50, now + LATELY);
        assert_eq!(takers.rate(&host, now + LATELY), Some(1_000));
        take(&mut takers, &host, 50, now + LATELY * 3 / 2);
        take(&mut takers, &host, 50, now + LATELY * 2);
        assert_eq!(takers.rate(&host, now + LATELY * 2), Some(100));
    }

    #[test]
    fn a_pause_ends() {
        let (mut takers, now) = (Takers::default(), Instant::now());
        assert_eq!(takers.pause(now), Duration::ZERO);
        takers.begin_pause(now);
        assert_eq!(takers.pause(now + PAUSE / 4), PAUSE * 3 / 4);
        assert_eq!(takers.pause(now + PAUSE), Duration::ZERO);
    }
}

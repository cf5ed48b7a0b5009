//! Hosts that take many at once. What is handed back comes again slowly, and they would soon have taken it:
//! so little of theirs is handed back in search of what others may get.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tower_webhook::endpoint::Host;

/// In one call. A host that does not answer never gets so many.
pub(crate) const MANY: usize = 32;
const LATELY: Duration = Duration::from_secs(1);
/// After some of theirs were handed back, no more is pulled for so long than is wanted, and nothing behind
/// what is not.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Takers {
    took: HashMap<Host, Instant>,
    pause_ends: Option<Instant>,
}

impl Takers {
    pub(crate) fn add(&mut self, host: &Host, now: Instant) {
        self.took.retain(|_, at| now - *at < LATELY);
        self.took.insert(host.clone(), now);
    }

    pub(crate) fn is_one(&self, host: &Host, now: Instant) -> bool {
        self.took.get(host).is_some_and(|&at| now - at < LATELY)
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

    #[test]
    fn who_took_many_is_one_for_a_second() {
        let (mut takers, now) = (Takers::default(), Instant::now());
        let [quick, other] = ["quick.example", "other.example"].map(Host::from);
        takers.add(&quick, now);
        assert!(takers.is_one(&quick, now + LATELY / 2));
        assert!(!takers.is_one(&other, now));
        assert!(!takers.is_one(&quick, now + LATELY));
        takers.add(&other, now + LATELY);
        assert_eq!(takers.took.len(), 1, "nobody is remembered for longer");
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

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::sync::lock;

/// Whether a durable outbox takes deliveries.
///
/// It is away once it has not taken a delivery for as long as the response could wait, or has refused
/// one again and again for that time, and has taken no other one meanwhile. It is back with the first
/// one that it takes.
#[derive(Default)]
pub(super) struct Away {
    is_away: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    last_taken: Option<Instant>,
    /// When a call is let through next, to see whether the outbox is back.
    next_trial: Option<Instant>,
}

/// How often one is let through.
const TRIAL: Duration = Duration::from_secs(1);

impl Away {
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// The outbox has taken something just now.
    pub(super) fn has_taken(&self, now: Instant) {
        lock(&self.times).last_taken = Some(now);
        if self.is_away() && self.is_away.swap(false, Ordering::AcqRel) {
            tracing::info!("the outbox takes deliveries again");
        }
    }

    /// It has not taken a delivery that was to be kept since then.
    pub(super) fn has_failed(&self, since: Instant) {
        let mut times = lock(&self.times);
        if times.last_taken.is_some_and(|taken| taken >= since) {
            return;
        }
        if !self.is_away.swap(true, Ordering::AcqRel) {
            // The very next call finds out whether it was this delivery alone.
            times.next_trial = None;
            drop(times);
            tracing::error!(
                "the outbox takes nothing: what is accepted now is in memory alone until it does"
            );
        }
    }

    /// Whether a call may rely on the outbox: always while it is there, and once a second while it is
    /// away.
    pub(super) fn lets_through(&self, now: Instant) -> bool {
        if !self.is_away() {
            return true;
        }
        let mut times = lock(&self.times);
        let is_due = times.next_trial.is_none_or(|at| at <= now);
        if is_due {
            times.next_trial = Some(now + TRIAL);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn away_is_what_takes_nothing_and_one_call_a_second_tries_it() {
        let (away, began) = (Away::default(), Instant::now());
        assert!(away.lets_through(began));
        away.has_failed(began);
        assert!(away.is_away());
        assert!(away.lets_through(began));
        assert!(!away.lets_through(began));
        assert!(away.lets_through(began + TRIAL));
        assert!(!away.lets_through(began + TRIAL));
        away.has_taken(began + TRIAL);
        assert!(away.lets_through(began + TRIAL));
    }

    #[tokio::test(start_paused = true)]
    async fn one_delivery_that_is_refused_beside_others_that_are_taken_says_nothing() {
        let (away, began) = (Away::default(), Instant::now());
        away.has_taken(began + TRIAL);
        away.has_failed(began);
        assert!(!away.is_away());
    }
}

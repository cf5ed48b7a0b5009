use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::Instrument;

use super::RetryPolicy;
use crate::{
    Delivery,
    admission::Admission,
    attempt::FarEnd,
    event::{AttemptError, EventKind, Events, Outcome},
    host_counts::{HostCounts, HostPlace},
    outbox::{AttemptRecord, Claim, Demand, Source, Verdict},
};

/// How long the worker waits before it asks a source again that has failed.
const SOURCE_PAUSE: Duration = Duration::from_secs(1);

/// What every attempt of a dispatcher shares.
pub(super) struct Attempts<F> {
    pub(super) far_end: F,
    pub(super) retry: RetryPolicy,
    pub(super) events: Events,
    pub(super) admission: Arc<Admission>,
    pub(super) places: Places,
}

/// The attempts that may be under way: in all, and for each endpoint host.
pub(super) struct Places {
    limit: usize,
    taken: AtomicUsize,
    hosts: HostCounts,
}

struct Place<F> {
    attempts: Arc<Attempts<F>>,
    _host: HostPlace,
}

/// How the worker is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not at all.
    No,
    /// Once the attempts under way have ended.
    AfterAttempts,
    /// At once: attempts under way are cut off.
    Now,
}

/// Where a source rests while no worker has it.
pub(super) type Home<S> = Arc<Mutex<Option<S>>>;

/// A source in use. It goes home when the worker ends, also when its runtime ends first.
pub(super) struct OnLoan<S> {
    source: Option<S>,
    home: Home<S>,
}

impl<S> OnLoan<S> {
    /// `None` when another worker has it.
    pub(super) fn take(home: &Home<S>) -> Option<Self> {
        let source = lock(home).take()?;
        Some(Self {
            source: Some(source),
            home: Arc::clone(home),
        })
    }

    fn get(&mut self) -> &mut S {
        self.source
            .as_mut()
            .expect("the source goes home only on drop")
    }
}

impl<S> Drop for OnLoan<S> {
    fn drop(&mut self) {
        *lock(&self.home) = self.source.take();
    }
}

pub(super) fn lock<S>(home: &Home<S>) -> std::sync::MutexGuard<'_, Option<S>> {
    home.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims what is due and runs one attempt of each, until it is told to stop.
///
/// When every handle of the dispatcher is gone, nobody can tell it: then it ends by itself once
/// nothing is left to do.
pub(super) async fn run<S: Source, F: FarEnd>(
    attempts: Arc<Attempts<F>>,
    mut stop: watch::Receiver<Stop>,
    // Last, so that it is home before the worker counts as ended.
    mut source: OnLoan<S>,
) {
    let mut under_way = JoinSet::new();
    let room = |host: &str| attempts.places.room(host);
    let mut handles_gone = false;
    let mut source_failed = false;
    let mut told = *stop.borrow_and_update();
    while told == Stop::No {
        let free = attempts.places.free();
        tokio::select! {
            changed = stop.changed(), if !handles_gone => match changed {
                Ok(()) => told = *stop.borrow_and_update(),
                Err(_) => handles_gone = true,
            },
            () = attempts.admission.all_given_back(), if handles_gone => {
                told = Stop::AfterAttempts;
            }
            Some(_) = under_way.join_next() => {}
            claims = next(source.get(), Demand::new(free, &room), source_failed), if free > 0 => {
                source_failed = claims.is_err();
                for claim in claims.unwrap_or_default() {
                    let place = Place::take(&attempts, claim.delivery());
                    under_way.spawn(attempt(claim, place));
                }
            }
        }
    }
    while told != Stop::Now && !under_way.is_empty() {
        tokio::select! {
            changed = stop.changed(), if !handles_gone => match changed {
                Ok(()) => told = *stop.borrow_and_update(),
                Err(_) => handles_gone = true,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
    under_way.shutdown().await;
}

async fn next<S: Source>(
    source: &mut S,
    demand: Demand<'_>,
    after_failure: bool,
) -> Result<Vec<S::Claim>, ()> {
    if after_failure {
        sleep(SOURCE_PAUSE).await;
    }
    source.next(demand).await.map_err(|error| {
        tracing::error!(%error, "the outbox cannot be read");
    })
}

async fn attempt<C: Claim, F: FarEnd>(claim: C, place: Place<F>) {
    let delivery = claim.delivery().clone();
    let span = tracing::info_span!(
        "delivery",
        id = delivery.id().as_str(),
        endpoint = ?delivery.endpoint(),
        attempt = claim.attempt(),
    );
    run_claim(claim, delivery, place).instrument(span).await;
}

async fn run_claim<C: Claim, F: FarEnd>(claim: C, delivery: Delivery, place: Place<F>) {
    let attempts = Arc::clone(&place.attempts);
    let attempt = claim.attempt();
    let at = SystemTime::now();
    let started = Instant::now();
    let outcome = if claim.is_unreadable() {
        Outcome::Failed(AttemptError::Unreadable)
    } else {
        AssertUnwindSafe(attempts.far_end.attempt(&delivery, attempt))
            .catch_unwind()
            .await
            .unwrap_or(Outcome::Failed(AttemptError::Panicked))
    };
    let took = started.elapsed();
    drop(place);

    let verdict = attempts.retry.verdict(delivery.id(), attempt, outcome);
    let record = AttemptRecord::new(attempt, at, took, outcome);
    let report = |kind| attempts.events.of(delivery.id(), delivery.endpoint(), kind);
    report(EventKind::Attempted {
        attempt,
        outcome,
        took,
        again_in: match verdict {
            Verdict::AgainIn(delay) => Some(delay),
            Verdict::Delivered | Verdict::Dead(_) => None,
        },
    });
    if let Err(error) = claim.settle(verdict, record).await {
        tracing::error!(%error, "the outbox did not note what an attempt came to");
        return;
    }
    match verdict {
        Verdict::AgainIn(_) => return,
        Verdict::Delivered => report(EventKind::Delivered { attempts: attempt }),
        Verdict::Dead(last) => report(EventKind::Dead {
            attempts: attempt,
            last,
        }),
    }
    delivery.settle();
}

impl Places {
    pub(super) fn new(limit: usize, per_host: usize) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
            hosts: HostCounts::new(per_host),
        }
    }

    fn free(&self) -> usize {
        self.limit
            .saturating_sub(self.taken.load(Ordering::Acquire))
    }

    /// A host may hold its own limit, and never more than half of what is free: however many
    /// hosts stall, the next one still finds a place.
    fn room(&self, host: &str) -> usize {
        let (taken, free) = (self.hosts.count(host), self.free());
        let own = self.hosts.limit().saturating_sub(taken);
        // The most whose last one still finds `taken + n - 1` below half of `free - n + 1`.
        let share = (free + 1).saturating_sub(2 * taken) / 3;
        own.min(if taken == 0 { share.max(1) } else { share })
    }
}

impl<F> Place<F> {
    fn take(attempts: &Arc<Attempts<F>>, delivery: &Delivery) -> Self {
        attempts.places.taken.fetch_add(1, Ordering::AcqRel);
        Self {
            attempts: Arc::clone(attempts),
            _host: attempts
                .places
                .hosts
                .take(Arc::clone(delivery.endpoint().host_key())),
        }
    }
}

impl<F> Drop for Place<F> {
    fn drop(&mut self) {
        self.attempts.places.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_as_much_room_as_it_gets_one_by_one() {
        for (limit, per_host) in [(1, 1), (2, 9), (9, 2), (10, 10), (512, 64), (512, 512)] {
            for before in 0..4.min(limit) {
                let places = Places::new(limit, per_host);
                let take = |host: &str| {
                    places.taken.fetch_add(1, Ordering::AcqRel);
                    places.hosts.take(host.into())
                };
                let mut taken: Vec<_> = (0..before).map(|n| take(&n.to_string())).collect();
                let room = places.room("host");
                assert!(room > 0, "a host without attempts finds a place");
                for left in (0..room).rev() {
                    taken.push(take("host"));
                    assert_eq!(
                        places.room("host") > 0,
                        left > 0,
                        "{limit} {per_host} {left}"
                    );
                }
            }
        }
    }
}

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, ready},
    time::Duration,
};

use futures_util::future::poll_immediate;
use tokio::{sync::watch, task::coop::consume_budget, time::sleep};
use tracing::Instrument;

use super::{
    RetryPolicy,
    cooling::Cooling,
    lanes::{Hall, Job, Lanes},
    places::{Freed, Place, Places},
};
use crate::{
    Host,
    admission::Admission,
    attempt::{Begun, FarEnd, Timer},
    event::{AttemptError, EventKind, Events, Outcome},
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
    pub(super) cooling: Arc<Cooling>,
    pub(super) places: Places,
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
pub(super) struct OnLoan<S: Source> {
    source: Option<S>,
    home: Home<S>,
}

impl<S: Source> OnLoan<S> {
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

impl<S: Source> Drop for OnLoan<S> {
    fn drop(&mut self) {
        self.get().rest();
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
    hall: Arc<AttemptHall<S::Claim, F>>,
    mut stop: watch::Receiver<Stop>,
    // Last, so that it is home before the worker counts as ended.
    mut source: OnLoan<S>,
) {
    let mut lanes = Lanes::new(Arc::clone(&hall));
    let attempts = hall.context();
    let places = &attempts.places;
    let mut ear = places.listen();
    let mut freed = Freed::default();
    let room = |host: &Host| places.room(host);
    // Whoever had none when the last worker ended may have some now.
    source.get().has_room(None);
    let mut handles_gone = false;
    let mut source_failed = false;
    let mut told = *stop.borrow_and_update();
    while told == Stop::No {
        // A source may always have something: others, and the end of the runtime, have their turn.
        consume_budget().await;
        ear.take(&mut freed);
        for host in &freed.hosts {
            source.get().has_room(Some(host));
        }
        if freed.any {
            source.get().has_room(None);
        }
        let free = places.free();
        let demand = Demand::new(free, &room);
        let mut claiming = pin!(next(source.get(), demand, source_failed));
        // Runs what is claimed, and says whether the source has failed.
        let mut run_claims = poll_fn(|cx| {
            let _alone = places.claiming();
            let claims = ready!(claiming.as_mut().poll(cx));
            let failed = claims.is_err();
            for claim in claims.unwrap_or_default() {
                let place = places.take(claim.delivery().endpoint().host_key().clone());
                lanes.run(Attempt { claim, place });
            }
            Poll::Ready(failed)
        });
        // To wait for something costs a lock or two: what is there is taken first.
        if free > 0
            && stop.has_changed().is_ok_and(|changed| !changed)
            && let Some(failed) = poll_immediate(&mut run_claims).await
        {
            source_failed = failed;
            continue;
        }
        if free > 0 {
            ear.has_looked();
        }
        tokio::select! {
            biased;
            changed = stop.changed(), if !handles_gone => match changed {
                Ok(()) => told = *stop.borrow_and_update(),
                Err(_) => {
                    handles_gone = true;
                    attempts.cooling.close();
                }
            },
            () = attempts.admission.all_given_back(), if handles_gone => {
                told = Stop::AfterAttempts;
            }
            () = ear.freed() => {}
            failed = run_claims, if free > 0 => source_failed = failed,
        }
    }
    lanes.close();
    while told != Stop::Now {
        tokio::select! {
            changed = stop.changed(), if !handles_gone => match changed {
                Ok(()) => told = *stop.borrow_and_update(),
                Err(_) => handles_gone = true,
            },
            ended = lanes.ended() => if ended.is_none() {
                break;
            },
        }
    }
    lanes.shutdown().await;
}

/// Where a dispatcher's attempts begin.
pub(super) type AttemptHall<C, F> = Hall<Attempt<C>, Arc<Attempts<F>>>;

/// One attempt of a claim.
pub(super) struct Attempt<C> {
    pub(super) claim: C,
    pub(super) place: Place,
}

impl<C: Claim, F: FarEnd> Job<Arc<Attempts<F>>> for Attempt<C> {
    fn run(
        self,
        attempts: &Arc<Attempts<F>>,
        timer: &mut Timer,
    ) -> impl Future<Output = Option<Self>> + Send {
        let delivery = self.claim.delivery();
        let span = tracing::info_span!(
            "delivery",
            id = delivery.id().as_str(),
            endpoint = ?delivery.endpoint(),
            attempt = self.claim.attempt(),
        );
        self.finish(attempts, timer).instrument(span)
    }
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

impl<C: Claim> Attempt<C> {
    /// Not an `async fn`: that would keep `self` beside its parts.
    fn finish<F: FarEnd>(
        self,
        attempts: &Attempts<F>,
        timer: &mut Timer,
    ) -> impl Future<Output = Option<Self>> + Send {
        let Self { claim, mut place } = self;
        async move {
            let delivery = claim.delivery().clone();
            let begun = Begun::now(claim.attempt());
            let outcome = if claim.is_unreadable() {
                Outcome::Failed(AttemptError::Unreadable)
            } else {
                // Pinned where it is made: a wrapper would move it, and it is large.
                let attempt = pin!(attempts.far_end.attempt(&delivery, begun, timer));
                caught(attempt)
                    .await
                    .unwrap_or(Outcome::Failed(AttemptError::Panicked))
            };
            let took = begun.started.elapsed();
            let attempt = begun.attempt;
            if matches!(outcome, Outcome::Answered { .. }) {
                place.host_has_answered();
            }
            let next = claim.another(|| place.is_the_hosts());
            let place = next.is_some().then_some(place);

            let verdict = attempts.retry.verdict(delivery.id(), attempt, outcome);
            if outcome == Outcome::Failed(AttemptError::Forbidden) && delivery.has_room() {
                let time = attempts.retry.time_to_fail(delivery.id());
                attempts.cooling.keep(delivery.clone(), time);
            }
            let record = AttemptRecord::new(attempt, begun.at, took, outcome);
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
            let end = || {
                match verdict {
                    Verdict::AgainIn(_) => return,
                    Verdict::Delivered => report(EventKind::Delivered { attempts: attempt }),
                    Verdict::Dead(last) => report(EventKind::Dead {
                        attempts: attempt,
                        last,
                    }),
                }
                delivery.settle();
            };
            // Cut off from here on, it has told the outbox all the same.
            let end = OnDrop(Some(end));
            match claim.settle(verdict, record).await {
                Ok(()) => drop(end),
                Err(error) => {
                    end.disarm();
                    tracing::error!(%error, "the outbox did not note what an attempt came to");
                }
            }
            let (claim, place) = next.zip(place)?;
            Some(Self { claim, place })
        }
    }
}

/// What a future comes to; `None` when it panics.
async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx));
        catch_unwind(poll).map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// Does something when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

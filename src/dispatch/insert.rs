//! How deliveries get into a durable outbox: together with all others that wait in a runtime.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::{sync::oneshot, time::Instant};

use super::{
    core::Core,
    hub::{RuntimeLink, Stop},
    scheduler::Source,
    settle::settle,
    store::{Expected, Job, Which},
};
use crate::{
    delivery::Delivery,
    error::BoxError,
    event::EventKind,
    outbox::{DeliveryFilter, Lease, NewDelivery, Settlement, Verdict},
};

/// A delivery that waits to be written with others.
pub(super) struct Insertion {
    delivery: Delivery,
    /// Dropped with the task that writes, it has whoever waits try anew.
    reply: oneshot::Sender<Result<(), BoxError>>,
}

/// What one call inserts at most, in number and in bytes of payloads.
const MOST_AT_ONCE: usize = 1_024;

/// Has it written with those of this runtime that wait for their turn. The answer is dropped when the
/// runtime ends first.
pub(super) fn insert_together(
    core: &Arc<Core>,
    link: &Arc<RuntimeLink>,
    delivery: &Delivery,
) -> oneshot::Receiver<Result<(), BoxError>> {
    let (reply, answer) = oneshot::channel();
    let insertion = Insertion {
        delivery: delivery.clone(),
        reply,
    };
    if link.insertions.push([insertion]) {
        link.handle.spawn(write(Arc::clone(core), Arc::clone(link)));
    }
    answer
}

/// Writes what waits in a runtime, batch by batch. While one is being written, the next one gathers:
/// however slow the disk is, it is asked once for all of them.
async fn write(core: Arc<Core>, link: Arc<RuntimeLink>) {
    let guard = Guard(&link);
    loop {
        let mut batch = link.insertions.next(MOST_AT_ONCE);
        if batch.is_empty() {
            std::mem::forget(guard);
            return;
        }
        // Whoever does not wait any more has gone another way.
        batch.retain(|insertion| !insertion.reply.is_closed());
        insert(&core, &link, batch).await;
    }
}

/// Where the task ends with its runtime, whoever waits tries anew.
struct Guard<'l>(&'l RuntimeLink);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        drop(self.0.insertions.abandon());
    }
}

async fn insert(core: &Arc<Core>, link: &Arc<RuntimeLink>, batch: Vec<Insertion>) {
    if batch.is_empty() {
        return;
    }
    match insert_all(core, &batch).await {
        Ok(inserted) => accepted(core, link, batch, inserted),
        // One of them may be the reason.
        Err(_) if batch.len() > 1 => {
            let mut failures = 0;
            for insertion in batch {
                let one = vec![insertion];
                let answer = match failures {
                    0..2 => insert_all(core, &one).await,
                    _ => Err("the outbox takes nothing".into()),
                };
                match answer {
                    Ok(inserted) => {
                        failures = 0;
                        accepted(core, link, one, inserted);
                    }
                    Err(error) => {
                        failures += 1;
                        refused(one, error);
                    }
                }
            }
        }
        Err(error) => refused(batch, error),
    }
}

async fn insert_all(core: &Arc<Core>, batch: &[Insertion]) -> Result<Inserted, BoxError> {
    let store = core.store(Which::Given);
    let (leased, expected) = {
        let mut hub = core.hub();
        let hub = &mut *hub;
        match hub.stop == Stop::No {
            true => {
                let deliveries = batch.iter().map(|insertion| &insertion.delivery);
                hub.given.choose_leases(&hub.scheduler, deliveries)
            }
            false => (vec![false; batch.len()], Expected::default()),
        }
    };
    let expected = ExpectedLeases {
        core: Arc::clone(core),
        expected,
    };
    let to_new = |(insertion, lease): (&Insertion, bool)| store.to_new(&insertion.delivery, lease);
    let batch: Result<Vec<NewDelivery>, _> = batch.iter().zip(leased).map(to_new).collect();
    let asked = Arc::clone(&store.outbox).insert(batch?);
    let leases = caught(AssertUnwindSafe(asked)).await?;
    Ok(Inserted {
        leases,
        _expected: expected,
    })
}

/// What an outbox has taken. Its leases are expected until this is dropped.
struct Inserted {
    leases: Vec<Option<Lease>>,
    _expected: ExpectedLeases,
}

struct ExpectedLeases {
    core: Arc<Core>,
    expected: Expected,
}

impl Drop for ExpectedLeases {
    fn drop(&mut self) {
        self.core.hub().given.end_expecting(self.expected);
    }
}

/// They are safe: they hold no reservation any more, and whoever waits for them goes on.
fn accepted(core: &Arc<Core>, link: &Arc<RuntimeLink>, batch: Vec<Insertion>, inserted: Inserted) {
    let durability = core.store(Which::Given).limits.durability;
    let mut jobs = Vec::with_capacity(batch.len());
    let mut is_waiting = false;
    for (insertion, lease) in batch.into_iter().zip(inserted.leases) {
        let Insertion { delivery, reply } = insertion;
        if reply.is_closed() {
            take_back(core, link, &delivery, lease);
            continue;
        }
        delivery.report(EventKind::Queued { durability });
        drop(delivery.take_reservation());
        let id = delivery.id();
        if reply.send(Ok(())).is_err() {
            // It has gone another way in this moment, too, and is delivered twice.
            tracing::debug!(%id, "nobody waited any more");
        }
        match lease {
            Some(lease) => jobs.push(Job::new(delivery, lease, Which::Given)),
            None => {
                core.hub().given.take_run(id);
                is_waiting = true;
            }
        }
    }
    core.arrive(link, jobs, Source::Call);
    if is_waiting {
        let hub = core.hub();
        core.fetch_soon(hub, Which::Given, Instant::now());
    }
}

/// It was kept when nobody waited for it any more: it is delivered from memory.
fn take_back(core: &Arc<Core>, link: &Arc<RuntimeLink>, delivery: &Delivery, lease: Option<Lease>) {
    match lease {
        Some(lease) => {
            let gone = Settlement::new(lease, Verdict::Delivered, None);
            settle(core, link, Which::Given, gone);
        }
        None => {
            let store = core.store(Which::Given);
            if store.limits.can_cancel {
                let one = DeliveryFilter::new().with_id(delivery.id());
                link.handle.spawn(Arc::clone(&store.outbox).cancel(one));
            }
        }
    }
}

fn refused(batch: Vec<Insertion>, error: BoxError) {
    let sentence = error.to_string();
    let mut error = Some(error);
    for Insertion { reply, .. } in batch {
        let error = error.take().unwrap_or_else(|| sentence.clone().into());
        let _ = reply.send(Err(error));
    }
}

/// What panics has failed.
pub(super) async fn caught<T>(
    future: AssertUnwindSafe<impl Future<Output = Result<T, BoxError>> + Send>,
) -> Result<T, BoxError> {
    future
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(panicked()))
}

pub(super) fn panicked() -> BoxError {
    "it panicked".into()
}

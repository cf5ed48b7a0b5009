//! How deliveries get into a durable outbox: together with all others that wait in a runtime.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    core::Core,
    group::Bounds,
    held::Amount,
    hub::{RuntimeLink, Stop},
    scheduler::Source,
    settle::{release, settle},
    store::{Job, Which},
};
use crate::{
    attempt::deadline,
    delivery::Delivery,
    error::BoxError,
    event::{EventKind, OutboxCall},
    outbox::{DeliveryFilter, Lease, NewDelivery, Settlement, Verdict},
};

/// A delivery that waits to be written with others.
pub(super) struct Insertion {
    delivery: Delivery,
    /// It is tried for so long.
    until: Instant,
    /// Dropped with the task that writes, it has whoever waits try anew.
    reply: oneshot::Sender<Result<(), BoxError>>,
    is_withdrawn: Arc<AtomicBool>,
}

/// Waits for an insertion. Where it is dropped, as with its runtime, the delivery is inserted all the same.
pub(super) struct Awaited {
    pub(super) answer: oneshot::Receiver<Result<(), BoxError>>,
    pub(super) since: Instant,
    is_withdrawn: Arc<AtomicBool>,
}

impl Awaited {
    /// The delivery goes another way.
    pub(super) fn withdraw(&self) {
        self.is_withdrawn.store(true, Ordering::Relaxed);
    }
}

impl Insertion {
    fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::Relaxed)
    }
}

/// What one call inserts at most, in number and in bytes.
const MOST_AT_ONCE: usize = 1_024;
const MOST_BYTES: usize = 32 << 20;

/// How long it is until an outbox that has failed is asked again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Has it written with those of this runtime that wait for their turn. The answer is dropped when the
/// runtime ends first.
pub(super) fn insert_together(
    core: &Arc<Core>,
    link: &Arc<RuntimeLink>,
    delivery: &Delivery,
    now: Instant,
) -> Awaited {
    let (reply, answer) = oneshot::channel();
    let is_withdrawn = Arc::new(AtomicBool::new(false));
    let insertion = Insertion {
        delivery: delivery.clone(),
        until: deadline(now, core.accept_timeout),
        reply,
        is_withdrawn: Arc::clone(&is_withdrawn),
    };
    if link.insertions.push([insertion]) {
        link.handle.spawn(write(Arc::clone(core), Guard::new(link)));
    }
    Awaited {
        answer,
        since: now,
        is_withdrawn,
    }
}

/// Writes what waits in a runtime, batch by batch. While one is being written, the next one gathers:
/// however slow the disk is, it is asked once for all of them.
async fn write(core: Arc<Core>, mut guard: Guard) {
    let link = Arc::clone(&guard.link);
    loop {
        let batch = link.insertions.next(&bounds(&[]));
        if batch.is_empty() {
            guard.is_over = true;
            return;
        }
        insert(&core, &link, batch).await;
        // Those that were waited for call again at once, or others have their turn: they come along.
        yield_now().await;
    }
}

/// What a call may insert beside these.
fn bounds(beside: &[Insertion]) -> Bounds<Insertion> {
    let len = |insertion: &Insertion| insertion.delivery.kept_len();
    let bytes: usize = beside.iter().map(len).sum();
    let number = match bytes < MOST_BYTES {
        true => MOST_AT_ONCE.saturating_sub(beside.len()),
        false => 0,
    };
    Bounds {
        number,
        bytes: MOST_BYTES.saturating_sub(bytes),
        len,
    }
}

/// Where the task ends with its runtime, whoever waits tries anew.
struct Guard {
    link: Arc<RuntimeLink>,
    is_over: bool,
}

impl Guard {
    /// It is there before the task is: a runtime that has ended drops that at once.
    fn new(link: &Arc<RuntimeLink>) -> Self {
        Self {
            link: Arc::clone(link),
            is_over: false,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.link.insertions.abandon());
        }
    }
}

/// Until each one is kept, or was tried for as long as its response may wait. Those that come meanwhile
/// are tried with them: what the outbox does not take keeps nobody else from it.
async fn insert(core: &Arc<Core>, link: &Arc<RuntimeLink>, mut batch: Vec<Insertion>) {
    let mut pause = PAUSES.0;
    loop {
        let (mut left, error) = insert_some(core, link, batch).await;
        let again_at = Instant::now() + pause;
        let is_in_time = |insertion: &mut Insertion| insertion.until > again_at;
        let over = match core.away.is_away() {
            true => std::mem::take(&mut left),
            false => left
                .extract_if(.., |insertion| !is_in_time(insertion))
                .collect(),
        };
        refused(over, &error);
        if left.is_empty() {
            return;
        }
        sleep_until(again_at).await;
        pause = (2 * pause).min(PAUSES.1);
        left.extend(link.insertions.more(&bounds(&left)));
        batch = left;
    }
}

/// Gives back those that may be taken another time, with the reason.
async fn insert_some(
    core: &Arc<Core>,
    link: &Arc<RuntimeLink>,
    mut batch: Vec<Insertion>,
) -> (Vec<Insertion>, String) {
    batch.retain(|insertion| !insertion.is_withdrawn());
    if batch.is_empty() {
        return Default::default();
    }
    let mut error = match insert_all(core, &batch).await {
        Ok(inserted) => {
            accepted(core, link, batch, inserted);
            return Default::default();
        }
        Err(error) => error.to_string(),
    };
    if batch.len() == 1 {
        return (batch, error);
    }
    // One of them may be the reason.
    let (mut failed, mut in_a_row, mut has_taken_some) = (Vec::new(), 0, false);
    let mut one_by_one = batch.into_iter();
    while in_a_row < 2
        && let Some(insertion) = one_by_one.next()
    {
        let one = vec![insertion];
        match insert_all(core, &one).await {
            Ok(inserted) => {
                (in_a_row, has_taken_some) = (0, true);
                accepted(core, link, one, inserted);
            }
            Err(reason) => {
                in_a_row += 1;
                error = reason.to_string();
                failed.extend(one);
            }
        }
    }
    let mut left: Vec<_> = one_by_one.collect();
    match has_taken_some {
        true => refused(failed, &error),
        false => left.extend(failed),
    }
    (left, error)
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
            false => (vec![false; batch.len()], Amount::default()),
        }
    };
    let expected = ExpectedLeases {
        core: Arc::clone(core),
        expected,
    };
    let to_new = |(insertion, lease): (&Insertion, bool)| store.to_new(&insertion.delivery, lease);
    let batch: Result<Vec<NewDelivery>, _> = batch.iter().zip(leased).map(to_new).collect();
    let asked = Arc::clone(&store.outbox).insert(batch?);
    let leases = core.timed(Which::Given, OutboxCall::Insert, asked).await?;
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
    expected: Amount,
}

impl Drop for ExpectedLeases {
    fn drop(&mut self) {
        self.core.hub().given.end_expecting(self.expected);
    }
}

/// They are safe: they hold no reservation any more, and whoever waits for them goes on.
fn accepted(core: &Arc<Core>, link: &Arc<RuntimeLink>, batch: Vec<Insertion>, inserted: Inserted) {
    core.away.has_taken(Instant::now());
    let durability = core.store(Which::Given).limits.durability;
    let mut jobs = Vec::with_capacity(batch.len());
    let mut is_waiting = false;
    for (insertion, lease) in batch.into_iter().zip(inserted.leases) {
        let is_withdrawn = insertion.is_withdrawn();
        let Insertion {
            delivery, reply, ..
        } = insertion;
        if is_withdrawn {
            take_back(core, link, &delivery, lease);
            continue;
        }
        delivery.report(EventKind::Queued { durability });
        drop(delivery.take_reservation());
        let id = delivery.id();
        let host = delivery.endpoint().host_key().clone();
        if reply.send(Ok(())).is_err() {
            // Where it has gone another way in this moment, it is delivered twice.
            tracing::debug!(%id, "nobody waited any more");
        }
        match lease {
            Some(lease) => jobs.push(Job::new(delivery, lease, Which::Given)),
            None => {
                let mut hub = core.hub();
                let hub = &mut *hub;
                hub.given.take_run(id);
                hub.given.leave_out(&hub.scheduler, &host);
                is_waiting = true;
            }
        }
    }
    if core.is_stopped() {
        // Nobody attempts them any more here.
        release(core, link, Which::Given, jobs.iter().map(|job| job.lease));
        return;
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
            let gone = Settlement::new(lease, Verdict::Forgotten, None);
            settle(core, link, Which::Given, gone.into());
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

fn refused(batch: Vec<Insertion>, error: &str) {
    for Insertion { reply, .. } in batch {
        let _ = reply.send(Err(error.into()));
    }
}

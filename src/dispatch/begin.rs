//! Calls that were promised an answer and run: an outbox keeps that they do, until their delivery takes
//! the place of it. What a process leaves of them when it ends is told to their endpoints.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{
    core::{Core, wake},
    group::Bounds,
    hub::RuntimeLink,
    settle::settle,
    store::Which,
};
use crate::{
    delivery::Delivery,
    error::BoxError,
    event::{EventKind, FailReason, OutboxCall},
    id::DeliveryId,
    outbox::{Lease, NewDelivery, Settlement, Verdict},
};

/// A run that waits to be recorded with others.
pub(super) struct Beginning {
    /// What its endpoint is told where the process ends before the run does.
    notice: Delivery,
    /// Dropped with the task that writes, it has whoever waits go on.
    reply: oneshot::Sender<Result<(), BoxError>>,
}

/// What one call records at most.
const MOST_AT_ONCE: usize = 1_024;

/// So many at once are tried to be forgotten, so that an outbox that fails at once fills no memory.
pub(super) const MOST_FORGOTTEN: usize = 4_096;

/// In seconds, when it is tried to forget what nobody knows of: within the time of a lease, if that is possible.
const FORGOTTEN_IN: [u64; 5] = [1, 2, 4, 8, 16];

/// Resolves once the run is recorded, or cannot be: then nobody is told of it when the process ends.
pub(super) async fn begin(core: Arc<Core>, notice: Delivery) {
    let Some(link) = core.enter() else {
        return;
    };
    let (reply, answer) = oneshot::channel();
    let beginning = Beginning {
        notice: notice.clone(),
        reply,
    };
    if link.beginnings.push([beginning]) {
        link.handle
            .spawn(write(Arc::clone(&core), Guard::new(&link)));
    }
    let error: BoxError = match timeout(core.accept_timeout, answer).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(error))) => error,
        Ok(Err(_gone)) => "its runtime has ended".into(),
        Err(_elapsed) => "it took too long".into(),
    };
    tracing::error!(id = %notice.id(), %error, "the outbox did not record a run");
    let (id, request_id) = (notice.id(), notice.request_id());
    let events = &core.events;
    events.of(id, request_id, notice.endpoint(), EventKind::OutboxFailed);
}

async fn write(core: Arc<Core>, mut guard: Guard) {
    let link = Arc::clone(&guard.link);
    loop {
        let mut batch = link.beginnings.next(&Bounds::at_most(MOST_AT_ONCE));
        if batch.is_empty() {
            guard.is_over = true;
            return;
        }
        batch.retain(|beginning| !beginning.reply.is_closed());
        if !batch.is_empty() {
            record(&core, &link, batch).await;
        }
    }
}

/// Where the task ends with its runtime, nobody waits for ever.
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
            drop(self.link.beginnings.abandon());
        }
    }
}

async fn record(core: &Arc<Core>, link: &Arc<RuntimeLink>, batch: Vec<Beginning>) {
    let notices = batch.iter().map(|beginning| &beginning.notice);
    match begin_all(core, notices).await {
        Ok(leases) => {
            for (beginning, lease) in batch.into_iter().zip(leases) {
                if let Some(lease) = lease {
                    hold(core, lease);
                }
                if beginning.reply.send(Ok(())).is_err() {
                    // Nobody will take its place.
                    core.end_run(link, beginning.notice.id(), None);
                }
            }
        }
        Err(error) => {
            let sentence = error.to_string();
            let mut notices = Vec::with_capacity(batch.len());
            for Beginning { notice, reply } in batch {
                let _ = reply.send(Err(sentence.clone().into()));
                notices.push(notice);
            }
            let number = u32::try_from(notices.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&core.room_to_forget).try_acquire_many_owned(number);
            if let Ok(room) = room {
                let forgetting = forget(Arc::clone(core), Arc::clone(link), notices, room);
                link.handle.spawn(forgetting);
            }
        }
    }
}

/// Nobody knows whether these are recorded. Nobody holds them, so that their endpoints would be told that they
/// were interrupted while they run on: they are recorded once more, and forgotten.
async fn forget(
    core: Arc<Core>,
    link: Arc<RuntimeLink>,
    notices: Vec<Delivery>,
    _room: OwnedSemaphorePermit,
) {
    for pause in FORGOTTEN_IN {
        sleep(Duration::from_secs(pause)).await;
        if let Ok(leases) = begin_all(&core, notices.iter()).await {
            for lease in leases.into_iter().flatten() {
                let gone = Settlement::new(lease, Verdict::Forgotten, None);
                settle(&core, &link, Which::Given, gone.into());
            }
            return;
        }
    }
}

/// Until the run ends. Whoever renews leases may have nothing else to wake for.
fn hold(core: &Core, lease: Lease) {
    let now = Instant::now();
    let mut hub = core.hub();
    hub.given.hold_run(lease, now);
    let keepers = hub.keepers_to_wake(None, now);
    drop(hub);
    wake(keepers);
}

async fn begin_all<'n>(
    core: &Arc<Core>,
    notices: impl Iterator<Item = &'n Delivery>,
) -> Result<Vec<Option<Lease>>, BoxError> {
    let store = core.store(Which::Given);
    let new = |notice: &Delivery| store.to_new(notice, true);
    let batch: Result<Vec<NewDelivery>, _> = notices.map(new).collect();
    let asked = Arc::clone(&store.outbox).begin(batch?);
    core.timed(Which::Given, OutboxCall::Begin, asked).await
}

impl Core {
    /// The run has ended, and nothing takes its place in the outbox. It has failed for this reason, or goes
    /// on elsewhere.
    pub(super) fn end_run(
        self: &Arc<Self>,
        link: &Arc<RuntimeLink>,
        id: DeliveryId,
        failure: Option<FailReason>,
    ) {
        let verdict = failure.map_or(Verdict::Forgotten, Verdict::Failed);
        self.settle_run(link, id, verdict);
    }

    /// Nobody knows what becomes of the run: its endpoint is told that it was interrupted.
    pub(super) fn hand_back_run(self: &Arc<Self>, link: &Arc<RuntimeLink>, id: DeliveryId) {
        self.settle_run(link, id, Verdict::Released);
    }

    fn settle_run(self: &Arc<Self>, link: &Arc<RuntimeLink>, id: DeliveryId, verdict: Verdict) {
        let lease = self.hub().given.take_run(id);
        if let Some(lease) = lease {
            let gone = Settlement::new(lease, verdict, None);
            settle(self, link, Which::Given, gone.into());
        }
    }
}

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Dispatcher,
    core::{Core, wake},
    hub::{Hub, Stop},
    settle::release,
    store::Which,
};
use crate::{
    attempt,
    delivery::Delivery,
    event::{Counts, EventKind},
};

/// What [`Dispatcher::shutdown`] has to say.
#[derive(Debug)]
#[non_exhaustive]
pub struct Shutdown {
    /// What happened while it shut down.
    pub counts: Counts,
    /// The deliveries that had to be given up, with their bytes.
    pub abandoned: Vec<Delivery>,
    /// The requests whose handler had not ended in time. They run on, but what they answer is
    /// not delivered any more.
    pub unfinished: usize,
}

/// How long past its time a shutdown waits for the outbox to note what has happened.
const GRACE: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Accepts nothing new, and lets what is under way come to its end for at most this time.
    ///
    /// From now on a request that asks for a webhook is answered with 503. Handlers that run for
    /// one are waited for, so are attempts under way and, with an outbox in memory, deliveries
    /// that wait for their next attempt. What is still there when the time is over is given up,
    /// reported as [abandoned](EventKind::Abandoned), and returned.
    ///
    /// With a durable outbox deliveries that wait are not waited for and not given up: they are
    /// handed back, for the next start or another process, and everything is written when this
    /// returns, at the latest 10 seconds after its time: the process can exit then. Dead letters that
    /// are being redelivered from memory are not waited for, but are given up.
    pub async fn shutdown(&self, within: Duration) -> Shutdown {
        let core = &self.shared.core;
        let before = core.events.counts();
        let deadline = attempt::deadline(Instant::now(), within);
        core.admission.close();
        let quarantine = core.hub().quarantine.close();
        drop(quarantine);
        let _ = timeout_at(deadline, core.admission.all_given_back()).await;
        core.stop(Stop::AfterAttempts);
        core.hand_back_waiting();
        let have_ended = core.until(|hub| hub.workers.is_empty());
        if timeout_at(deadline, have_ended).await.is_err() {
            core.stop(Stop::Now);
            // A runtime that nobody drives ends no worker.
            let have_ended = core.until(|hub| hub.workers.is_empty());
            let _ = timeout(GRACE, have_ended).await;
        }
        let grace = attempt::deadline(deadline, GRACE);
        // What is leased after it was closed would be nobody's until the lease runs out.
        if timeout_at(grace, core.until(Hub::is_quiet)).await.is_err() {
            tracing::error!("the outbox has not noted how some attempts ended");
        }
        let close_far = async {
            if let Some(far) = &core.far {
                far.close().await;
            }
        };
        let (abandoned, ()) = tokio::join!(core.close(), close_far);
        for delivery in &abandoned {
            // Whoever hears of the end can rely on the reservation being free again.
            drop(delivery.take_reservation());
            let (id, request_id) = (delivery.id(), delivery.request_id());
            let kind = EventKind::Abandoned;
            core.events.of(id, request_id, delivery.endpoint(), kind);
        }
        Shutdown {
            counts: core.events.counts().since(before),
            unfinished: core.admission.taken(),
            abandoned,
        }
    }
}

impl Core {
    /// Others can attempt what waits for a permit here, while attempts under way come to their end.
    fn hand_back_waiting(self: &Arc<Self>) {
        let Some(link) = self.enter() else {
            return;
        };
        for which in Which::ALL {
            if self.store(which).limits.is_durable() {
                let jobs = self.hub().scheduler.extract(|job| job.which == which);
                release(self, &link, which, jobs.iter().map(|job| job.lease));
            }
        }
    }

    /// Hands all leases back, and gives what is lost with the process.
    async fn close(&self) -> Vec<Delivery> {
        // They come back from their outbox, or stay there.
        let jobs = self.hub().scheduler.extract(|_| true);
        let mut lost = Vec::new();
        for which in Which::ALL {
            let store = self.store(which);
            let closing = Arc::clone(&store.outbox).close();
            match timeout(GRACE, closing).await {
                Ok(Ok(left)) => {
                    lost.extend(left.iter().filter_map(|stored| store.read(stored).ok()));
                }
                Ok(Err(error)) => tracing::error!(%error, "the outbox could not be closed"),
                Err(_) => tracing::error!("the outbox did not close in time"),
            }
        }
        // An outbox in memory that does not know them any more has failed to note their end.
        let known: HashSet<_> = lost.iter().map(Delivery::id).collect();
        let is_lost = |delivery: &Delivery| !known.contains(&delivery.id());
        for job in jobs {
            if self.store(job.which).limits.is_durable() || !is_lost(&job.delivery) {
                continue;
            }
            lost.push(job.delivery);
        }
        lost
    }

    /// Nobody can tell it anything any more: it ends by itself once nothing is left in memory.
    pub(super) fn handles_are_gone(&self) {
        let mut hub = self.hub();
        hub.handles_are_gone = true;
        let quarantine = hub.quarantine.close();
        let keepers = hub.other_keepers(None);
        drop(hub);
        drop(quarantine);
        wake(keepers);
    }
}

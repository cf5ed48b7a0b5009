use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    core::{Core, wake},
    held::Amount,
    hub::{RuntimeLink, Stop},
    scheduler::Source,
    settle::{Conclusion, release, settle, settle_together},
    store::{Job, Which},
};
use crate::{
    delivery::Delivery,
    event::{EventKind, FailReason, OutboxCall},
    outbox::{DueDeliveries, Lease, Want},
};

/// Looks after a dispatcher in one runtime, for as long as that lives: asks the outboxes for what is
/// due, renews leases, and has workers come for what has become due by the passing of time or was
/// left by a runtime that has ended. It runs no attempts, and hands out none.
///
/// Every runtime has one, so that nothing waits for a runtime that has ended or that nobody drives.
/// What one of them has begun, the others do not begin again.
pub(super) async fn run(keeper: Keeper) {
    while let Some(until) = keeper.step() {
        let due = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let is_last = {
            let hub = keeper.core.hub();
            hub.handles_are_gone && hub.stop == Stop::No
        };
        tokio::select! {
            () = keeper.link.keeper.notified() => {}
            () = due => {}
            () = keeper.core.admission.all_given_back(), if is_last => {
                keeper.core.stop(Stop::AfterAttempts);
            }
        }
    }
}

/// It is there before its task is: a runtime that is ending drops that at once.
pub(super) struct Keeper {
    core: Arc<Core>,
    link: Arc<RuntimeLink>,
}

/// Takes its runtime out of the dispatcher: it has ended, or everything has.
impl Drop for Keeper {
    fn drop(&mut self) {
        let mut hub = self.core.hub();
        let id = self.link.id;
        hub.runtimes.retain(|runtime| runtime.link.id != id);
        hub.orphans.extend(self.link.conclusions.abandon());
        let others = hub.other_keepers(None);
        drop(hub);
        // Dropped where no lock is held: whoever waits tries anew.
        drop(self.link.insertions.abandon());
        drop(self.link.beginnings.abandon());
        wake(others);
    }
}

impl Keeper {
    pub(super) fn new(core: Arc<Core>, link: Arc<RuntimeLink>) -> Self {
        Self { core, link }
    }

    /// Does what there is to do, and says when there is more; `None` when there never will be.
    fn step(&self) -> Option<Option<Instant>> {
        let core = &self.core;
        let now = Instant::now();
        let mut hub = core.hub();
        let released = hub.quarantine.release_due(now);
        let overdue = hub.cut_off_overdue(self.link.id, now);
        let orphans = std::mem::take(&mut hub.orphans);
        let leases = hub.given.begin_renewal(self.link.id, now);
        let is_busy = hub.given.unsettled + hub.fallback.unsettled > 0 || !hub.workers.is_empty();
        if hub.stop != Stop::No && !is_busy && orphans.is_empty() {
            return None;
        }
        let is_running = hub.stop == Stop::No;
        let questions = match is_running {
            true => hub.begin_fetches(self.link.id, now),
            false => Vec::new(),
        };
        hub.scheduler.end_pauses(now);
        let next = [
            hub.given.next_step(self.link.id, is_running),
            hub.fallback.next_step(self.link.id, is_running),
            hub.quarantine.next_release(),
            overdue,
            hub.scheduler.next_wake(now).filter(|_| is_running),
        ];
        let next = next.into_iter().flatten().min();
        if let Some(runtime) = hub.runtime(self.link.id) {
            runtime.keeper_wakes = next;
        }
        let bring = hub.bring(self.link.id, now);
        drop(hub);
        drop(released);
        core.carry_out(bring);
        if !orphans.is_empty() {
            settle_together(core, &self.link, orphans);
        }
        if !leases.is_empty() {
            self.link
                .handle
                .spawn(renew(Arc::clone(core), Arc::clone(&self.link), leases));
        }
        for question in questions {
            let fetching = FetchRound {
                core: Arc::clone(core),
                link: Arc::clone(&self.link),
                which: question.which,
                expected: question.expected,
                is_over: false,
            };
            self.link.handle.spawn(fetching.run(question.want));
        }
        Some(next)
    }
}

/// One question for what is due.
struct FetchRound {
    core: Arc<Core>,
    link: Arc<RuntimeLink>,
    which: Which,
    expected: Amount,
    is_over: bool,
}

impl FetchRound {
    async fn run(mut self, want: Want) {
        let outbox = Arc::clone(&self.core.store(self.which).outbox);
        let asked = outbox.fetch(want);
        let fetched = self.core.timed(self.which, OutboxCall::Fetch, asked).await;
        self.is_over = true;
        match fetched {
            Ok(fetched) => self.take(fetched),
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                self.end(None, false, None);
            }
        }
    }

    fn take(&self, fetched: DueDeliveries) {
        let Self {
            core, link, which, ..
        } = self;
        let DueDeliveries {
            deliveries,
            more,
            next_due,
            ..
        } = fetched;
        let found = Amount::of(&deliveries);
        if core.is_stopped() {
            let leases = deliveries.iter().map(|leased| leased.lease);
            release(core, link, *which, leases);
            self.end(Some(found), more, next_due);
            return;
        }
        let mut jobs = Vec::with_capacity(deliveries.len());
        for leased in deliveries {
            match core.store(*which).read(&leased.stored) {
                Ok(delivery) => {
                    report_interrupted(core, &delivery, leased.attempt);
                    jobs.push(Job::fetched(&leased, delivery, *which));
                }
                Err(reason) => {
                    settle(core, link, *which, Conclusion::unreadable(leased, reason));
                }
            }
        }
        // Before the next question can be asked: it counts what is held.
        core.arrive(link, jobs, Source::Outbox);
        self.end(Some(found), more, next_due);
    }

    fn end(&self, found: Option<Amount>, more: bool, next_due: Option<Duration>) {
        let mut hub = self.core.hub();
        let store = hub.store(self.which);
        store.end_fetch(self.expected, found, more, next_due, Instant::now());
        let is_stopping = hub.stop != Stop::No;
        let keepers = hub.other_keepers(None);
        drop(hub);
        wake(keepers);
        if is_stopping {
            self.core.has_ended_some.notify_waiters();
        }
    }
}

/// The process before has left a run, of which its endpoint is told now.
fn report_interrupted(core: &Core, delivery: &Delivery, attempt: u32) {
    if delivery.failure() == Some(FailReason::Interrupted) && attempt <= 1 {
        let (id, request_id) = (delivery.id(), delivery.request_id());
        let kind = EventKind::Noticed(FailReason::Interrupted);
        core.events.of(id, request_id, delivery.endpoint(), kind);
    }
}

/// Cut off with its runtime, it lets somebody else ask.
impl Drop for FetchRound {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(None, true, None);
        }
    }
}

/// The heartbeat. What was lost, and waits here, is somebody else's.
async fn renew(core: Arc<Core>, link: Arc<RuntimeLink>, leases: Vec<Lease>) {
    let _link = link;
    let guard = RenewRound(&core);
    let outbox = Arc::clone(&core.store(Which::Given).outbox);
    let asked = outbox.renew(leases);
    let lost = core.timed(Which::Given, OutboxCall::Renew, asked).await;
    drop(guard);
    match lost {
        Ok(mut lost) => {
            // What was settled meanwhile is not held any more.
            {
                let hub = core.hub();
                lost.retain(|lease| hub.given.holds(lease));
            }
            if lost.is_empty() {
                return;
            }
            tracing::warn!(
                lost = lost.len(),
                "leases were lost: this process was silent for too long, and others deliver these"
            );
            let mut hub = core.hub();
            for lease in &lost {
                hub.given.take_run(lease.delivery);
            }
            let jobs = hub
                .scheduler
                .extract(|job| job.which == Which::Given && lost.contains(&job.lease));
            drop(hub);
            core.let_go(Which::Given, jobs.iter().map(|job| job.lease));
        }
        Err(error) => tracing::warn!(%error, "leases could not be renewed"),
    }
}

struct RenewRound<'c>(&'c Core);

impl Drop for RenewRound<'_> {
    fn drop(&mut self) {
        let mut hub = self.0.hub();
        hub.given.end_renewal();
        // While it lasted, none of them knew when the next one is: it may be time for that already.
        let keepers = hub.other_keepers(None);
        drop(hub);
        wake(keepers);
        self.0.has_ended_some.notify_waiters();
    }
}

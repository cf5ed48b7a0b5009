//! The thread's loops, one for each kind of call.

use std::{rc::Rc, time::Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tower_webhook::outbox::Lease;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    choose::Chooser,
    command::{Asked, Batch, Errand, Fetch, Insert, Renew, Settle},
    fetch,
    insert::{self, NewRow},
    lease,
    permits::Permits,
    read,
    reclaim_times::ReclaimTimes,
    settle, sweep,
    thread::Shared,
    unheard::Unheard,
};

/// The most deliveries and payload bytes in one transaction.
const GROUP: usize = 1_024;
pub(crate) const GROUP_BYTES: usize = 32 << 20;

impl Shared {
    pub(crate) async fn insert(&self, mut calls: UnboundedReceiver<Insert>) {
        let size = |call: &Insert| {
            let (Batch::Deliveries(batch) | Batch::Runs(batch)) = &call.question;
            let bytes = batch.iter().map(|new| new.stored.payload.len());
            (batch.len(), bytes.sum())
        };
        let mut unheard = Unheard::default();
        while let Some(group) = self.gather(&mut calls, size).await {
            let (mut rows, mut waiting) = (Vec::new(), Vec::new());
            for call in group {
                let (call, (batch, is_run)) = call.take(|batch| match batch {
                    Batch::Deliveries(batch) => (std::mem::take(batch), false),
                    Batch::Runs(batch) => (std::mem::take(batch), true),
                });
                waiting.push((call, batch.len()));
                rows.extend(batch.into_iter().map(|new| NewRow { new, is_run }));
            }
            let runs = rows.iter().filter(|row| row.is_run).map(NewRow::id);
            match insert::insert(&self.transactions, self.leaser, &rows, &unheard).await {
                Ok(leases) => {
                    unheard.remove(runs);
                    tell_leases(waiting, leases, &mut unheard);
                }
                Err(error) => {
                    unheard.add(runs);
                    fail_each(waiting, &error);
                }
            }
        }
    }

    pub(crate) async fn settle(&self, mut calls: UnboundedReceiver<Settle>) {
        let history = self.settings.history;
        while let Some(group) = self
            .gather(&mut calls, |call| (call.question.len(), 0))
            .await
        {
            let (mut batch, mut waiting) = (Vec::new(), Vec::new());
            for call in group {
                let (call, more) = call.take(std::mem::take);
                waiting.push((call, more.len()));
                batch.extend(more);
            }
            match settle::settle(&self.transactions, history, &batch).await {
                Ok(settled) => {
                    self.has_ended
                        .set(self.has_ended.get() || settled.has_ended);
                    self.has_died.set(self.has_died.get() || settled.has_died);
                    self.upkeep.notify_one();
                    tell_each(waiting, settled.outcomes);
                }
                Err(error) => fail_each(waiting, &error),
            }
        }
    }

    pub(crate) async fn fetch(&self, mut calls: UnboundedReceiver<Fetch>) {
        let mut chooser = Chooser::default();
        let mut reclaim_times = ReclaimTimes::new(self.settings.lease, Instant::now());
        while let Some(call) = calls.recv().await {
            if call.is_abandoned() {
                continue;
            }
            let found = async {
                lease::reclaim(&self.transactions, &mut reclaim_times).await?;
                let want = &call.question;
                let limit = self.settings.fleet_limit;
                fetch::fetch(&self.transactions, self.leaser, &mut chooser, want, limit).await
            };
            let found = found.await;
            reclaim_times.note_fetch(found.is_ok(), Instant::now());
            let leases: Vec<_> = match &found {
                Ok(found) => found.deliveries.iter().map(|one| one.lease).collect(),
                Err(_) => Vec::new(),
            };
            let is_heard = call.tell(found);
            if !is_heard
                && let Err(error) = lease::release(&self.transactions, self.leaser, &leases).await
            {
                tracing::debug!(%error, "leases that nobody waited for will run out");
            }
        }
    }

    pub(crate) async fn renew(&self, mut calls: UnboundedReceiver<Renew>) {
        while let Some(call) = calls.recv().await {
            let lost = match call.question.is_empty() {
                true => Ok(Vec::new()),
                false => lease::renew(&self.transactions, self.leaser, &call.question).await,
            };
            call.tell(lost);
        }
    }

    /// Runs each call in its own task, so that a long one does not delay a close. At shutdown no caller is
    /// left, and the remaining tasks are aborted.
    pub(crate) async fn run_errands(self: &Rc<Self>, mut errands: UnboundedReceiver<Errand>) {
        let permits = Rc::new(Permits::new());
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(errand) = errands.recv().await {
            while tasks.try_join_next().is_some() {}
            let (shared, permits) = (Rc::clone(self), Rc::clone(&permits));
            tasks.spawn_local(async move { shared.run_in_turn(errand, &permits).await });
        }
        tasks.shutdown().await;
    }

    async fn run_in_turn(&self, mut errand: Errand, permits: &Permits) {
        let Some(queue) = permits.of(&errand) else {
            return self.run_errand(errand).await;
        };
        let Ok(place) = queue.places.try_acquire() else {
            return errand.fail(Kind::Busy.into());
        };
        let _permit = tokio::select! {
            permit = queue.permits.acquire() => permit,
            () = errand.abandoned() => return,
        };
        drop(place);
        if !errand.is_abandoned() {
            self.run_errand(errand).await;
        }
    }

    async fn run_errand(&self, errand: Errand) {
        let transactions = &self.transactions;
        match errand {
            Errand::List(call) => {
                let (filter, page) = &call.question;
                let listed = read::list(transactions, filter, *page).await;
                call.tell(listed);
            }
            Errand::OldestDue(call) => {
                let oldest = read::oldest_due(transactions).await;
                call.tell(oldest);
            }
            Errand::Payload(call) => {
                let payload = read::payload(transactions, call.question).await;
                call.tell(payload);
            }
            Errand::Redeliver(call) => {
                let number = sweep::redeliver(transactions, &call.question).await;
                call.tell(number);
            }
            Errand::Cancel(call) => {
                let number = sweep::cancel(transactions, &call.question).await;
                call.tell(number);
            }
            Errand::Close(call) => {
                let left = lease::leave(transactions, self.leaser).await;
                call.tell(left);
            }
        }
    }

    /// Takes all queued calls, up to a bound; `None` once the queue is closed. Calls that were queued for
    /// longer than the timeout fail here, so that a call takes at most two timeouts.
    async fn gather<Q, A>(
        &self,
        calls: &mut UnboundedReceiver<Asked<Q, A>>,
        size: impl Fn(&Asked<Q, A>) -> (usize, usize),
    ) -> Option<Vec<Asked<Q, A>>> {
        let mut next = Some(calls.recv().await?);
        let (mut group, mut number, mut bytes) = (Vec::new(), 0, 0);
        while let Some(call) = next.take() {
            if call.since.elapsed() > self.settings.timeout {
                call.tell(Err(Kind::TimedOut.into()));
            } else if !call.is_abandoned() {
                let (more, more_bytes) = size(&call);
                (number, bytes) = (number + more, bytes + more_bytes);
                group.push(call);
            }
            if number < GROUP && bytes < GROUP_BYTES {
                next = calls.try_recv().ok();
            }
        }
        Some(group)
    }
}

/// Splits the leases of a group among its calls, and notes the runs whose caller does not hear of theirs.
fn tell_leases(waiting: Vec<(Insert, usize)>, leases: Vec<Option<Lease>>, unheard: &mut Unheard) {
    let mut leases = leases.into_iter();
    for (call, number) in waiting {
        let answer: Vec<_> = leases.by_ref().take(number).collect();
        let runs = match call.question {
            Batch::Runs(_) => answer.clone(),
            Batch::Deliveries(_) => Vec::new(),
        };
        if !call.tell(Ok(answer)) {
            unheard.add(runs.into_iter().flatten().map(|lease| lease.delivery));
        }
    }
}

/// Splits the results of a group among its calls.
fn tell_each<Q, T>(waiting: Vec<(Asked<Q, Vec<T>>, usize)>, answers: Vec<T>) {
    let mut answers = answers.into_iter();
    for (call, number) in waiting {
        call.tell(Ok(answers.by_ref().take(number).collect()));
    }
}

fn fail_each<Q, T>(waiting: Vec<(Asked<Q, Vec<T>>, usize)>, error: &PostgresOutboxError) {
    for (call, _) in waiting {
        call.tell(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use tower_webhook::DeliveryId;

    use super::*;

    #[test]
    fn of_what_nobody_heard_runs_alone_are_remembered() {
        let (delivery, run) = (DeliveryId::fresh(), DeliveryId::fresh());
        let batches = [Batch::Deliveries(Vec::new()), Batch::Runs(Vec::new())];
        let given_up = batches.map(|batch| (Asked::new(batch).0, 1));
        let leases = [delivery, run].map(|id| Some(Lease::new(id, 1)));
        let mut unheard = Unheard::default();
        tell_leases(given_up.into(), leases.into(), &mut unheard);
        assert!(unheard.contains(run));
        assert!(!unheard.contains(delivery));
    }
}

//! The outbox's own thread, with a runtime of its own that carries the connections.
//!
//! A connection is a task of the runtime in which it was opened. Calls come from any number of
//! runtimes, each of which may end before the outbox does: so no connection is a task of theirs. A call
//! is a message to this thread, and its answer is one back.
//!
//! Each kind of call has a loop of its own, which does one thing at a time and takes all that waits
//! together where one statement can.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
    time::Duration,
};

use futures_util::future::{join, join4};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, Semaphore, mpsc::UnboundedReceiver, oneshot, watch},
    task::LocalSet,
};
use tower_webhook::outbox::Sealing;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    bounds::Bounds,
    command::{Asked, Batch, Errand, Fetch, Insert, Receivers, Renew, Settle, Thread, queues},
    fetch,
    history::HistorySettings,
    insert::{self, NewRow},
    keys, lease,
    lease::{Leaser, Reclaim},
    migrations,
    name::SchemaName,
    read, settle, sweep,
    transaction::Transactions,
    upkeep::Upkeep,
};

pub(crate) struct Settings {
    pub(crate) schema: SchemaName,
    pub(crate) sealing: Sealing,
    pub(crate) lost_keys: bool,
    pub(crate) migrates: bool,
    pub(crate) timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) dead_letters: Bounds,
    pub(crate) history: HistorySettings,
}

/// What all loops have.
struct Shared {
    transactions: Transactions,
    settings: Settings,
    leaser: Leaser,
    upkeep: Notify,
    has_ended: std::cell::Cell<bool>,
    has_died: std::cell::Cell<bool>,
}

/// The most deliveries, and the most bytes of payloads, that are written at once.
const GROUP: usize = 1_024;
const GROUP_BYTES: usize = 32 << 20;
/// So many reads for people go on at the same time.
const READS: usize = 2;

/// Starts the thread, which says whether the schema is as it should be. It ends when the last sender of
/// questions is gone.
pub(crate) fn start(
    transactions: Transactions,
    settings: Settings,
    ready: oneshot::Sender<Result<(), PostgresOutboxError>>,
) -> Result<Thread, PostgresOutboxError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|_| Kind::Other)?;
    let (senders, receivers) = queues();
    let run = move || {
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run(runtime, transactions, settings, receivers, ready);
        }));
        // What waits for an answer is dropped with the queues, and hears of it that way.
        if ran.is_err() {
            tracing::error!(
                "the thread of the PostgreSQL outbox panicked: it takes nothing any more"
            );
        }
    };
    let handle = thread::Builder::new()
        .name("webhook-outbox".to_owned())
        .spawn(run)
        .map_err(|_| Kind::Other)?;
    Ok(Thread::new(senders, handle))
}

fn run(
    runtime: Runtime,
    transactions: Transactions,
    settings: Settings,
    receivers: Receivers,
    ready: oneshot::Sender<Result<(), PostgresOutboxError>>,
) {
    let shared = Rc::new(Shared {
        leaser: Leaser::new(settings.lease),
        transactions,
        settings,
        upkeep: Notify::new(),
        has_ended: false.into(),
        has_died: false.into(),
    });
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let prepared = shared.prepare().await;
        let is_fine = prepared.is_ok();
        let _ = ready.send(prepared);
        if is_fine {
            shared.serve(receivers).await;
        }
    });
    // Connections that hang are not waited for.
    drop(shared);
    runtime.shutdown_background();
}

impl Shared {
    async fn prepare(&self) -> Result<(), PostgresOutboxError> {
        let Settings {
            schema, migrates, ..
        } = &self.settings;
        migrations::prepare(&self.transactions, schema, *migrates).await?;
        keys::check(
            &self.transactions,
            &self.settings.sealing,
            self.settings.lost_keys,
        )
        .await
    }

    async fn serve(self: &Rc<Self>, receivers: Receivers) {
        let Receivers {
            insert,
            fetch,
            settle,
            renew,
            errand,
        } = receivers;
        let (over, is_over) = watch::channel(false);
        let calls = async {
            let loops = join4(
                self.insert(insert),
                self.fetch(fetch),
                self.settle(settle),
                self.renew(renew),
            );
            join(loops, self.run_errands(errand)).await;
            over.send_replace(true);
            if let Err(error) = lease::leave(&self.transactions, self.leaser).await {
                tracing::warn!(%error, "the PostgreSQL outbox could not hand back its leases");
            }
        };
        join(calls, self.look_after(is_over)).await;
    }

    async fn insert(&self, mut calls: UnboundedReceiver<Insert>) {
        let size = |call: &Insert| {
            let (Batch::Deliveries(batch) | Batch::Runs(batch)) = &call.question;
            let bytes = batch.iter().map(|new| new.stored.payload.len());
            (batch.len(), bytes.sum())
        };
        while let Some(group) = self.gather(&mut calls, size).await {
            let (mut rows, mut waiting) = (Vec::new(), Vec::new());
            for call in group {
                let (call, batch) =
                    call.take(|batch| std::mem::replace(batch, Batch::Runs(Vec::new())));
                let (batch, is_run) = match batch {
                    Batch::Deliveries(batch) => (batch, false),
                    Batch::Runs(batch) => (batch, true),
                };
                waiting.push((call, batch.len()));
                rows.extend(batch.into_iter().map(|new| NewRow { new, is_run }));
            }
            match insert::insert(&self.transactions, self.leaser, &rows).await {
                Ok(leases) => tell_each(waiting, leases),
                Err(error) => fail_each(waiting, &error),
            }
        }
    }

    async fn settle(&self, mut calls: UnboundedReceiver<Settle>) {
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

    async fn fetch(&self, mut calls: UnboundedReceiver<Fetch>) {
        let mut fetch = fetch::Fetch::default();
        let mut reclaim = Reclaim::new(self.settings.lease);
        while let Some(call) = calls.recv().await {
            if call.is_abandoned() {
                continue;
            }
            let found = async {
                reclaim.run_if_due(&self.transactions).await?;
                let want = &call.question;
                crate::claim::fetch(&self.transactions, self.leaser, &mut fetch, want).await
            };
            let found = found.await;
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

    async fn renew(&self, mut calls: UnboundedReceiver<Renew>) {
        while let Some(call) = calls.recv().await {
            let lost = match call.question.is_empty() {
                true => Ok(Vec::new()),
                false => lease::renew(&self.transactions, self.leaser, &call.question).await,
            };
            call.tell(lost);
        }
    }

    /// Each in a task of its own: a long list keeps nobody from cancelling, and the last one is waited
    /// for.
    async fn run_errands(self: &Rc<Self>, mut errands: UnboundedReceiver<Errand>) {
        let reads = Rc::new(Semaphore::new(READS));
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(errand) = errands.recv().await {
            while tasks.try_join_next().is_some() {}
            let (shared, reads) = (Rc::clone(self), Rc::clone(&reads));
            tasks.spawn_local(async move {
                let _permit = reads.acquire().await;
                shared.run_errand(errand).await;
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn run_errand(&self, errand: Errand) {
        let transactions = &self.transactions;
        match errand {
            Errand::List(call) => {
                let (filter, page) = &call.question;
                let listed = read::list(transactions, filter, *page).await;
                call.tell(listed);
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

    /// Does what nobody asks for, until all calls are answered.
    async fn look_after(&self, mut is_over: watch::Receiver<bool>) {
        let mut upkeep = Upkeep::new(&self.settings);
        while !*is_over.borrow() {
            upkeep.note(self.has_ended.take(), self.has_died.take());
            upkeep.run(&self.transactions).await;
            let next = tokio::time::timeout(upkeep.pause(), async {
                self.upkeep.notified().await;
                upkeep.rest().await;
            });
            tokio::select! {
                _ = next => {}
                _ = is_over.changed() => {}
            }
        }
    }

    /// All that waits, up to a bound; `None` at the end. What has waited for too long fails, so that it
    /// is not behind others for longer than one of them may take.
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

/// The answers of a group, to each what is its own.
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

//! Outboxes that do something wrong, around one that does not.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_webhook::{
    BoxError, DeliveryId,
    outbox::{
        DeliveryFilter, DeliveryRecord, DueDeliveries, Durability, Lease, Limits, MemoryOutbox,
        NewDelivery, Outbox, Page, Sealing, SettleOutcome, Settlement, StoredDelivery, Want,
    },
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    AsItIs,
    Error,
    Panic,
    /// It is not carried out, and never ends.
    Never,
    /// It is carried out, and never ends.
    Silence,
    /// It is carried out, and ends when nobody waits for it any more.
    Late,
}

/// An answer that a test can change.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Mutex<Answer>>);

impl Switch {
    pub(crate) fn set(&self, answer: Answer) {
        *self.0.lock().unwrap() = answer;
    }

    fn get(&self) -> Answer {
        *self.0.lock().unwrap()
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Answer::AsItIs)))
    }
}

/// In memory, though it may say that it is durable.
pub(crate) struct Faulty {
    inner: MemoryOutbox,
    durability: Durability,
    insert: Switch,
    /// The first one is carried out, and fails all the same.
    loses_begin: AtomicBool,
    oldest_due: Switch,
    settle: Switch,
    loses_leases: bool,
    close: Answer,
    sealing: Sealing,
    max_payload: Option<usize>,
    /// The ends of so many deliveries, the first ones, are never noted.
    never_noted: usize,
    renewed: Arc<AtomicUsize>,
    /// How long a renewal takes.
    renewal: Duration,
    inserted: Mutex<Vec<DeliveryId>>,
    begun: Mutex<Vec<Option<Lease>>>,
}

impl Faulty {
    pub(crate) fn durable() -> Self {
        Self {
            inner: MemoryOutbox::new(),
            durability: Durability::LocalDisk,
            insert: Switch::default(),
            loses_begin: AtomicBool::new(false),
            oldest_due: Switch::default(),
            settle: Switch::default(),
            loses_leases: false,
            close: Answer::AsItIs,
            sealing: Sealing::in_memory(),
            max_payload: None,
            never_noted: 0,
            renewed: Arc::default(),
            renewal: Duration::ZERO,
            inserted: Mutex::default(),
            begun: Mutex::default(),
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self {
            durability: Durability::Memory,
            ..Self::durable()
        }
    }

    pub(crate) fn insert(self, insert: Answer) -> Self {
        self.insert.set(insert);
        self
    }

    pub(crate) fn losing_begin(self) -> Self {
        self.loses_begin.store(true, Ordering::SeqCst);
        self
    }

    /// To change what becomes of inserts.
    pub(crate) fn inserts(&self) -> Switch {
        self.insert.clone()
    }

    /// To change what becomes of questions for the oldest.
    pub(crate) fn oldest_due(&self) -> Switch {
        self.oldest_due.clone()
    }

    /// How often leases are renewed.
    pub(crate) fn renewals(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.renewed)
    }

    pub(crate) fn sealing(self, sealing: Sealing) -> Self {
        Self { sealing, ..self }
    }

    pub(crate) fn max_payload(self, bytes: usize) -> Self {
        Self {
            max_payload: Some(bytes),
            ..self
        }
    }

    pub(crate) fn never_noting(self, never_noted: usize) -> Self {
        Self {
            never_noted,
            ..self
        }
    }

    pub(crate) fn settle(self, settle: Answer) -> Self {
        self.settle.set(settle);
        self
    }

    /// To change what becomes of settlements.
    pub(crate) fn settlements(&self) -> Switch {
        self.settle.clone()
    }

    /// By the time of the settlement, others have what is settled.
    pub(crate) fn losing_leases(self) -> Self {
        Self {
            loses_leases: true,
            ..self
        }
    }

    pub(crate) fn renewal(self, takes: Duration) -> Self {
        Self {
            renewal: takes,
            ..self
        }
    }

    pub(crate) fn close(self, close: Answer) -> Self {
        Self { close, ..self }
    }
}

async fn answer<T>(
    how: Answer,
    call: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    match how {
        Answer::AsItIs => call.await,
        Answer::Error => Err("disk full".into()),
        Answer::Panic => panic!("as the test wants"),
        Answer::Never => pending().await,
        Answer::Silence => {
            call.await?;
            pending().await
        }
        Answer::Late => {
            let answer = call.await;
            tokio::time::sleep(Duration::from_secs(7)).await;
            answer
        }
    }
}

impl Outbox for Faulty {
    fn limits(&self) -> Limits {
        let mut limits = self.inner.limits();
        limits.durability = self.durability;
        limits.max_payload = self.max_payload;
        if limits.is_durable() {
            limits.lease = Some(Duration::from_secs(10));
        }
        limits
    }

    fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let ids = batch.iter().map(|new| new.stored.id);
        self.inserted.lock().unwrap().extend(ids);
        answer(self.insert.get(), self.inner.insert(batch)).await
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        self.inner.fetch(want).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        let never = |settlement: &Settlement| {
            let inserted = self.inserted.lock().unwrap();
            let mut never = inserted.iter().take(self.never_noted);
            never.any(|id| *id == settlement.lease.delivery)
        };
        if batch.iter().any(never) {
            return Err("a row that cannot be written".into());
        }
        if self.loses_leases {
            return Ok(vec![SettleOutcome::LeaseLost; batch.len()]);
        }
        answer(self.settle.get(), self.inner.settle(batch)).await
    }

    async fn begin(&self, runs: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let begun = self.inner.begin(runs).await?;
        if self.loses_begin.swap(false, Ordering::SeqCst) {
            // Whoever begins these again is given their leases.
            *self.begun.lock().unwrap() = begun;
            return Err("the connection is lost".into());
        }
        let lost = self.begun.lock().unwrap().drain(..).collect::<Vec<_>>();
        match lost.is_empty() {
            true => Ok(begun),
            false => Ok(lost),
        }
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        self.renewed.fetch_add(1, Ordering::SeqCst);
        sleep(self.renewal).await;
        self.inner.renew(leases).await
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        let left = answer(self.close, self.inner.close()).await?;
        Ok(match self.durability {
            Durability::Memory => left,
            _ => Vec::new(),
        })
    }

    async fn oldest_due(&self) -> Result<Option<Duration>, BoxError> {
        answer(self.oldest_due.get(), Outbox::oldest_due(&self.inner)).await
    }

    async fn list(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        self.inner.list(filter, page).await
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        self.inner.redeliver(filter).await
    }
}

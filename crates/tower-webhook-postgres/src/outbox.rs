use std::{fmt, time::Duration};

use tower_webhook::{
    BoxError, DeliveryId, Payload,
    outbox::{
        DeliveryFilter, DeliveryRecord, DueDeliveries, Durability, Lease, Limits, NewDelivery,
        Outbox, Page, Sealing, SealingKey, SettleOutcome, Settlement, StoredDelivery, Want,
    },
};

use crate::{
    PostgresOutboxBuilder, PostgresOutboxError,
    command::{Batch, Errand, Thread},
};

/// An outbox in PostgreSQL; see the [crate](crate).
///
/// It has one thread, which drives its connections. Dropping it blocks until the thread has finished queued
/// work and released its leases. Each transaction of that takes the
/// [timeout](PostgresOutboxBuilder::with_timeout) at most, and so does cancelling one that timed out: where the
/// server hangs, dropping blocks for a few timeouts.
pub struct PostgresOutbox {
    pub(crate) thread: Thread,
    pub(crate) sealing: Sealing,
    pub(crate) lease: Duration,
    /// Whether deliveries are leased as they are inserted.
    pub(crate) leases_on_insert: bool,
}

impl PostgresOutbox {
    /// Opens an outbox with default settings. The connection string is a `postgres://` URL or `key=value` pairs,
    /// as for libpq. The schema is created and migrated if needed.
    ///
    /// ```no_run
    /// use tower_webhook::outbox::SealingKey;
    /// use tower_webhook_postgres::PostgresOutbox;
    ///
    /// # async fn open() -> Result<PostgresOutbox, Box<dyn std::error::Error>> {
    /// let key = SealingKey::from_file("webhooks.key")?;
    /// Ok(PostgresOutbox::open("postgres://app:password@db.example/app", key).await?)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PostgresOutboxBuilder::open`].
    pub async fn open(url: &str, key: SealingKey) -> Result<Self, PostgresOutboxError> {
        Self::builder(url).with_key(key).open().await
    }

    /// A builder for this connection string.
    pub fn builder(url: &str) -> PostgresOutboxBuilder {
        PostgresOutboxBuilder::new(url)
    }
}

/// The server holds several copies of a value while it is inserted, and allocates at most 1 GB at once.
const MAX_PAYLOAD: usize = 256 << 20;

impl Outbox for PostgresOutbox {
    fn limits(&self) -> Limits {
        let mut limits = Limits::new(Durability::LocalDisk);
        limits.max_payload = Some(MAX_PAYLOAD);
        limits.lease = Some(self.lease);
        limits.can_list = true;
        limits.can_redeliver = true;
        limits.can_cancel = true;
        limits
    }

    fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    async fn insert(&self, mut batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        if !self.leases_on_insert {
            batch.iter_mut().for_each(|new| new.lease = false);
        }
        let batch = Batch::Deliveries(batch);
        Ok(self.thread.ask(|to| &to.insert, |call| call, batch).await?)
    }

    async fn begin(&self, runs: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let batch = Batch::Runs(runs);
        Ok(self.thread.ask(|to| &to.insert, |call| call, batch).await?)
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        Ok(self.thread.ask(|to| &to.fetch, |call| call, want).await?)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        Ok(self.thread.ask(|to| &to.settle, |call| call, batch).await?)
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        Ok(self.thread.ask(|to| &to.renew, |call| call, leases).await?)
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        let asked = self.thread.ask(|to| &to.errand, Errand::Close, ());
        asked.await?;
        Ok(Vec::new())
    }

    async fn oldest_due(&self) -> Result<Option<Duration>, BoxError> {
        let asked = self.thread.ask(|to| &to.errand, Errand::OldestDue, ());
        Ok(asked.await?)
    }

    async fn list(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        let question = (filter, page);
        let asked = self.thread.ask(|to| &to.errand, Errand::List, question);
        Ok(asked.await?)
    }

    async fn get(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, BoxError> {
        let one = DeliveryFilter::new().with_id(id);
        let mut found = self.list(one, Page::first(1)).await?;
        Ok(found.pop())
    }

    async fn payload(&self, id: DeliveryId) -> Result<Option<Payload>, BoxError> {
        let asked = self.thread.ask(|to| &to.errand, Errand::Payload, id);
        Ok(asked.await?)
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        let asked = self.thread.ask(|to| &to.errand, Errand::Redeliver, filter);
        Ok(asked.await?)
    }

    async fn cancel(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        let asked = self.thread.ask(|to| &to.errand, Errand::Cancel, filter);
        Ok(asked.await?)
    }
}

impl fmt::Debug for PostgresOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOutbox").finish_non_exhaustive()
    }
}

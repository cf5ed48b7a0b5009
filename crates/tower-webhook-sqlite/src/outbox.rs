use std::{fmt, path::Path, time::Duration};

use tower_webhook::{
    BoxError, DeliveryId, Payload,
    outbox::{
        DeliveryFilter, DeliveryRecord, DueDeliveries, Durability, Lease, Limits, NewDelivery,
        Outbox, Page, Sealing, SealingKey, SettleOutcome, Settlement, StoredDelivery, Want,
    },
};

use crate::{
    SqliteOutboxBuilder, SqliteOutboxError,
    command::{Command, Commands},
    open_files::OpenFiles,
    owner::SHORTEST_LEASE,
    read,
    read_permits::{ReadKind, ReadPermits},
    sweep::Sweep,
};

/// Deliveries wait in a SQLite file; see the [crate](crate).
///
/// A thread of its own writes, until the outbox is dropped. That waits for the thread: what was asked
/// of it is written then, and what it had leased is handed back.
pub struct SqliteOutbox {
    pub(crate) commands: Commands,
    pub(crate) sealing: Sealing,
    pub(crate) files: OpenFiles,
    pub(crate) lock_timeout: Duration,
    pub(crate) read_permits: ReadPermits,
}

impl SqliteOutbox {
    /// Opens this file, or creates it, with every default. It blocks meanwhile.
    ///
    /// # Errors
    ///
    /// As [`SqliteOutboxBuilder::open`].
    pub fn open(path: impl AsRef<Path>, key: SealingKey) -> Result<Self, SqliteOutboxError> {
        Self::builder(path).with_key(key).open()
    }

    /// Settings for this file.
    pub fn builder(path: impl AsRef<Path>) -> SqliteOutboxBuilder {
        SqliteOutboxBuilder::new(path.as_ref())
    }
}

/// SQLite keeps no larger value; some is left for what lies around it.
const MAX_PAYLOAD: usize = 999_999_000;

impl Outbox for SqliteOutbox {
    fn limits(&self) -> Limits {
        let mut limits = Limits::new(Durability::LocalDisk);
        limits.max_payload = Some(MAX_PAYLOAD);
        // What others have may be as short.
        limits.lease = Some(SHORTEST_LEASE);
        limits.can_list = true;
        limits.can_redeliver = true;
        limits.can_cancel = true;
        limits
    }

    fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let insert = |reply| Command::Insert(batch, reply);
        Ok(self.commands.ask_for(insert).await?)
    }

    async fn begin(&self, runs: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let begin = |reply| Command::Begin(runs, reply);
        Ok(self.commands.ask_for(begin).await?)
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        let fetch = |reply| Command::Fetch(want, reply);
        Ok(self.commands.ask_for(fetch).await?)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        let settle = |reply| Command::Settle(batch, reply);
        Ok(self.commands.ask(settle).await?)
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        let renew = |reply| Command::Renew(leases, reply);
        Ok(self.commands.ask(renew).await?)
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        self.commands.ask(Command::Close).await?;
        Ok(Vec::new())
    }

    async fn oldest_due(&self) -> Result<Option<Duration>, BoxError> {
        self.read(ReadKind::Short, read::oldest_due).await
    }

    async fn list(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        let kind = ReadKind::of_list(&filter);
        self.read(kind, move |conn| read::list(conn, &filter, page))
            .await
    }

    async fn get(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, BoxError> {
        let one = DeliveryFilter::new().with_id(id);
        let mut found = self.list(one, Page::first(1)).await?;
        Ok(found.pop())
    }

    async fn payload(&self, id: DeliveryId) -> Result<Option<Payload>, BoxError> {
        self.read(ReadKind::Short, move |conn| read::payload(conn, id))
            .await
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        let redeliver = |reply| Command::Redeliver(Sweep::new(filter, reply));
        Ok(self.commands.ask(redeliver).await?)
    }

    async fn cancel(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        let cancel = |reply| Command::Cancel(Sweep::new(filter, reply));
        Ok(self.commands.ask(cancel).await?)
    }
}

impl fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutbox").finish_non_exhaustive()
    }
}

mod kept;
mod rows;

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use self::{kept::KeptLimits, rows::Rows};
use super::{
    DeliveryFilter, DeliveryRecord, DueDeliveries, Durability, Lease, Limits, NewDelivery, Outbox,
    Page, Sealing, SettleOutcome, Settlement, StoredDelivery, Want,
};
use crate::{delivery::Payload, error::BoxError, id::DeliveryId, sync::lock};

/// Keeps deliveries in this process: they are gone with it. The default.
///
/// Deliveries have no bound here: each is reserved before it is made, and a delivery holds its
/// reservation until it is settled. Dead letters hold none, and have bounds of their own.
///
/// So does the history: records of what the endpoint took, and of calls that failed, to be listed and to
/// be looked at by their callers ([`status`](crate::status())). It has no payloads, unless
/// [told to](Self::with_history_payloads).
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::{Dispatcher, outbox::MemoryOutbox};
///
/// let outbox = MemoryOutbox::new()
///     .with_max_dead_letters(100)
///     .with_dead_letters_kept(Duration::from_secs(3_600));
/// let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
/// ```
pub struct MemoryOutbox {
    rows: Mutex<Rows>,
}

impl MemoryOutbox {
    /// An empty outbox that keeps 1,024 dead letters of together 64 MiB for 24 hours, and a history of
    /// 1,024 records of together 16 MiB for an hour: a megabyte or less where no payloads are in it, and as
    /// long as somebody who polls is likely to come back.
    #[must_use]
    pub fn new() -> Self {
        let dead = KeptLimits {
            number: 1_024,
            bytes: 64 << 20,
            time: Duration::from_secs(24 * 3_600),
        };
        let history = KeptLimits {
            number: 1_024,
            bytes: 16 << 20,
            time: Duration::from_secs(3_600),
        };
        Self {
            rows: Mutex::new(Rows::new(dead, history)),
        }
    }

    /// How many dead letters are kept; the oldest go first. Default: 1,024.
    #[must_use]
    pub fn with_max_dead_letters(self, number: usize) -> Self {
        self.with(|rows| rows.dead.limits.number = number)
    }

    /// The bytes of all dead letters' payloads and headers; the oldest go first. Default: 64 MiB.
    #[must_use]
    pub fn with_max_dead_letter_bytes(self, bytes: usize) -> Self {
        self.with(|rows| rows.dead.limits.bytes = bytes)
    }

    /// How long dead letters are kept, by the wall clock. Default: 24 hours.
    #[must_use]
    pub fn with_dead_letters_kept(self, time: Duration) -> Self {
        self.with(|rows| rows.dead.limits.time = time)
    }

    /// How many records the history has; the oldest go first. Default: 1,024. With 0 there is none.
    #[must_use]
    pub fn with_max_history(self, number: usize) -> Self {
        self.with(|rows| rows.history.limits.number = number)
    }

    /// The bytes of all headers in the history, and of its payloads; the oldest records go first. Default:
    /// 16 MiB.
    #[must_use]
    pub fn with_max_history_bytes(self, bytes: usize) -> Self {
        self.with(|rows| rows.history.limits.bytes = bytes)
    }

    /// How long a record stays in the history, by the wall clock. Default: one hour.
    #[must_use]
    pub fn with_history_kept(self, time: Duration) -> Self {
        self.with(|rows| rows.history.limits.time = time)
    }

    /// Keeps what was delivered with its payload: it can be delivered again, and its caller can
    /// [fetch it](crate::status()). Default: no payloads, as what was delivered is somebody else's
    /// business.
    #[must_use]
    pub fn with_history_payloads(self) -> Self {
        self.with(|rows| rows.keeps_payloads = true)
    }

    fn with(self, set: impl FnOnce(&mut Rows)) -> Self {
        set(&mut lock(&self.rows));
        self
    }
}

impl Default for MemoryOutbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox for MemoryOutbox {
    fn limits(&self) -> Limits {
        let mut limits = Limits::new(Durability::Memory);
        limits.can_list = true;
        limits.can_redeliver = true;
        limits.can_cancel = true;
        limits
    }

    fn sealing(&self) -> Sealing {
        Sealing::in_memory()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let mut rows = lock(&self.rows);
        let now = Instant::now();
        Ok(batch.into_iter().map(|new| rows.insert(new, now)).collect())
    }

    async fn begin(&self, runs: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let mut rows = lock(&self.rows);
        let now = Instant::now();
        Ok(runs.into_iter().map(|run| rows.begin(run, now)).collect())
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        Ok(lock(&self.rows).fetch(&want, Instant::now()))
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        let mut rows = lock(&self.rows);
        let settled = batch.iter().map(|settlement| rows.settle(settlement));
        Ok(settled.collect())
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        let rows = lock(&self.rows);
        let lost = leases.into_iter().filter(|lease| !rows.holds(*lease));
        Ok(lost.collect())
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        Ok(lock(&self.rows).close())
    }

    async fn oldest_due(&self) -> Result<Option<Duration>, BoxError> {
        Ok(lock(&self.rows).oldest_due(Instant::now()))
    }

    async fn list(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        Ok(lock(&self.rows).list(&filter, page, SystemTime::now()))
    }

    async fn get(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, BoxError> {
        let one = DeliveryFilter::new().with_id(id);
        let mut found = lock(&self.rows).list(&one, Page::first(1), SystemTime::now());
        Ok(found.pop())
    }

    async fn payload(&self, id: DeliveryId) -> Result<Option<Payload>, BoxError> {
        Ok(lock(&self.rows).payload(id))
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        lock(&self.rows).redeliver(&filter, Instant::now())
    }

    async fn cancel(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        Ok(lock(&self.rows).cancel(&filter))
    }
}

impl fmt::Debug for MemoryOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOutbox").finish_non_exhaustive()
    }
}

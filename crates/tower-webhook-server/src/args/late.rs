//! An outbox on a server that may be away when this process starts.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tower_webhook::{
    BoxError,
    outbox::{
        DueDeliveries, Durability, Lease, Limits, NewDelivery, Outbox, Sealing, SettleOutcome,
        Settlement, StoredDelivery, Want,
    },
};
use tower_webhook_postgres::{PostgresOutbox, PostgresOutboxError};

use super::postgres::MAX_PAYLOAD;

/// Opened at the latest with the first delivery that goes there. It is only put into: nothing is fetched from it.
pub(crate) struct LateOutbox {
    open: Box<Open>,
    sealing: Sealing,
    opened: OnceCell<PostgresOutbox>,
}

type Open =
    dyn Fn() -> BoxFuture<'static, Result<PostgresOutbox, PostgresOutboxError>> + Send + Sync;

impl LateOutbox {
    pub(crate) fn new(
        sealing: Sealing,
        open: impl Fn() -> BoxFuture<'static, Result<PostgresOutbox, PostgresOutboxError>>
        + Send
        + Sync
        + 'static,
        opened: Option<PostgresOutbox>,
    ) -> Self {
        Self {
            open: Box::new(open),
            sealing,
            opened: OnceCell::new_with(opened),
        }
    }

    async fn opened(&self) -> Result<&PostgresOutbox, BoxError> {
        let opened = self.opened.get_or_try_init(|| (self.open)()).await;
        opened.map_err(Into::into)
    }
}

const ONLY_PUT_INTO: &str = "deliveries are only put into this outbox";

impl Outbox for LateOutbox {
    fn limits(&self) -> Limits {
        let mut limits = Limits::new(Durability::LocalDisk);
        limits.lease = Some(Duration::from_secs(10));
        limits.max_payload = Some(MAX_PAYLOAD);
        limits
    }

    fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        self.opened().await?.insert(batch).await
    }

    async fn fetch(&self, _: Want) -> Result<DueDeliveries, BoxError> {
        Err(ONLY_PUT_INTO.into())
    }

    async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        Err(ONLY_PUT_INTO.into())
    }

    async fn renew(&self, _: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        Err(ONLY_PUT_INTO.into())
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        match self.opened.get() {
            Some(opened) => opened.close().await,
            None => Ok(Vec::new()),
        }
    }
}

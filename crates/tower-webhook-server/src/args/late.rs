//! An outbox on a server that may be away when this process starts.

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tower_webhook::{
    BoxError,
    outbox::{
        DueDeliveries, Durability, Lease, Limits, NewDelivery, Outbox, Sealing, SettleOutcome,
        Settlement, StoredDelivery, Want,
    },
};

/// Opened at the latest with the first delivery that goes there. It is only put into: nothing is fetched from it.
pub(crate) struct LateOutbox<O> {
    open: Box<dyn Fn() -> BoxFuture<'static, Result<O, BoxError>> + Send + Sync>,
    sealing: Sealing,
    max_payload: usize,
    opened: OnceCell<O>,
}

impl<O: Outbox> LateOutbox<O> {
    pub(crate) fn new(
        sealing: Sealing,
        max_payload: usize,
        opened: Option<O>,
        open: impl Fn() -> BoxFuture<'static, Result<O, BoxError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            sealing,
            max_payload,
            opened: OnceCell::new_with(opened),
        }
    }
}

const ONLY_PUT_INTO: &str = "deliveries are only put into this outbox";

impl<O: Outbox> Outbox for LateOutbox<O> {
    fn limits(&self) -> Limits {
        let mut limits = Limits::new(Durability::LocalDisk);
        limits.max_payload = Some(self.max_payload);
        limits
    }

    fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let opened = self.opened.get_or_try_init(|| (self.open)()).await?;
        opened.insert(batch).await
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

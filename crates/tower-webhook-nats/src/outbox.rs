use std::{fmt, future::ready, sync::Arc};

use tower_webhook::{
    BoxError,
    outbox::{
        DueDeliveries, Lease, Limits, NewDelivery, Outbox, Sealing, SealingKey, SettleOutcome,
        Settlement, StoredDelivery, Want,
    },
};

use crate::{JetStreamOutboxBuilder, JetStreamOutboxError, engine::Engine, thread::Thread};

/// Deliveries wait in a JetStream stream; see the [crate](crate).
///
/// A thread of its own carries the connection, until the outbox is dropped. That waits for the thread to
/// hand back what it had leased, for a second at most.
pub struct JetStreamOutbox {
    pub(crate) thread: Thread,
    pub(crate) sealing: Sealing,
    pub(crate) limits: Limits,
}

impl JetStreamOutbox {
    /// Connects with every default. Several addresses are separated by commas.
    ///
    /// # Errors
    ///
    /// As [`JetStreamOutboxBuilder::connect`].
    pub async fn connect(addresses: &str, key: SealingKey) -> Result<Self, JetStreamOutboxError> {
        Self::builder(addresses).with_key(key).connect().await
    }

    /// Settings for these servers.
    pub fn builder(addresses: &str) -> JetStreamOutboxBuilder {
        JetStreamOutboxBuilder::new(addresses)
    }
}

impl Outbox for JetStreamOutbox {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let inserted = self.thread.ask(
            |engine: Arc<Engine>| async move { engine.insert(batch).await },
            |engine: Arc<Engine>, leases: Vec<Option<Lease>>| async move {
                engine.release(leases.into_iter().flatten()).await;
            },
        );
        Ok(inserted.await?)
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        let fetched = self.thread.ask(
            |engine: Arc<Engine>| async move { engine.fetch(want).await },
            |engine: Arc<Engine>, due: DueDeliveries| async move {
                let leases = due.deliveries.iter().map(|leased| leased.lease);
                engine.release(leases).await;
            },
        );
        Ok(fetched.await?)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        let settle = |engine: Arc<Engine>| async move { engine.settle(batch).await };
        Ok(self.thread.ask(settle, |_, _| ready(())).await?)
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        let renew = |engine: Arc<Engine>| async move { engine.renew(leases).await };
        Ok(self.thread.ask(renew, |_, _| ready(())).await?)
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        let leave = |engine: Arc<Engine>| async move {
            engine.leave().await;
            Ok(())
        };
        self.thread.ask(leave, |_, ()| ready(())).await?;
        Ok(Vec::new())
    }
}

impl fmt::Debug for JetStreamOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamOutbox").finish_non_exhaustive()
    }
}

//! An outbox that deliveries go on to: this process puts them there, and others attempt them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::store::Store;
use crate::{delivery::Delivery, error::BoxError};

/// Where deliveries go on to.
pub(super) struct FarOutbox {
    store: Store,
    /// It is told once that it takes nothing, and once that it does again.
    is_away: AtomicBool,
}

/// How long it may take to take one.
const PATIENCE: Duration = Duration::from_secs(5);

impl FarOutbox {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            is_away: AtomicBool::new(false),
        }
    }

    /// The largest payload that it takes.
    pub(super) fn max_payload(&self) -> Option<usize> {
        self.store.limits.max_payload
    }

    pub(super) fn is_durable(&self) -> bool {
        self.store.limits.is_durable()
    }

    /// Whether it is not too large for it.
    pub(super) fn takes(&self, delivery: &Delivery) -> bool {
        self.store.takes(delivery)
    }

    /// Whether it has the delivery now. One that it had already, it leaves as it is: whoever does not
    /// know whether it was taken asks again.
    pub(super) async fn take(&self, delivery: &Delivery, accepted_at: Option<SystemTime>) -> bool {
        let taken = match timeout(PATIENCE, self.insert(delivery, accepted_at)).await {
            Ok(taken) => taken,
            Err(_elapsed) => Err("it took too long".into()),
        };
        match taken {
            Ok(()) => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::warn!("the outbox that deliveries go on to takes them again");
                }
                true
            }
            Err(error) => {
                let is_news = !self.is_away.swap(true, Ordering::Relaxed);
                if is_news {
                    tracing::error!(
                        %error,
                        "the outbox that deliveries go on to takes none: they wait until it does"
                    );
                }
                false
            }
        }
    }

    async fn insert(
        &self,
        delivery: &Delivery,
        accepted_at: Option<SystemTime>,
    ) -> Result<(), BoxError> {
        let mut new = self.store.to_new(delivery, false)?;
        new.stored.accepted_at = accepted_at.unwrap_or(new.stored.accepted_at);
        let asked = Arc::clone(&self.store.outbox).insert(vec![new]);
        asked.await.map(drop)
    }

    pub(super) async fn close(&self) {
        let closing = Arc::clone(&self.store.outbox).close();
        match timeout(PATIENCE, closing).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the outbox that deliveries go on to could not be closed");
            }
            Err(_elapsed) => {
                tracing::warn!("the outbox that deliveries go on to did not close in time");
            }
        }
    }
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tower_webhook::{DeliveryId, Dispatcher};

/// Whether calls can be sent here: the outbox can be written, and the process does not drain.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Shared>);

struct Shared {
    dispatcher: Dispatcher,
    can_be_tried: bool,
    is_draining: AtomicBool,
    /// What was found, and when. Whoever asks meanwhile waits for the same answer.
    found: Mutex<Option<(Instant, bool)>>,
}

/// However often it is asked, the outbox is tried once in this time.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

impl Readiness {
    pub(super) fn new(dispatcher: Dispatcher, can_be_tried: bool) -> Self {
        Self(Arc::new(Shared {
            dispatcher,
            can_be_tried,
            is_draining: AtomicBool::new(false),
            found: Mutex::default(),
        }))
    }

    pub(crate) fn drain(&self) {
        self.0.is_draining.store(true, Ordering::SeqCst);
    }

    pub(super) async fn is_so(&self) -> bool {
        let Shared {
            can_be_tried,
            is_draining,
            ..
        } = &*self.0;
        if is_draining.load(Ordering::SeqCst) {
            return false;
        }
        if !can_be_tried {
            return true;
        }
        // Whoever asks may hang up: what was begun is ended all the same, and found.
        let shared = Arc::clone(&self.0);
        let tried = tokio::spawn(async move { shared.is_writable().await });
        tried.await.unwrap_or(false) && !is_draining.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn is_writable(&self) -> bool {
        let mut found = self.found.lock().await;
        if let Some((at, is_writable)) = *found
            && at.elapsed() < AT_MOST_EVERY
        {
            return is_writable;
        }
        // A statement that writes, and changes nothing: nobody has that id. Whether there is room for a
        // delivery, only a delivery can tell.
        let tried = self.dispatcher.redeliver(DeliveryId::fresh());
        let is_writable = matches!(timeout(PATIENCE, tried).await, Ok(Ok(_)));
        *found = Some((Instant::now(), is_writable));
        is_writable
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tower_webhook::{
        BoxError,
        outbox::{
            DeliveryFilter, DueDeliveries, Lease, Limits, MemoryOutbox, NewDelivery, Outbox,
            Sealing, SettleOutcome, Settlement, StoredDelivery, Want,
        },
    };

    use super::*;

    /// It hangs where it is tried, and counts that.
    struct Hanging {
        inner: MemoryOutbox,
        tried: Arc<AtomicUsize>,
    }

    impl Outbox for Hanging {
        fn limits(&self) -> Limits {
            self.inner.limits()
        }

        fn sealing(&self) -> Sealing {
            self.inner.sealing()
        }

        async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
            self.inner.insert(batch).await
        }

        async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
            self.inner.fetch(want).await
        }

        async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
            self.inner.settle(batch).await
        }

        async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
            self.inner.renew(leases).await
        }

        async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
            self.inner.close().await
        }

        async fn redeliver(&self, _: DeliveryFilter) -> Result<usize, BoxError> {
            self.tried.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_up_has_it_tried_no_more_often() {
        let tried = Arc::new(AtomicUsize::new(0));
        let outbox = Hanging {
            inner: MemoryOutbox::new(),
            tried: Arc::clone(&tried),
        };
        let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
        let ready = Readiness::new(dispatcher, true);
        for _ in 0..10 {
            let asked = timeout(Duration::from_millis(10), ready.is_so()).await;
            assert!(asked.is_err(), "it hangs");
        }
        assert_eq!(tried.load(Ordering::SeqCst), 1);
        assert!(!ready.is_so().await);
        assert_eq!(tried.load(Ordering::SeqCst), 1);
    }
}

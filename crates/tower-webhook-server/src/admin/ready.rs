use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tower_webhook::{DeliveryId, Dispatcher};

/// Whether calls can be sent here: the outbox can be written and takes what comes, and the process does not
/// drain.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Shared>);

struct Shared {
    dispatcher: Dispatcher,
    can_be_tried: bool,
    is_draining: AtomicBool,
    failed: std::sync::Mutex<Failed>,
    /// What was found, and when. Whoever asks meanwhile waits for the same answer.
    found: Mutex<Option<(Instant, bool)>>,
}

/// How many deliveries the outbox has not taken, and when there was news of that.
struct Failed {
    number: u64,
    at: Instant,
}

/// For so long no calls are wanted where the outbox takes nothing. Then some have to find out whether it does.
const AWAY_FOR: Duration = Duration::from_secs(30);
/// However often it is asked, the outbox is tried once in this time.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

impl Readiness {
    pub(super) fn new(dispatcher: Dispatcher, can_be_tried: bool) -> Self {
        Self(Arc::new(Shared {
            dispatcher,
            can_be_tried,
            is_draining: AtomicBool::new(false),
            failed: std::sync::Mutex::new(Failed {
                number: 0,
                at: Instant::now(),
            }),
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
        if self.0.takes_nothing() {
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
    /// As deliveries have told.
    fn takes_nothing(&self) -> bool {
        let number = self.dispatcher.counts().outbox_failed;
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if number > failed.number {
            *failed = Failed {
                number,
                at: Instant::now(),
            };
        }
        self.dispatcher.is_outbox_away() && failed.at.elapsed() < AWAY_FOR
    }

    async fn is_writable(&self) -> bool {
        let mut found = self.found.lock().await;
        if let Some((at, is_writable)) = *found
            && at.elapsed() < AT_MOST_EVERY
        {
            return is_writable;
        }
        // A statement that writes, and changes nothing: nobody has that id. It needs no room: whether there is
        // some for a delivery, only a delivery can tell.
        let tried = self.dispatcher.redeliver(DeliveryId::fresh());
        let is_writable = matches!(timeout(PATIENCE, tried).await, Ok(Ok(_)));
        *found = Some((Instant::now(), is_writable));
        is_writable
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use hyper::{Request, Response};
    use tokio::time::sleep;
    use tower::service_fn;
    use tower_webhook::{
        BoxError, EndpointPolicy, Payload,
        delivery::DeliveryParts,
        outbox::{
            DeliveryFilter, DueDeliveries, Durability, Lease, Limits, MemoryOutbox, NewDelivery,
            Outbox, Sealing, SettleOutcome, Settlement, StoredDelivery, Want,
        },
    };

    use super::*;

    /// It hangs where it is tried, or takes nothing. Clones are the same one.
    #[derive(Clone)]
    struct Sick {
        inner: Arc<MemoryOutbox>,
        tried: Arc<AtomicUsize>,
        hangs: bool,
        is_full: Arc<AtomicBool>,
    }

    impl Sick {
        fn new(hangs: bool) -> Self {
            Self {
                inner: Arc::new(MemoryOutbox::new()),
                tried: Arc::default(),
                hangs,
                is_full: Arc::default(),
            }
        }
    }

    impl Outbox for Sick {
        fn limits(&self) -> Limits {
            let mut limits = self.inner.limits();
            limits.durability = Durability::LocalDisk;
            limits
        }

        fn sealing(&self) -> Sealing {
            Sealing::insecure_plaintext()
        }

        async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
            match self.is_full.load(Ordering::SeqCst) {
                true => Err("it is full".into()),
                false => self.inner.insert(batch).await,
            }
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

        async fn redeliver(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
            self.tried.fetch_add(1, Ordering::SeqCst);
            match self.hangs {
                true => std::future::pending().await,
                false => self.inner.redeliver(filter).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_up_has_it_tried_no_more_often() {
        let outbox = Sick::new(true);
        let tried = Arc::clone(&outbox.tried);
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

    #[tokio::test(start_paused = true)]
    async fn what_takes_no_delivery_is_not_ready_until_another_one_may_find_out() {
        for can_be_tried in [true, false] {
            let outbox = Sick::new(false);
            let is_full = Arc::clone(&outbox.is_full);
            let client =
                async |_: Request<Payload>| Ok::<_, BoxError>(Response::new(String::new()));
            let dispatcher = Dispatcher::builder_with_client(service_fn(client))
                .with_outbox(outbox)
                .build();
            let deliver = async || {
                let endpoint = EndpointPolicy::public().check("https://example.com/hook");
                let parts = DeliveryParts::new(endpoint.unwrap(), "done".into());
                dispatcher.deliver(parts).await.unwrap();
            };
            let ready = Readiness::new(dispatcher.clone(), can_be_tried);
            deliver().await;
            assert!(ready.is_so().await);
            is_full.store(true, Ordering::SeqCst);
            sleep(AT_MOST_EVERY).await;
            for _ in 0..2 {
                deliver().await;
                assert!(!ready.is_so().await);
                sleep(AWAY_FOR / 2).await;
                assert!(!ready.is_so().await);
                // Whoever keeps calls away would never hear that it is back.
                sleep(AWAY_FOR / 2).await;
                assert!(ready.is_so().await);
            }
            deliver().await;
            assert!(!ready.is_so().await);
            is_full.store(false, Ordering::SeqCst);
            deliver().await;
            assert!(ready.is_so().await);
        }
    }
}

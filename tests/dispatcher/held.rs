//! What a dispatcher holds of a durable outbox: no more than it says, and nothing that it has lost.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::timeout,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    BoxError, DeliveryId, Dispatcher, EventKind, Payload, WebhookLayer,
    outbox::{
        DueDeliveries, Durability, Lease, Limits, MemoryOutbox, NewDelivery, Outbox, Sealing,
        SettleOutcome, Settlement, StoredDelivery, Want,
    },
};

use crate::world::{World, ask, call};

/// Counts what is leased.
#[derive(Clone)]
pub(crate) struct Counting {
    pub(crate) inner: Arc<MemoryOutbox>,
    leased: Arc<Mutex<Leased>>,
    /// The next renewal finds everything lost.
    loses: Arc<AtomicBool>,
}

#[derive(Default)]
struct Leased {
    now: HashMap<DeliveryId, usize>,
    most: usize,
    most_bytes: usize,
}

impl Counting {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::new(MemoryOutbox::new()),
            leased: Arc::default(),
            loses: Arc::default(),
        }
    }

    fn count(&self, leased: impl Iterator<Item = (DeliveryId, usize)>) {
        let mut counts = self.leased.lock().unwrap();
        counts.now.extend(leased);
        counts.most = counts.most.max(counts.now.len());
        counts.most_bytes = counts.most_bytes.max(counts.now.values().sum());
    }
}

impl Outbox for Counting {
    fn limits(&self) -> Limits {
        let mut limits = Limits::new(Durability::LocalDisk);
        limits.lease = Some(Duration::from_secs(9));
        limits
    }

    fn sealing(&self) -> Sealing {
        Sealing::in_memory()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let leased = batch.iter().filter(|new| new.lease);
        self.count(leased.map(|new| (new.stored.id, new.stored.payload.len())));
        // Others may ask meanwhile.
        yield_now().await;
        self.inner.insert(batch).await
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        yield_now().await;
        let found = self.inner.fetch(want).await?;
        let leased = found.deliveries.iter().map(|leased| &leased.stored);
        self.count(leased.map(|stored| (stored.id, stored.payload.len())));
        yield_now().await;
        Ok(found)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        for settlement in &batch {
            let mut counts = self.leased.lock().unwrap();
            counts.now.remove(&settlement.lease.delivery);
        }
        self.inner.settle(batch).await
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        match self.loses.swap(false, Ordering::SeqCst) {
            true => Ok(leases),
            false => self.inner.renew(leases).await,
        }
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        Ok(Vec::new())
    }
}

/// What was leased at most while so many calls were made at once, each with a body of `len` bytes.
async fn most_leased(payload_memory: usize, len: usize) -> (usize, usize) {
    const CALLERS: usize = 300;
    const CALLS: usize = 5;
    let (end, mut ends) = mpsc::unbounded_channel();
    let client = service_fn(|_: Request<Payload>| async {
        yield_now().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let outbox = Counting::new();
    let dispatcher = Dispatcher::builder_with_client(client)
        .with_max_attempts(32)
        .with_max_attempts_per_host(32)
        .with_max_outstanding(CALLERS)
        .with_max_outstanding_per_host(CALLERS)
        .with_payload_memory(payload_memory)
        .with_outbox(outbox.clone())
        .on_event(move |event| {
            if let EventKind::Delivered { .. } = event.kind() {
                let _ = end.send(());
            }
        })
        .build();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
        let service = layer.layer(service_fn(move |_: Request<()>| async move {
            let body = Full::new(Bytes::from(vec![b'x'; len]));
            Ok::<_, Infallible>(Response::new(body))
        }));
        callers.spawn(async move {
            for number in 0..CALLS {
                let host = format!("{}.example", (caller + number) % 4);
                let response = service.clone().oneshot(ask(&host, "id")).await.unwrap();
                assert_eq!(response.status(), 200);
                response.into_body().collect().await.unwrap();
            }
        });
    }
    callers.join_all().await;
    for _ in 0..CALLERS * CALLS {
        ends.recv().await.unwrap();
    }
    let counts = outbox.leased.lock().unwrap();
    (counts.most, counts.most_bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_stored_together_exceed_no_bound_on_deliveries() {
    // Twice as many as attempts, 64 at least.
    let (most, _) = most_leased(1 << 20, 10).await;
    assert!((1..=64).contains(&most), "{most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_stored_together_exceed_no_bound_on_bytes() {
    const LEN: usize = 1_000;
    let (_, most) = most_leased(10 * LEN, LEN).await;
    // The last that is fetched may pass it.
    assert!((LEN..=11 * LEN).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_is_lost_is_not_attempted() {
    let outbox = Counting::new();
    let builder = Dispatcher::builder()
        .with_max_attempts(1)
        .with_attempt_timeout(Duration::from_secs(60))
        .with_outbox(outbox.clone());
    let (mut world, builder) = World::new(builder);
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "first").await;
    let first = world.post().await;
    call(&dispatcher, "example.com", "second").await;
    outbox.loses.store(true, Ordering::SeqCst);
    let silence = timeout(Duration::from_secs(10), world.posts.recv()).await;
    assert!(silence.is_err(), "there is one permit");
    assert!(!outbox.loses.load(Ordering::SeqCst), "leases are renewed");
    first.answer(200);
    let silence = timeout(Duration::from_secs(60), world.posts.recv()).await;
    assert!(silence.is_err(), "the second is somebody else's");
    // And there is room for others.
    call(&dispatcher, "example.com", "third").await;
    assert_eq!(world.post().await.id(), "third");
}

/// By then others can attempt it, however long the attempts under way take.
#[tokio::test(start_paused = true)]
async fn what_waits_is_handed_back_as_soon_as_a_shutdown_begins() {
    let outbox = Counting::new();
    let builder = Dispatcher::builder()
        .with_max_attempts(1)
        .with_attempt_timeout(Duration::from_secs(60))
        .with_outbox(outbox.clone());
    let (mut world, builder) = World::new(builder);
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "first").await;
    let first = world.post().await;
    call(&dispatcher, "example.com", "second").await;
    let ending = tokio::spawn(async move { dispatcher.shutdown(Duration::from_secs(60)).await });
    let due = timeout(Duration::from_secs(10), async {
        loop {
            let found = outbox.inner.fetch(Want::up_to(9)).await.unwrap();
            match found.deliveries.is_empty() {
                true => yield_now().await,
                false => break found.deliveries,
            }
        }
    });
    let due = due.await.expect("it is due");
    assert_eq!(due[0].stored.request_id.as_str(), "second");
    assert!(first.is_waited_for());
    first.answer(200);
    ending.await.unwrap();
}

//! An outbox that hands out whatever it has: limits and fairness are the dispatcher's.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{sync::mpsc, task::yield_now, time::timeout};
use tower::service_fn;
use tower_webhook::{
    BoxError, Dispatcher, EventKind, Payload,
    outbox::{
        DueDeliveries, Durability, Lease, Limits, MemoryOutbox, NewDelivery, Outbox, Sealing,
        SettleOutcome, Settlement, StoredDelivery, Want,
    },
};

use crate::world::call;

/// Pays no heed to what is wanted, and leases nothing at once.
struct Heedless(MemoryOutbox, Durability);

impl Outbox for Heedless {
    fn limits(&self) -> Limits {
        Limits::new(self.1)
    }

    fn sealing(&self) -> Sealing {
        self.0.sealing()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        // Nothing is leased at once: all is fetched.
        let batch = batch
            .into_iter()
            .map(|new| NewDelivery::new(new.stored, false));
        self.0.insert(batch.collect()).await
    }

    async fn fetch(&self, _: Want) -> Result<DueDeliveries, BoxError> {
        self.0.fetch(Want::up_to(usize::MAX)).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        self.0.settle(batch).await
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        self.0.renew(leases).await
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        Ok(Vec::new())
    }
}

/// How many are under way, and were at most.
#[derive(Default)]
struct UnderWay {
    now: usize,
    most: usize,
}

impl UnderWay {
    fn enter(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }
}

/// In all, and of each host.
type Tally = Arc<Mutex<(UnderWay, HashMap<String, UnderWay>)>>;

fn dispatcher(
    tally: &Tally,
    durability: Durability,
    in_all: usize,
    per_host: usize,
) -> (Dispatcher, mpsc::UnboundedReceiver<()>) {
    let (end, ends) = mpsc::unbounded_channel();
    let tally = Arc::clone(tally);
    let client = service_fn(move |request: Request<Payload>| {
        let host = request.uri().host().unwrap().to_owned();
        let tally = Arc::clone(&tally);
        async move {
            {
                let (all, hosts) = &mut *tally.lock().unwrap();
                all.enter();
                hosts.entry(host.clone()).or_default().enter();
            }
            for _ in 0..20 {
                yield_now().await;
            }
            let (all, hosts) = &mut *tally.lock().unwrap();
            all.now -= 1;
            hosts.get_mut(&host).unwrap().now -= 1;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let dispatcher = Dispatcher::builder_with_client(client)
        .with_max_attempts(in_all)
        .with_max_attempts_per_host(per_host)
        .with_max_outstanding(100_000)
        .with_max_outstanding_per_host(100_000)
        .with_outbox(Heedless(MemoryOutbox::new(), durability))
        .on_event(move |event| {
            if let EventKind::Delivered { .. } = event.kind() {
                let _ = end.send(());
            }
        })
        .build();
    (dispatcher, ends)
}

fn assert_within(tally: &Tally, in_all: usize, per_host: usize) {
    let (all, hosts) = &*tally.lock().unwrap();
    assert!(all.most <= in_all, "{} in all", all.most);
    for (host, under_way) in hosts {
        assert!(under_way.most <= per_host, "{} of {host}", under_way.most);
    }
}

#[tokio::test]
async fn ten_thousand_of_one_host_exceed_no_limit() {
    for durability in [Durability::Memory, Durability::LocalDisk] {
        let tally = Tally::default();
        let (dispatcher, mut ends) = dispatcher(&tally, durability, 8, 2);
        for id in 0..10_000 {
            assert_eq!(call(&dispatcher, "example.com", &id.to_string()).await, 200);
        }
        for _ in 0..10_000 {
            ends.recv().await.unwrap();
        }
        assert_within(&tally, 8, 2);
    }
}

/// Callers on several threads: some deliveries find a permit at once, some wait for one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_brings_them_no_more_attempts_are_under_way_than_may_be() {
    const HOSTS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];
    const CALLS: usize = 500;
    let (in_all, per_host) = (7, 3);
    let tally = Tally::default();
    let (dispatcher, mut ends) = dispatcher(&tally, Durability::LocalDisk, in_all, per_host);
    let done = Arc::new(AtomicUsize::new(0));
    let callers = HOSTS.map(|host| {
        let (dispatcher, done) = (dispatcher.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            for id in 0..CALLS {
                call(&dispatcher, host, &id.to_string()).await;
                done.fetch_add(1, Ordering::SeqCst);
                // Neither are permits always taken, nor always free.
                for _ in 0..id % 16 {
                    yield_now().await;
                }
            }
        })
    });
    for caller in callers {
        caller.await.unwrap();
    }
    let all = HOSTS.len() * CALLS;
    for _ in 0..all {
        ends.recv().await.unwrap();
    }
    assert_eq!(dispatcher.counts().accepted, all as u64);
    assert_within(&tally, in_all, per_host);
}

/// One that comes once all else is over: nothing but itself has the outbox asked.
#[tokio::test(start_paused = true)]
async fn what_is_not_leased_at_once_is_fetched() {
    for durability in [Durability::Memory, Durability::LocalDisk] {
        let (dispatcher, mut ends) = dispatcher(&Tally::default(), durability, 8, 2);
        for id in ["a", "b", "c"] {
            call(&dispatcher, "example.com", id).await;
            // Sooner than a durable outbox is asked by itself.
            let end = timeout(Duration::from_millis(900), ends.recv()).await;
            assert_eq!(end, Ok(Some(())), "{id}, {durability:?}");
        }
    }
}

//! Deliveries whose attempt begins where they are accepted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{runtime::Builder, task::yield_now};
use tower::service_fn;
use tower_webhook::{
    BoxError, Delivery, Dispatcher, EventKind, Host, Payload,
    outbox::{
        Accepted, Demand, MemoryClaim, MemoryLedger, MemoryOutbox, MemorySink, MemorySource,
        Outbox, Source,
    },
};

use crate::world::{World, call};

/// In memory; counts what takes the way over its source.
#[derive(Default)]
struct Counting(Arc<AtomicUsize>);

struct CountingSource {
    inner: MemorySource,
    number: Arc<AtomicUsize>,
}

impl Outbox for Counting {
    type Sink = MemorySink;
    type Source = CountingSource;
    type Ledger = MemoryLedger;

    fn split(self) -> (MemorySink, CountingSource, MemoryLedger) {
        let (sink, inner, ledger) = MemoryOutbox::new().split();
        let number = self.0;
        (sink, CountingSource { inner, number }, ledger)
    }

    fn accept_claimed(sink: &MemorySink, delivery: &Delivery) -> Option<(Accepted, MemoryClaim)> {
        assert_ne!(delivery.id().as_str(), "panic", "as the test wants");
        MemoryOutbox::accept_claimed(sink, delivery)
    }
}

impl Source for CountingSource {
    type Claim = MemoryClaim;

    async fn next(&mut self, demand: Demand<'_>) -> Result<Vec<MemoryClaim>, BoxError> {
        let claims = self.inner.next(demand).await?;
        self.number.fetch_add(claims.len(), Ordering::SeqCst);
        Ok(claims)
    }

    fn has_room(&mut self, host: Option<&Host>) {
        self.inner.has_room(host);
    }

    fn drain(&mut self) -> Vec<Delivery> {
        self.inner.drain()
    }
}

struct Scene {
    world: World,
    dispatcher: Dispatcher,
    over_the_source: Arc<AtomicUsize>,
}

impl Scene {
    fn new(max_attempts: usize, per_host: usize) -> Self {
        let outbox = Counting::default();
        let over_the_source = Arc::clone(&outbox.0);
        let (world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        Self {
            world,
            dispatcher: builder.with_max_attempts(max_attempts, per_host).build(),
            over_the_source,
        }
    }

    async fn deliver(&mut self, host: &str, id: &str) {
        assert_eq!(call(&self.dispatcher, host, id).await, 200);
        self.answer(id).await;
    }

    /// Lets the attempt of that id have its answer, and the lane that ran it become idle.
    async fn answer(&mut self, id: &str) {
        let posted = self.world.post().await;
        assert_eq!(posted.id(), id);
        posted.answer(200);
        assert_eq!(self.world.end().await, EventKind::Delivered { attempts: 1 });
        yield_now().await;
    }

    fn over_the_source(&self) -> usize {
        self.over_the_source.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn what_finds_an_idle_lane_and_a_place_takes_no_way_over_the_source() {
    let mut scene = Scene::new(8, 8);
    scene.deliver("example.com", "a").await;
    assert_eq!(scene.over_the_source(), 1, "there was no lane yet");
    for id in ["b", "c"] {
        scene.deliver("example.com", id).await;
    }
    scene.deliver("example.org", "d").await;
    assert_eq!(scene.over_the_source(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_place_waits_for_one() {
    for limits in [(8, 1), (1, 1)] {
        let mut scene = Scene::new(limits.0, limits.1);
        scene.deliver("example.com", "a").await;
        for id in ["b", "c"] {
            call(&scene.dispatcher, "example.com", id).await;
        }
        for _ in 0..100 {
            yield_now().await;
        }
        let posted = scene.world.post().await;
        assert!(scene.world.posts.try_recv().is_err(), "one at a time");
        posted.answer(200);
        scene.answer("c").await;
        assert_eq!(scene.dispatcher.counts().delivered, 3);

        // Nobody waits any more.
        let before = scene.over_the_source();
        for _ in 0..100 {
            yield_now().await;
        }
        scene.deliver("example.com", "d").await;
        assert_eq!(scene.over_the_source(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_panics_is_stood_in_for_by_memory() {
    let mut scene = Scene::new(8, 8);
    assert_eq!(call(&scene.dispatcher, "example.com", "panic").await, 200);
    assert_eq!(scene.world.event().await, EventKind::Accepted);
    assert_eq!(scene.world.event().await, EventKind::OutboxFailed);
    scene.answer("panic").await;
    assert_eq!(scene.over_the_source(), 0);
}

/// Its lanes end with it: nothing is begun where nobody runs it.
#[test]
fn what_is_accepted_after_the_workers_runtime_has_ended_is_delivered_on_another() {
    let mut scene = Scene::new(8, 8);
    for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(scene.deliver("example.com", id));
        assert_eq!(scene.over_the_source(), number + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_has_begun_at_once() {
    let mut scene = Scene::new(8, 8);
    scene.deliver("example.com", "a").await;
    call(&scene.dispatcher, "example.com", "b").await;
    let posted = scene.world.post().await;
    let shutdown = scene.dispatcher.shutdown(Duration::from_secs(30));
    let (shutdown, ()) = tokio::join!(shutdown, async {
        yield_now().await;
        posted.answer(200);
    });
    assert_eq!(
        (shutdown.counts.delivered, shutdown.abandoned.len()),
        (1, 0)
    );
    assert_eq!(scene.over_the_source(), 1);
}

/// How many are there, and were there at most.
#[derive(Default)]
struct Tally {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Tally {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Callers on several threads: some deliveries find a place at once, some wait for one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_begins_them_no_more_attempts_are_under_way_than_may_be() {
    const HOSTS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];
    const CALLS: usize = 500;
    let (in_all, per_host) = (7, 3);
    let tallies = Arc::<(Tally, [Tally; HOSTS.len()])>::default();
    let attempts = Arc::clone(&tallies);
    let client = service_fn(move |request: Request<Payload>| {
        let host = request.uri().host().unwrap();
        let at = HOSTS.iter().position(|known| *known == host).unwrap();
        let tallies = Arc::clone(&attempts);
        async move {
            let (all, hosts) = &*tallies;
            all.enter();
            hosts[at].enter();
            for _ in 0..20 {
                yield_now().await;
            }
            hosts[at].leave();
            all.leave();
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }
    });
    let dispatcher = Dispatcher::builder()
        .with_client(client)
        .with_max_attempts(in_all, per_host)
        .with_max_outstanding(HOSTS.len() * CALLS, CALLS)
        .build();
    let callers = HOSTS.map(|host| {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move {
            for id in 0..CALLS {
                call(&dispatcher, host, &id.to_string()).await;
                // Neither are places always taken, nor always free.
                for _ in 0..id % 16 {
                    yield_now().await;
                }
            }
        })
    });
    for caller in callers {
        caller.await.unwrap();
    }
    dispatcher.shutdown(Duration::from_secs(300)).await;
    let counts = dispatcher.counts();
    assert_eq!(counts.delivered, counts.accepted);
    assert_eq!(counts.accepted, (HOSTS.len() * CALLS) as u64);
    let (all, hosts) = &*tallies;
    assert!(all.most() <= in_all, "{}", all.most());
    for host in hosts {
        assert!(host.most() <= per_host, "{}", host.most());
    }
}

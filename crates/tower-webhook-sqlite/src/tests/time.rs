use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{Request, Response};
use http_body_util::Empty;
use tempfile::TempDir;
use tower::service_fn;
use tower_webhook::{
    Dispatcher, EndpointPolicy, Payload, RetryPolicy,
    delivery::DeliveryParts,
    outbox::{Outbox, Want},
};

use super::{builder, count, folder, sql, until};
use crate::{SqliteOutboxBuilder, clock::Clock};

/// A wall clock that stands still until it is set.
#[derive(Clone)]
struct Wall(Arc<Mutex<SystemTime>>);

const HOUR: Duration = Duration::from_secs(3_600);

impl Wall {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(UNIX_EPOCH + 500_000 * HOUR)))
    }

    fn on(&self, builder: SqliteOutboxBuilder) -> SqliteOutboxBuilder {
        let wall = Arc::clone(&self.0);
        builder.with_clock(Clock::of(move || *wall.lock().unwrap()))
    }

    fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    fn back(&self, by: Duration) {
        *self.0.lock().unwrap() -= by;
    }
}

/// A receiver that always answers with a 500, and counts.
fn refused(builder: SqliteOutboxBuilder) -> (Dispatcher, Arc<AtomicUsize>) {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let client = service_fn(move |_: Request<Payload>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let response = Response::builder().status(500);
        let response = response.body(Empty::<bytes::Bytes>::new()).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let dispatcher = Dispatcher::builder_with_client(client)
        .with_outbox(builder.open().unwrap())
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build();
    (dispatcher, posts)
}

async fn deliver(dispatcher: &Dispatcher) {
    let endpoint = EndpointPolicy::public()
        .check("https://a.example/")
        .unwrap();
    let parts = DeliveryParts::new(endpoint, Payload::from("done"));
    dispatcher.deliver(parts).await.unwrap();
}

/// How far the next due time is from now, as the file has it.
fn delay(folder: &TempDir, wall: &Wall) -> Duration {
    let due = "SELECT due_at FROM delivery";
    let due: i64 = sql(folder).query_row(due, [], |row| row.get(0)).unwrap();
    let due = UNIX_EPOCH + Duration::from_millis(due as u64);
    let now = *wall.0.lock().unwrap();
    due.duration_since(now).unwrap_or_default()
}

async fn attempted(folder: &TempDir, attempts: usize) {
    let next = attempts + 1;
    until(|| count(folder, &format!("state = 'waiting' AND attempt = {next}")) == 1).await;
}

/// A file with one delivery that waits for its second attempt, and that nobody has open.
async fn left_after_one_attempt() -> (TempDir, Wall) {
    let (folder, wall) = (folder(), Wall::new());
    let (dispatcher, _) = refused(wall.on(builder(&folder)));
    deliver(&dispatcher).await;
    attempted(&folder, 1).await;
    dispatcher.shutdown(Duration::ZERO).await;
    drop(dispatcher);
    (folder, wall)
}

#[tokio::test]
async fn the_standard_schedule_runs_through_its_three_days() {
    let (folder, wall) = (folder(), Wall::new());
    let (dispatcher, posts) = refused(wall.on(builder(&folder)));
    deliver(&dispatcher).await;
    let schedule = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (done, seconds) in schedule.into_iter().enumerate() {
        attempted(&folder, done + 1).await;
        let step = Duration::from_secs(seconds);
        assert_eq!(delay(&folder, &wall), step);
        wall.forward(step);
    }
    until(|| dispatcher.counts().dead == 1).await;
    assert_eq!(posts.load(Ordering::SeqCst), 10);
    until(|| count(&folder, "state = 'dead' AND reason = 'answered 500'") == 1).await;
    let attempts = "SELECT count(*) FROM attempt WHERE status = 500";
    let attempts: i64 = sql(&folder)
        .query_row(attempts, [], |row| row.get(0))
        .unwrap();
    assert_eq!(attempts, 10);
}

#[tokio::test]
async fn a_millisecond_too_early_nothing_is_due() {
    let (folder, wall) = left_after_one_attempt().await;
    let outbox = wall.on(builder(&folder)).open().unwrap();
    wall.forward(Duration::from_millis(4_999));
    let early = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert!(early.deliveries.is_empty());
    assert_eq!(early.next_due, Some(Duration::from_millis(1)));
    wall.forward(Duration::from_millis(1));
    assert_eq!(
        outbox.fetch(Want::up_to(9)).await.unwrap().deliveries.len(),
        1
    );
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_wait_longer_than_its_delay() {
    let (folder, wall) = (folder(), Wall::new());
    let (dispatcher, posts) = refused(wall.on(builder(&folder)));
    deliver(&dispatcher).await;
    attempted(&folder, 1).await;
    wall.back(10 * HOUR);
    until(|| delay(&folder, &wall) == Duration::from_secs(5)).await;
    wall.forward(Duration::from_secs(5));
    attempted(&folder, 2).await;
    assert_eq!(posts.load(Ordering::SeqCst), 2);
}

/// Also where nobody looked when it was set back.
#[tokio::test]
async fn a_clock_that_was_set_back_between_two_runs_is_noticed() {
    let (folder, wall) = left_after_one_attempt().await;
    wall.back(10 * HOUR);
    let (dispatcher, _) = refused(wall.on(builder(&folder)));
    dispatcher.start();
    until(|| delay(&folder, &wall) <= Duration::from_secs(5)).await;
}

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
use tower::{ServiceExt, service_fn};

use super::{builder, count, delivery, folder, open, settle, sql, until};
use crate::{
    Counts, Dispatcher, Payload, RetryPolicy,
    outbox::{
        Outbox, Verdict,
        sqlite::{SqliteOutbox, SqliteOutboxBuilder, SqliteSink, clock::Clock},
    },
};

/// A wall clock that stands still until it is set.
#[derive(Clone)]
struct Wall(Arc<Mutex<SystemTime>>);

const POLL: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3_600);

impl Wall {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(UNIX_EPOCH + 500_000 * HOUR)))
    }

    fn on(&self, builder: SqliteOutboxBuilder) -> SqliteOutboxBuilder {
        let wall = Arc::clone(&self.0);
        builder.with_clock(Clock::of(move || *wall.lock().unwrap()), POLL)
    }

    fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    fn back(&self, by: Duration) {
        *self.0.lock().unwrap() -= by;
    }
}

/// A receiver that always answers the same, and counts.
fn receiver(
    builder: SqliteOutboxBuilder,
    status: u16,
    retry_after: Option<&'static str>,
) -> (Dispatcher, SqliteSink, Arc<AtomicUsize>) {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let client = service_fn(move |_: Request<Payload>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            response = response.header("retry-after", seconds);
        }
        let response = response.body(Empty::<bytes::Bytes>::new()).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let ends = builder.open().unwrap().split();
    let sink = ends.0.clone();
    let dispatcher = Dispatcher::builder()
        .with_outbox(ends)
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .with_client(client)
        .build();
    dispatcher.start();
    (dispatcher, sink, posts)
}

/// How far the next due time is from now, as the file has it.
fn delay(folder: &TempDir, id: &str, wall: &Wall) -> Duration {
    let due = "SELECT due_at FROM delivery WHERE id = ?1";
    let due: i64 = sql(folder).query_row(due, [id], |row| row.get(0)).unwrap();
    let due = UNIX_EPOCH + Duration::from_millis(due as u64);
    let now = *wall.0.lock().unwrap();
    due.duration_since(now).unwrap_or_default()
}

async fn attempted(folder: &TempDir, attempts: usize) {
    until(|| {
        count(
            folder,
            &format!("state = 'waiting' AND attempt = {}", attempts + 1),
        ) == 1
    })
    .await;
}

#[tokio::test]
async fn the_standard_schedule_runs_through_its_three_days() {
    let (folder, wall) = (folder(), Wall::new());
    let (dispatcher, sink, posts) = receiver(wall.on(builder(&folder)), 500, None);
    sink.oneshot(delivery("a", "a.example", "")).await.unwrap();
    let schedule = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (done, seconds) in schedule.into_iter().enumerate() {
        attempted(&folder, done + 1).await;
        let step = Duration::from_secs(seconds);
        assert_eq!(delay(&folder, "a", &wall), step);
        wall.forward(step - Duration::from_millis(1));
        tokio::time::sleep(10 * POLL).await;
        assert_eq!(
            posts.load(Ordering::SeqCst),
            done + 1,
            "a millisecond too early"
        );
        wall.forward(Duration::from_millis(1));
    }
    until(|| dispatcher.counts().dead == 1).await;
    assert_eq!(posts.load(Ordering::SeqCst), 10);
    assert_eq!(
        count(&folder, "state = 'dead' AND reason = 'answered 500'"),
        1
    );
    let attempts = "SELECT count(*) FROM attempt WHERE status = 500";
    let attempts: i64 = sql(&folder)
        .query_row(attempts, [], |row| row.get(0))
        .unwrap();
    assert_eq!(attempts, 10);
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_the_next_step() {
    for (asked, seconds) in [("60", 60), ("1", 5), ("99999999", 300)] {
        let (folder, wall) = (folder(), Wall::new());
        let (_dispatcher, sink, _) = receiver(wall.on(builder(&folder)), 503, Some(asked));
        sink.oneshot(delivery("a", "a.example", "")).await.unwrap();
        attempted(&folder, 1).await;
        assert_eq!(
            delay(&folder, "a", &wall),
            Duration::from_secs(seconds),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn gone_is_final() {
    let (folder, wall) = (folder(), Wall::new());
    let (dispatcher, sink, posts) = receiver(wall.on(builder(&folder)), 410, Some("60"));
    sink.oneshot(delivery("a", "a.example", "")).await.unwrap();
    until(|| {
        dispatcher.counts()
            == Counts {
                dead: 1,
                ..Counts::default()
            }
    })
    .await;
    assert_eq!(posts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nothing_up_for_longer_than_was_asked_for() {
    let (folder, wall) = (folder(), Wall::new());
    let mut outbox = open(wall.on(builder(&folder)));
    outbox.accept("later").await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    settle(claim, Verdict::AgainIn(HOUR)).await.unwrap();
    outbox.accept("now").await.unwrap();
    wall.back(100 * HOUR);

    let claims = outbox.next(9).await;
    assert_eq!(super::ids(&claims), ["now"]);
    until(|| delay(&folder, "later", &wall) == HOUR).await;
    wall.forward(HOUR);
    assert_eq!(super::ids(&outbox.next(9).await), ["later"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_hold_up_what_is_claimed() {
    let (folder, wall) = (folder(), Wall::new());
    let mut outbox = open(wall.on(builder(&folder)));
    outbox.accept("claimed").await.unwrap();
    let claims = outbox.next(1).await;
    wall.back(100 * HOUR);
    until(|| delay(&folder, "claimed", &wall) == Duration::ZERO).await;
    drop(claims);
    assert_eq!(super::ids(&outbox.next(1).await), ["claimed"]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_between_two_runs_does_not_either() {
    let (folder, wall) = (folder(), Wall::new());
    let mut outbox = open(wall.on(builder(&folder)));
    outbox.accept("later").await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    settle(claim, Verdict::AgainIn(HOUR)).await.unwrap();
    drop(outbox);
    wall.back(100 * HOUR);
    let _outbox = open(wall.on(builder(&folder)));
    until(|| delay(&folder, "later", &wall) == HOUR).await;
}

#[tokio::test]
async fn dead_letters_go_when_their_time_is_over() {
    let (folder, wall) = (folder(), Wall::new());
    let mut outbox = open(wall.on(builder(&folder)));
    outbox.accept("a").await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    let last = crate::Outcome::Failed(crate::AttemptError::Connect);
    settle(claim, Verdict::Dead(last)).await.unwrap();
    drop(outbox);
    for (days, left) in [(29, 1), (1, 0)] {
        wall.forward(24 * days * HOUR);
        let outbox: SqliteOutbox = wall.on(builder(&folder)).open().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(outbox);
        until(|| count(&folder, "TRUE") == left).await;
    }
}

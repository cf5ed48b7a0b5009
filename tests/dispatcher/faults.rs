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
use tower::service_fn;
use tower_webhook::{
    BoxError, Delivery, Dispatcher, EventKind, Payload,
    event::{AttemptError, FailReason, Outcome},
    outbox::{DeliveryFilter, DeliveryState, Page, Sealing},
};

use crate::{
    outboxes::{Answer, Faulty},
    world::{World, call, run},
};

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_changes_nothing() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.on_event(|_| panic!("as the test wants")).build();
    assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
    world.post().await.answer(200);
    while dispatcher.counts().delivered == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_panics_is_a_failed_attempt() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_client(service_fn(|_: Request<Payload>| async {
            if true {
                panic!("as the test wants");
            }
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }))
        .build();
    call(&dispatcher, "example.com", "a").await;
    let last = Outcome::Failed(AttemptError::Panicked);
    assert_eq!(world.end().await, EventKind::Dead { attempts: 3, last });
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_fails_is_stood_in_for_by_memory() {
    let broken = [Answer::Error, Answer::Panic].into_iter();
    let broken = broken.flat_map(|answer| {
        [
            Faulty::in_memory().insert(answer),
            Faulty::durable().insert(answer),
        ]
    });
    for outbox in broken {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
        world.post().await.answer(200);
        assert_eq!(world.event().await, EventKind::Accepted);
        assert_eq!(world.event().await, EventKind::OutboxFailed);
        assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_is_too_slow_is_stood_in_for_by_memory() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let outbox = outbox.insert(Answer::Never);
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        let started = tokio::time::Instant::now();
        assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
        assert_eq!(started.elapsed().as_secs(), 5);
        world.post().await.answer(200);
        assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    }
}

/// It has taken them when nobody waited any more: they are not delivered twice.
#[tokio::test(start_paused = true)]
async fn what_an_outbox_takes_too_late_is_taken_back() {
    let outbox = Faulty::durable().insert(Answer::Silence);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
    world.post().await.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
}

#[tokio::test(start_paused = true)]
async fn what_the_outbox_refuses_after_a_shutdown_is_abandoned() {
    let outbox = Faulty::durable().insert(Answer::Never);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    let calling = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move { call(&dispatcher, "example.com", "a").await })
    };
    assert_eq!(world.event().await, EventKind::Accepted);
    let report = dispatcher.shutdown(Duration::from_secs(1)).await;
    assert_eq!(report.unfinished, 1);
    assert_eq!(calling.await.unwrap(), 200);
    assert_eq!(world.event().await, EventKind::OutboxFailed);
    assert_eq!(world.event().await, EventKind::Abandoned);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_ends_the_webhook() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_sink(service_fn(|_: Delivery| async {
            Err::<(), _>(BoxError::from("away"))
        }))
        .build();
    assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
    let failed = EventKind::Failed(FailReason::OutboxFailed);
    assert_eq!(world.end().await, failed);
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_told_everything_once() {
    let seen = Arc::new(AtomicUsize::new(0));
    let sink = {
        let seen = Arc::clone(&seen);
        service_fn(move |delivery: Delivery| {
            assert_eq!(delivery.payload().to_bytes(), "done");
            seen.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, BoxError>(()) }
        })
    };
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.with_sink(sink).build();
    call(&dispatcher, "example.com", "a").await;
    assert_eq!(world.end().await, EventKind::HandedOver);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    assert_eq!(dispatcher.outstanding(), 0);
}

/// What such an outbox gives back is another delivery than the one that it was given, and nobody would
/// report the end of that one.
#[test]
#[should_panic(expected = "has to seal with Sealing::in_memory()")]
fn an_outbox_in_memory_that_seals_for_a_disk_is_refused() {
    let outbox = Faulty::in_memory().sealing(Sealing::insecure_plaintext());
    let _ = Dispatcher::builder().with_outbox(outbox);
}

/// As where the connection is lost while a transaction is committed: told that it was interrupted, the endpoint
/// would take the response for a repetition.
#[tokio::test(start_paused = true)]
async fn a_run_of_which_nobody_knows_whether_it_is_recorded_is_forgotten() {
    let outbox = Faulty::durable().losing_begin();
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    let open = run(&dispatcher, "example.com", "a").await;
    let running = DeliveryFilter::new().with_state(DeliveryState::Running);
    let runs = async || {
        let found = dispatcher.deliveries(&running, Page::first(9)).await;
        found.unwrap().len()
    };
    assert_eq!(runs().await, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(runs().await, 0);
    open.send(()).unwrap();
    let post = world.post().await;
    assert!(!post.request.headers().contains_key("x-webhook-failure"));
    post.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
}

/// It is attempted from memory by then, and whoever asks is told of that.
#[tokio::test(start_paused = true)]
async fn what_the_outbox_takes_too_late_is_told_as_what_becomes_of_it() {
    let outbox = Faulty::durable().insert(Answer::Late);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(404);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let filter = DeliveryFilter::new();
    let all = dispatcher.deliveries(&filter, Page::first(9)).await;
    let states: Vec<_> = all.unwrap().iter().map(|one| one.state).collect();
    assert_eq!(states, [DeliveryState::Waiting]);
}

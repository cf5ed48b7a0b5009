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
use tokio::runtime::Runtime;
use tower::service_fn;
use tower_webhook::{
    AttemptError, BoxError, Delivery, Dispatcher, EventKind, FailReason, Outcome, Payload,
    outbox::{Accepted, MemoryOutbox, Outbox},
};

use crate::world::{World, call};

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
    let (_, source, ledger) = MemoryOutbox::new().split();
    let broken =
        service_fn(|_: Delivery| async { Err::<Accepted, _>(BoxError::from("disk full")) });
    let outbox = (broken, source, ledger);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
    world.post().await.answer(200);
    assert_eq!(world.event().await, EventKind::Accepted);
    assert_eq!(world.event().await, EventKind::OutboxFailed);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_is_too_slow_is_stood_in_for_by_memory() {
    let (_, source, ledger) = MemoryOutbox::new().split();
    let stuck = service_fn(|_: Delivery| std::future::pending::<Result<Accepted, BoxError>>());
    let outbox = (stuck, source, ledger);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    let started = tokio::time::Instant::now();
    assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
    assert_eq!(started.elapsed().as_secs(), 5);
    world.post().await.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_ends_the_webhook() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_sink(service_fn(|_: Delivery| async {
            Err::<Accepted, _>(BoxError::from("away"))
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
            async { Ok::<_, BoxError>(Accepted::in_memory()) }
        })
    };
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.with_sink(sink).build();
    call(&dispatcher, "example.com", "a").await;
    assert_eq!(world.end().await, EventKind::HandedOver);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    assert_eq!(dispatcher.outstanding(), 0);
}

#[test]
fn what_a_dropped_runtime_leaves_goes_on_in_the_next() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let first = Runtime::new().unwrap();
    let cut_off = first.block_on(async {
        // More than may be under way to one host: some wait for a place.
        for id in ["a", "b", "c", "d", "e", "f"] {
            call(&dispatcher, "example.com", id).await;
        }
        let mut cut_off = Vec::new();
        for _ in 0..4 {
            cut_off.push(world.post().await);
        }
        cut_off
    });
    first.shutdown_timeout(Duration::from_secs(30));
    drop(cut_off);
    Runtime::new().unwrap().block_on(async {
        call(&dispatcher, "example.com", "g").await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            let post = world.post().await;
            assert_eq!(post.attempt(), "1");
            ids.push(post.id().to_owned());
            post.answer(200);
        }
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b", "c", "d", "e", "f", "g"]);
        for _ in 0..7 {
            assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
        }
    });
}

#[test]
fn what_nobody_goes_on_with_is_reported_as_abandoned() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let runtime = Runtime::new().unwrap();
    let _cut_off = runtime.block_on(async {
        call(&dispatcher, "example.com", "a").await;
        world.post().await
    });
    runtime.shutdown_timeout(Duration::from_secs(30));
    drop(dispatcher);
    let mut ends = Vec::new();
    while let Ok(event) = world.events.try_recv() {
        ends.extend(event.is_final().then(|| event.kind().clone()));
    }
    assert_eq!(ends, [EventKind::Abandoned]);
}

#[test]
fn without_a_runtime_the_response_is_given_and_the_webhook_abandoned() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let status = futures::executor::block_on(call(&dispatcher, "example.com", "a"));
    assert_eq!(status, 200);
    let mut ends = Vec::new();
    while let Ok(event) = world.events.try_recv() {
        ends.extend(event.is_final().then(|| event.kind().clone()));
    }
    assert_eq!(ends, [EventKind::Abandoned]);
}

use futures::FutureExt;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_webhook::{Dispatcher, EventKind, WebhookLayer};

use crate::outboxes::{Answer, Faulty};
use crate::world::{World, ask, call, gated};

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn waits_for_an_attempt_under_way() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    let post = world.post().await;
    let shutdown = tokio::spawn(async move { dispatcher.shutdown(LONG).await });
    post.answer(200);
    let report = shutdown.await.unwrap();
    assert_eq!(report.counts.delivered, 1);
    assert_eq!((report.abandoned.len(), report.unfinished), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_next_attempt_as_well() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.fail();
    let shutdown = tokio::spawn(async move { dispatcher.shutdown(LONG).await });
    let second = world.post().await;
    assert_eq!(second.attempt(), "2");
    second.answer(200);
    assert_eq!(shutdown.await.unwrap().counts.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn returns_what_it_had_to_abandon_with_its_bytes() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    for id in ["a", "b"] {
        call(&dispatcher, "example.com", id).await;
    }
    let under_way = world.post().await;
    let _other = world.post().await;
    let report = dispatcher.shutdown(Duration::from_secs(1)).await;
    let mut abandoned: Vec<_> = report
        .abandoned
        .iter()
        .map(|d| d.request_id().as_str())
        .collect();
    abandoned.sort_unstable();
    assert_eq!(abandoned, ["a", "b"]);
    assert!(
        report
            .abandoned
            .iter()
            .all(|d| d.payload().to_bytes() == "done")
    );
    assert_eq!(report.counts.abandoned, 2);
    assert_eq!(report.unfinished, 0);
    drop(under_way);
    drop(report);
    assert_eq!(dispatcher.counts().abandoned, 2, "and reports each once");
}

#[tokio::test(start_paused = true)]
async fn refuses_what_comes_later() {
    let dispatcher = Dispatcher::new();
    dispatcher.shutdown(LONG).await;
    assert_eq!(call(&dispatcher, "example.com", "a").await, 503);
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_handler_whose_caller_has_left() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let (open, service) = gated();
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(service);
    let mut response = Box::pin(service.oneshot(ask("example.com", "a")));
    assert!(futures::poll!(&mut response).is_pending());
    drop(response);
    let shutdown = tokio::spawn(async move { dispatcher.shutdown(LONG).await });
    open.send(()).unwrap();
    world.post().await.answer(200);
    assert_eq!(shutdown.await.unwrap().counts.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_too_late_is_reported() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let (open, service) = gated();
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(service);
    let mut response = Box::pin(service.oneshot(ask("example.com", "a")));
    assert!(futures::poll!(&mut response).is_pending());
    let report = dispatcher.shutdown(Duration::from_secs(1)).await;
    assert_eq!(report.unfinished, 1);
    open.send(()).unwrap();
    let body = response.await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "done");
    assert_eq!(world.end().await, EventKind::Abandoned);
    assert_eq!(dispatcher.counts().abandoned, 1);
}

/// The time is over, and the worker was told, but has not heard of it.
#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_while_the_worker_does_is_abandoned_once() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(200);
    world.end().await;
    let (open, service) = gated();
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(service);
    let mut response = Box::pin(service.oneshot(ask("example.com", "b")));
    assert!(futures::poll!(&mut response).is_pending());
    let mut shutdown = Box::pin(dispatcher.shutdown(Duration::from_secs(1)));
    assert!(futures::poll!(&mut shutdown).is_pending());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(futures::poll!(&mut shutdown).is_pending());
    open.send(()).unwrap();
    let body = response.now_or_never().unwrap().unwrap().into_body();
    let body = body.collect().now_or_never().unwrap().unwrap();
    assert_eq!(body.to_bytes(), "done");
    shutdown.await;
    assert_eq!(world.end().await, EventKind::Abandoned);
    assert!(world.events.try_recv().is_err());
    assert!(world.posts.try_recv().is_err());
    assert_eq!(dispatcher.counts().abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn without_handles_the_worker_ends_when_nothing_is_left() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    let first = world.post().await;
    drop(dispatcher);
    first.fail();
    world.post().await.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 2 });
    // The worker held the last sender.
    assert!(world.posts.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_there_is() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    let post = world.post().await;
    let shutdown = tokio::spawn(async move { dispatcher.shutdown(Duration::MAX).await });
    post.answer(200);
    assert_eq!(shutdown.await.unwrap().counts.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_an_attempt_is_not_begun_after_the_time_is_over() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_attempts(8)
        .with_max_attempts_per_host(1)
        .build();
    for id in ["1", "2", "3"] {
        call(&dispatcher, "busy.example", id).await;
    }
    let post = world.post().await;
    let (report, ()) = tokio::join!(dispatcher.shutdown(Duration::ZERO), async {
        tokio::task::yield_now().await;
        post.answer(200);
    });
    let mut abandoned: Vec<_> = report
        .abandoned
        .iter()
        .map(|one| one.request_id().as_str())
        .collect();
    abandoned.sort_unstable();
    assert!(abandoned.ends_with(&["2", "3"]), "{abandoned:?}");
    assert!(world.posts.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn whatever_hangs_it_returns_ten_seconds_after_its_time() {
    let hanging = || Faulty::durable().close(Answer::Never);
    let near = hanging().settle(Answer::Never);
    let builder = Dispatcher::builder().with_outbox(near);
    let (mut world, builder) = World::new(builder.with_forwarding(hanging()));
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    assert_eq!(world.event().await, EventKind::Accepted);
    assert!(matches!(world.event().await, EventKind::Queued { .. }));
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    dispatcher.shutdown(Duration::from_secs(1)).await;
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(11), "{took:?}");
}

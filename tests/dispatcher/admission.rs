use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_webhook::{Dispatcher, EventKind, WebhookLayer, event::Refusal};

use crate::world::{World, ask, call, gated};

#[tokio::test(start_paused = true)]
async fn a_full_dispatcher_answers_503_before_the_handler_runs() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_outstanding(1)
        .with_max_outstanding_per_host(1)
        .build();
    assert_eq!(call(&dispatcher, "a.example", "1").await, 200);
    let (_open, untouched) = gated();
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(untouched);
    let response = service.oneshot(ask("b.example", "2")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("#no-room"));

    world.post().await.answer(200);
    while dispatcher.outstanding() > 0 {
        world.event().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(call(&dispatcher, "b.example", "3").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stalls_has_only_its_share() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_outstanding(10)
        .with_max_outstanding_per_host(2)
        .build();
    for id in ["1", "2"] {
        assert_eq!(call(&dispatcher, "stalled.example", id).await, 200);
    }
    assert_eq!(call(&dispatcher, "stalled.example", "3").await, 503);
    assert_eq!(call(&dispatcher, "healthy.example", "4").await, 200);
    let mut refusals = 0;
    while dispatcher.counts().refused > refusals {
        if world.event().await == EventKind::Refused(Refusal::NoRoomForHost) {
            refusals += 1;
        }
    }
    assert_eq!(refusals, 1);
}

#[tokio::test(start_paused = true)]
async fn the_largest_body_is_reserved_and_the_surplus_given_back() {
    let (_world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_body_limit(64 << 10)
        .with_memory_budget(64 << 10)
        .build();
    let (open, service) = gated();
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(service);
    let mut first = Box::pin(service.oneshot(ask("example.com", "1")));
    assert!(futures::poll!(&mut first).is_pending());
    assert_eq!(call(&dispatcher, "example.com", "2").await, 503);
    open.send(()).unwrap();
    first.await.unwrap().into_body().collect().await.unwrap();
    // Four bytes of the first are still on their way; only they take memory.
    let more = dispatcher.clone();
    let status = call(&more, "example.com", "3").await;
    assert_eq!(status, 503, "a whole body is never there again until then");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited_for_each_host_and_in_all() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_attempts(8)
        .with_max_attempts_per_host(2)
        .build();
    for id in ["1", "2", "3"] {
        call(&dispatcher, "stalled.example", id).await;
    }
    call(&dispatcher, "healthy.example", "4").await;
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(world.post().await);
    }
    let mut ids: Vec<_> = under_way.iter().map(|post| post.id().to_owned()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "2", "4"], "the third waits aside");
    under_way.remove(0).answer(200);
    assert_eq!(world.post().await.id(), "3");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_next_attempt_holds_no_permit() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_attempts(1)
        .with_max_attempts_per_host(1)
        .build();
    call(&dispatcher, "a.example", "1").await;
    world.post().await.fail();
    call(&dispatcher, "b.example", "2").await;
    let next = world.post().await;
    assert_eq!((next.id(), next.attempt()), ("2", "1"));
    next.answer(200);
    assert_eq!(world.post().await.id(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_host_with_many_waiting_gets_them_in_their_order() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_attempts(8)
        .with_max_attempts_per_host(1)
        .build();
    for id in 0..20 {
        call(&dispatcher, "busy.example", &id.to_string()).await;
    }
    for id in 0..20 {
        let post = world.post().await;
        assert_eq!(post.id(), id.to_string());
        assert!(world.posts.try_recv().is_err(), "one at a time");
        // What fails is tried again later, and holds nobody up.
        match id {
            7 => post.fail(),
            _ => post.answer(200),
        }
    }
    assert_eq!(world.post().await.id(), "7");
}

#[tokio::test(start_paused = true)]
async fn a_host_with_many_waiting_keeps_no_permit_that_another_waits_for() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_attempts(2)
        .with_max_attempts_per_host(1)
        .build();
    for id in ["1", "2", "3", "4", "5"] {
        call(&dispatcher, "busy.example", id).await;
    }
    call(&dispatcher, "stalls.example", "stalls").await;
    let (busy, _stalls) = (world.post().await, world.post().await);
    call(&dispatcher, "newcomer.example", "newcomer").await;
    busy.answer(200);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let post = world.post().await;
        ids.push(post.id().to_owned());
        post.answer(200);
    }
    assert!(ids.contains(&"newcomer".to_owned()), "{ids:?}");
}

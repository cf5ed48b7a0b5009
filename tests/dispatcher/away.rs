//! A durable outbox that takes nothing for a while.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    Dispatcher, EndpointPolicy, EventKind, Payload, WebhookLayer,
    delivery::DeliveryParts,
    event::{Durability, Refusal},
};

use crate::{
    outboxes::{Answer, Faulty, Switch},
    world::{World, ask, call},
};

fn world(requires_durability: bool) -> (World, Dispatcher, Switch) {
    let outbox = Faulty::durable();
    let inserts = outbox.inserts();
    let (world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = match requires_durability {
        true => builder.with_required_durability().build(),
        false => builder.build(),
    };
    (world, dispatcher, inserts)
}

/// How long one call takes.
async fn timed(dispatcher: &Dispatcher, id: &str) -> (u16, Duration) {
    let began = Instant::now();
    let status = call(dispatcher, "example.com", id).await;
    (status.as_u16(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_insert_is_tried_again_until_the_accept_timeout() {
    for failing in [Answer::Error, Answer::Panic] {
        let (mut world, dispatcher, inserts) = world(false);
        inserts.set(failing);
        let recovers = async {
            sleep(Duration::from_secs(4)).await;
            inserts.set(Answer::AsItIs);
        };
        let ((status, took), ()) = tokio::join!(timed(&dispatcher, "a"), recovers);
        assert_eq!(status, 200);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(world.event().await, EventKind::Accepted);
        let durability = Durability::LocalDisk;
        assert_eq!(world.event().await, EventKind::Queued { durability });
        assert_eq!(dispatcher.counts().outbox_failed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_response_waits_for_an_outbox_that_is_known_to_be_away() {
    let (mut world, dispatcher, inserts) = world(false);
    inserts.set(Answer::Error);
    let (_, took) = timed(&dispatcher, "a").await;
    assert!((4..=5).contains(&took.as_secs()), "{took:?}");
    assert_eq!(timed(&dispatcher, "b").await, (200, Duration::ZERO));
    assert_eq!(dispatcher.counts().outbox_failed, 2);
    for _ in 0..2 {
        world.post().await.answer(200);
    }

    // It is asked for each, and so is known to be back at once.
    inserts.set(Answer::AsItIs);
    assert_eq!(timed(&dispatcher, "c").await, (200, Duration::ZERO));
    inserts.set(Answer::Error);
    let (_, took) = timed(&dispatcher, "d").await;
    assert!(took > Duration::from_secs(4), "{took:?}");
    assert_eq!(dispatcher.counts().outbox_failed, 3);
}

#[tokio::test(start_paused = true)]
async fn where_durability_is_required_calls_are_refused_until_the_outbox_is_back() {
    for failing in [Answer::Error, Answer::Never] {
        let (_world, dispatcher, inserts) = world(true);
        assert_eq!(timed(&dispatcher, "a").await, (200, Duration::ZERO));
        inserts.set(failing);
        // Nobody can know it before.
        assert_eq!(timed(&dispatcher, "b").await.0, 200);
        // The first one looks whether it was the one before alone.
        assert_eq!(timed(&dispatcher, "c").await.0, 200);
        assert_eq!(dispatcher.counts().outbox_failed, 2);
        sleep(Duration::from_secs(1)).await;

        let mut statuses = Vec::new();
        for id in ["d", "e", "f"] {
            let dispatcher = dispatcher.clone();
            statuses.push(tokio::spawn(async move { timed(&dispatcher, id).await.0 }));
        }
        let mut answered = Vec::new();
        for status in statuses {
            answered.push(status.await.unwrap());
        }
        assert_eq!(answered, [200, 503, 503], "{failing:?}");
        if failing == Answer::Never {
            // The call that hangs is never answered: no other outbox call follows it.
            continue;
        }
        inserts.set(Answer::AsItIs);
        sleep(Duration::from_secs(1)).await;
        for id in ["g", "h", "i"] {
            assert_eq!(timed(&dispatcher, id).await, (200, Duration::ZERO));
        }
        assert_eq!(dispatcher.counts().outbox_failed, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_says_when_to_come_back_and_runs_no_handler() {
    let (_world, dispatcher, inserts) = world(true);
    inserts.set(Answer::Error);
    for id in ["a", "b"] {
        call(&dispatcher, "example.com", id).await;
    }
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        assert!(request.uri().query().is_none(), "it asks for a webhook");
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
    }));
    let refused = service.clone().oneshot(ask("example.com", "c"));
    let refused = refused.await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    // Whoever asks for no webhook notices nothing.
    let plain = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(plain.status(), 200);

    let endpoint = EndpointPolicy::public().check("https://example.com/");
    let parts = DeliveryParts::new(endpoint.unwrap(), Payload::from("done"));
    assert_eq!(dispatcher.deliver(parts).await, Err(Refusal::OutboxAway));
}

/// One that the outbox does not take for itself alone says nothing of the outbox.
#[tokio::test(start_paused = true)]
async fn what_fails_beside_others_that_are_taken_holds_nobody_up() {
    let (mut world, dispatcher, inserts) = world(true);
    inserts.set(Answer::Error);
    let first = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move { timed(&dispatcher, "a").await })
    };
    sleep(Duration::from_secs(1)).await;
    inserts.set(Answer::AsItIs);
    let (status, took) = timed(&dispatcher, "b").await;
    assert_eq!(status, 200);
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(first.await.unwrap().0, 200);
    for _ in 0..2 {
        world.post().await.answer(200);
    }
    assert_eq!(dispatcher.counts().outbox_failed, 0);
}

/// It waits in memory, and takes nothing of the room for what the outbox keeps.
#[tokio::test(start_paused = true)]
async fn a_new_host_is_attempted_beside_what_an_outage_has_left_in_memory() {
    let outbox = Faulty::durable();
    let inserts = outbox.inserts();
    let builder = Dispatcher::builder()
        .with_max_attempts(8)
        .with_outbox(outbox);
    let (mut world, builder) = World::new(builder);
    let dispatcher = builder.build();
    inserts.set(Answer::Error);
    let ids: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    let calls = ids.iter().map(|id| call(&dispatcher, "silent.example", id));
    join_all(calls).await;
    inserts.set(Answer::AsItIs);
    sleep(Duration::from_secs(1)).await;
    call(&dispatcher, "new.example", "new").await;
    let mut silent = Vec::new();
    timeout(Duration::from_secs(10), async {
        loop {
            let post = world.post().await;
            if post.id() == "new" {
                break;
            }
            silent.push(post);
        }
    })
    .await
    .expect("it has a permit");
}

//! Deliveries that go on to another outbox, and are attempted from there.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_webhook::{
    Dispatcher, EndpointPolicy, EventKind, Payload,
    delivery::DeliveryParts,
    event::{AttemptError, Durability, Outcome},
    outbox::{DeliveryFilter, DeliveryState, Outbox, Page, Want},
};

use crate::{
    held::Counting,
    left_to_others::outbox,
    outboxes::{Answer, Faulty},
    world::{World, call},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_is_put_into_the_near_outbox_is_delivered_from_the_far_one() {
    let [near, far] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let builder = Dispatcher::builder().with_outbox(outbox(near.path()));
    let (mut api, builder) = World::new(builder.with_forwarding(outbox(far.path())));
    let accepting = builder.build();
    for id in ["a", "b"] {
        assert_eq!(call(&accepting, "example.com", id).await, 200);
        assert_eq!(api.event().await, EventKind::Accepted);
        let durability = Durability::LocalDisk;
        assert_eq!(api.event().await, EventKind::Queued { durability });
        assert_eq!(api.event().await, EventKind::HandedOver);
    }
    assert!(api.posts.try_recv().is_err());
    assert_eq!(accepting.outstanding(), 0);

    let builder = Dispatcher::builder().with_outbox(outbox(far.path()));
    let (mut worker, builder) = World::new(builder);
    let delivering = builder.build();
    delivering.start();
    for id in ["a", "b"] {
        let posted = worker.post().await;
        assert_eq!((posted.id(), posted.attempt()), (id, "1"));
        posted.answer(200);
        assert!(matches!(
            worker.end().await,
            EventKind::Delivered { attempts: 1 }
        ));
    }
    delivering.shutdown(PATIENCE).await;
    accepting.shutdown(PATIENCE).await;
}

/// However the far outbox fails, and for however long.
#[tokio::test(start_paused = true)]
async fn no_call_waits_for_the_far_outbox_and_nothing_is_lost_while_it_is_away() {
    for failing in [Answer::Error, Answer::Panic, Answer::Never] {
        let far = Faulty::durable();
        let inserts = far.inserts();
        inserts.set(failing);
        let builder = Dispatcher::builder().with_outbox(Faulty::durable());
        let (mut api, builder) = World::new(builder.with_forwarding(far));
        let accepting = builder.build();
        let began = Instant::now();
        for id in ["a", "b", "c"] {
            assert_eq!(call(&accepting, "example.com", id).await, 200);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        sleep(Duration::from_secs(3_600)).await;
        let counts = accepting.counts();
        assert_eq!((counts.accepted, counts.handed_over), (3, 0), "{failing:?}");

        inserts.set(Answer::AsItIs);
        for _ in 0..3 {
            assert_eq!(api.end().await, EventKind::HandedOver);
        }
        let report = accepting.shutdown(PATIENCE).await;
        assert_eq!(report.abandoned.len(), 0);
        assert_eq!(accepting.counts().handed_over, 3);
    }
}

/// No body is that large, but what is delivered without a call may be, and what waits since a body could
/// be larger.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_the_far_outbox_is_a_dead_letter_and_delays_no_other() {
    let builder = Dispatcher::builder()
        .with_body_limit(16)
        .with_outbox(Faulty::durable());
    let (mut api, builder) = World::new(builder.with_forwarding(Faulty::durable().max_payload(16)));
    let accepting = builder.build();
    let endpoint = EndpointPolicy::public()
        .check("https://example.com/hook")
        .unwrap();
    let [large, small] = ["seventeen letters", "sixteen letters."].map(Payload::from);
    let parts = DeliveryParts::new(endpoint.clone(), large);
    accepting.deliver(parts).await.unwrap();
    let last = Outcome::Failed(AttemptError::TooLarge);
    assert_eq!(api.end().await, EventKind::Dead { attempts: 0, last });

    let parts = DeliveryParts::new(endpoint, small);
    accepting.deliver(parts).await.unwrap();
    assert_eq!(api.end().await, EventKind::HandedOver);
    let dead = DeliveryFilter::new().with_state(DeliveryState::Dead);
    let dead = accepting.deliveries(&dead, Page::first(10)).await;
    assert_eq!(dead.unwrap().len(), 1);
    accepting.shutdown(PATIENCE).await;
}

#[tokio::test]
#[should_panic(expected = "deliveries are forwarded to a durable outbox")]
async fn nothing_is_forwarded_to_memory() {
    let builder = Dispatcher::builder().with_forwarding(Faulty::in_memory());
    let _ = builder.build();
}

/// Whoever delivers it in the end has all of its attempts before it.
#[tokio::test(start_paused = true)]
async fn what_was_not_forwarded_is_the_same_attempt() {
    let (near, far) = (Counting::new(), Faulty::durable().insert(Answer::Error));
    let builder = Dispatcher::builder().with_outbox(near.clone());
    let (_world, builder) = World::new(builder.with_forwarding(far));
    let accepting = builder.build();
    call(&accepting, "example.com", "a").await;
    sleep(Duration::from_secs(600)).await;
    accepting.shutdown(PATIENCE).await;
    sleep(Duration::from_secs(60)).await;
    let due = near.inner.fetch(Want::up_to(9)).await.unwrap();
    let attempts: Vec<_> = due.deliveries.iter().map(|leased| leased.attempt).collect();
    assert_eq!(attempts, [1]);
}

/// However long the far outbox was away.
#[tokio::test(start_paused = true)]
async fn what_is_forwarded_later_was_accepted_when_it_was() {
    let (near, far) = (Counting::new(), Counting::new());
    let builder = Dispatcher::builder().with_outbox(near.clone());
    let (_world, builder) = World::new(builder.without_attempts());
    let accepting = builder.build();
    call(&accepting, "example.com", "a").await;
    let (all, page) = (DeliveryFilter::new(), Page::first(9));
    let accepted = near.inner.list(all.clone(), page).await.unwrap().remove(0);
    accepting.shutdown(PATIENCE).await;
    let builder = Dispatcher::builder().with_outbox(near);
    let (mut world, builder) = World::new(builder.with_forwarding(far.clone()));
    let forwarding = builder.build();
    forwarding.start();
    assert_eq!(world.end().await, EventKind::HandedOver);
    let forwarded = far.inner.list(all, page).await.unwrap().remove(0);
    assert_eq!(forwarded.id, accepted.id);
    assert_eq!(forwarded.accepted_at, accepted.accepted_at);
}

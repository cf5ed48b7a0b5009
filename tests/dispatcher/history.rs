use std::time::Duration;

use tower_webhook::{
    DeliveryId, Dispatcher, EventKind,
    outbox::{DeliveryFilter, DeliveryState, MemoryOutbox, Page},
};

use crate::world::{World, call};

const ALL: Page = Page::first(100);

fn of(state: DeliveryState) -> DeliveryFilter {
    DeliveryFilter::new().with_state(state)
}

async fn deliver(world: &mut World, dispatcher: &Dispatcher, id: &str) {
    call(dispatcher, "example.com", id).await;
    world.post().await.answer(200);
    assert!(matches!(world.end().await, EventKind::Delivered { .. }));
}

async fn ids(dispatcher: &Dispatcher, state: DeliveryState) -> Vec<String> {
    let found = dispatcher.deliveries(&of(state), ALL).await.unwrap();
    let ids = found.iter().map(|record| record.request_id.to_string());
    ids.collect()
}

async fn id_of(dispatcher: &Dispatcher, request: &str) -> DeliveryId {
    let found = dispatcher.deliveries(&DeliveryFilter::new(), ALL).await;
    let found = found.unwrap();
    let found = found.iter().find(|one| one.request_id.as_str() == request);
    found.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_listed_without_its_payload() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(404);
    world.post().await.answer(200);
    world.end().await;
    let all = dispatcher.deliveries(&DeliveryFilter::new(), ALL).await;
    let all = all.unwrap();
    let [record] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!(record.state, DeliveryState::Delivered);
    assert_eq!((record.payload_len, record.attempts.len()), (4, 2));
    assert!(dispatcher.payload(record.id).await.unwrap().is_none());
    assert!(!dispatcher.redeliver(record.id).await.unwrap());
    assert_eq!(dispatcher.outstanding(), 0);
    let report = dispatcher.shutdown(Duration::ZERO).await;
    assert!(report.abandoned.is_empty());
    assert_eq!(ids(&dispatcher, DeliveryState::Delivered).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_delivered_again_where_its_payload_is_kept() {
    let outbox = MemoryOutbox::new().with_history_payloads();
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    for id in ["a", "b"] {
        deliver(&mut world, &dispatcher, id).await;
    }
    let a = id_of(&dispatcher, "a").await;
    assert!(dispatcher.redeliver(a).await.unwrap());
    let again = world.post().await;
    assert_eq!((again.id(), again.attempt()), ("a", "1"));
    assert_eq!(ids(&dispatcher, DeliveryState::Delivered).await, ["b"]);
    again.answer(200);
    world.end().await;
    let record = dispatcher.delivery(a).await.unwrap().unwrap();
    let numbers = record.attempts.iter().map(|attempt| attempt.attempt);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 1]);
    let everything = DeliveryFilter::new();
    assert_eq!(dispatcher.redeliver_all(&everything).await.unwrap(), 0);
    let delivered = of(DeliveryState::Delivered);
    assert_eq!(dispatcher.redeliver_all(&delivered).await.unwrap(), 2);
    for _ in 0..2 {
        world.post().await.answer(200);
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_is_bounded_in_number_bytes_and_time() {
    for (outbox, kept) in [
        (MemoryOutbox::new().with_max_history(2), &["3", "2"][..]),
        (MemoryOutbox::new().with_max_history(0), &[]),
        (
            MemoryOutbox::new()
                .with_history_payloads()
                .with_max_history_bytes(4),
            &["3"],
        ),
        (MemoryOutbox::new().with_history_kept(Duration::ZERO), &[]),
    ] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        for id in ["1", "2", "3"] {
            deliver(&mut world, &dispatcher, id).await;
        }
        assert_eq!(ids(&dispatcher, DeliveryState::Delivered).await, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_cancelled() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    for (host, id) in [("a.example", "1"), ("b.example", "2")] {
        call(&dispatcher, host, id).await;
        world.post().await.answer(404);
        while !matches!(world.event().await, EventKind::Attempted { .. }) {}
    }
    let of_host = DeliveryFilter::new().with_endpoint_host("a.example");
    assert_eq!(dispatcher.cancel(&of_host).await.unwrap(), 1);
    assert_eq!(world.end().await, EventKind::Abandoned);
    assert_eq!(dispatcher.cancel(&of_host).await.unwrap(), 0);
    let again = world.post().await;
    assert_eq!((again.id(), again.attempt()), ("2", "2"));
    // What is under way goes on.
    let everything = DeliveryFilter::new();
    assert_eq!(dispatcher.cancel(&everything).await.unwrap(), 0);
    again.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 2 });
    assert_eq!(dispatcher.outstanding(), 0);
}

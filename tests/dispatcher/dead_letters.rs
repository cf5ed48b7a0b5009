use std::time::{Duration, SystemTime};

use tower::{Layer, ServiceExt};
use tower_webhook::{
    DeliveryId, Dispatcher, EventKind, WebhookLayer,
    event::{AttemptError, Outcome},
    outbox::{DeliveryFilter, DeliveryState, MemoryOutbox, Page},
};

use crate::world::{World, ask, call, gated};

const ALL: Page = Page::first(100);

async fn only_id(dispatcher: &Dispatcher) -> DeliveryId {
    let found = dispatcher.deliveries(&DeliveryFilter::new(), ALL).await;
    let [record] = &found.unwrap()[..] else {
        panic!("not one delivery")
    };
    record.id
}

async fn die(world: &mut World, dispatcher: &Dispatcher, host: &str, id: &str) {
    call(dispatcher, host, id).await;
    world.post().await.answer(500);
    assert!(matches!(
        world.end().await,
        EventKind::Dead { attempts: 1, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_listed_with_its_attempts() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.fail();
    world.post().await.answer(404);
    world.post().await.answer(500);
    world.end().await;
    let found = dispatcher
        .deliveries(&DeliveryFilter::new(), ALL)
        .await
        .unwrap();
    let [record] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(record.request_id.as_str(), "a");
    assert_eq!(record.state, DeliveryState::Dead);
    assert_eq!(record.host.as_str(), "example.com");
    assert_eq!(record.payload_len, 4);
    let outcomes: Vec<_> = record
        .attempts
        .iter()
        .map(|attempt| match attempt.outcome {
            Outcome::Answered { status, .. } => status.as_u16(),
            Outcome::Failed(AttemptError::Client) => 0,
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(outcomes, [0, 404, 500]);
    assert_eq!(record.attempts[2].attempt, 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_shut_down_keeps_its_dead_letters() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    die(&mut world, &dispatcher, "example.com", "a").await;
    dispatcher.shutdown(Duration::ZERO).await;
    let id = only_id(&dispatcher).await;
    assert!(dispatcher.redeliver(id).await.is_err());
    let kept = dispatcher
        .deliveries(&DeliveryFilter::new(), ALL)
        .await
        .unwrap();
    assert_eq!(kept.len(), 1);
}

/// It takes no room: whether a handler is unfinished is another matter.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_on_its_way_is_given_up_by_a_shutdown() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    die(&mut world, &dispatcher, "example.com", "a").await;
    let id = only_id(&dispatcher).await;
    assert!(dispatcher.redeliver(id).await.unwrap());
    world.post().await.answer(404);
    assert!(matches!(world.event().await, EventKind::Attempted { .. }));
    let (open, service) = gated();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let handled = tokio::spawn(layer.layer(service).oneshot(ask("example.com", "b")));
    while dispatcher.outstanding() == 0 {
        tokio::task::yield_now().await;
    }
    let report = dispatcher.shutdown(Duration::from_millis(1)).await;
    assert_eq!((report.abandoned.len(), report.unfinished), (1, 1));
    open.send(()).unwrap();
    assert!(handled.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_delivered_again() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    die(&mut world, &dispatcher, "example.com", "a").await;
    let id = only_id(&dispatcher).await;
    assert!(dispatcher.redeliver(id).await.unwrap());
    let again = world.post().await;
    assert_eq!((again.id(), again.attempt()), ("a", "1"));
    again.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    assert!(!dispatcher.redeliver(id).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn filters_choose_by_host_time_and_number() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    for (host, id) in [("a.example", "1"), ("b.example", "2"), ("b.example", "3")] {
        die(&mut world, &dispatcher, host, id).await;
    }
    let ids_on = async |filter: DeliveryFilter, page: Page| {
        let found = dispatcher.deliveries(&filter, page).await.unwrap();
        found
            .into_iter()
            .map(|r| r.request_id.to_string())
            .collect::<Vec<_>>()
    };
    let ids = async |filter: DeliveryFilter| ids_on(filter, ALL).await;
    let all = DeliveryFilter::new;
    assert_eq!(ids(all()).await, ["3", "2", "1"]);
    assert_eq!(ids_on(all(), Page::first(1)).await, ["3"]);
    assert_eq!(ids(all().with_endpoint_host("b.example")).await, ["3", "2"]);
    assert_eq!(ids(all().with_state(DeliveryState::Waiting)).await, [""; 0]);
    let hour = Duration::from_secs(3_600);
    assert_eq!(
        ids(all().accepted_since(SystemTime::now() + hour)).await,
        [""; 0]
    );
    assert_eq!(
        ids(all().accepted_before(SystemTime::now() - hour)).await,
        [""; 0]
    );
    let b = all().with_endpoint_host("b.example");
    assert_eq!(dispatcher.redeliver_all(&b).await.unwrap(), 2);
    assert_eq!(ids(all().with_state(DeliveryState::Dead)).await, ["1"]);
    let waiting = all().with_state(DeliveryState::Waiting);
    assert_eq!(ids(waiting).await, ["3", "2"]);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_and_hold_no_reservation() {
    let outbox = MemoryOutbox::new()
        .with_max_dead_letters(2)
        .with_max_dead_letter_bytes(8);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder
        .with_max_outstanding(1)
        .with_max_outstanding_per_host(1)
        .build();
    for id in ["1", "2", "3"] {
        die(&mut world, &dispatcher, "example.com", id).await;
        while dispatcher.outstanding() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let found = dispatcher
        .deliveries(&DeliveryFilter::new(), ALL)
        .await
        .unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|record| record.request_id.as_str())
        .collect();
    assert_eq!(ids, ["3", "2"]);
}

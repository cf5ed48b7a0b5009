//! An outbox that is slow to note how attempts ended, or never does.

use std::time::Duration;

use tower_webhook::{
    Dispatcher, EventKind,
    outbox::{DeliveryFilter, DeliveryState, Page},
};

use crate::{
    outboxes::{Answer, Faulty},
    world::{World, call},
};

#[tokio::test(start_paused = true)]
async fn an_end_that_the_outbox_was_told_is_reported_once() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let outbox = outbox.settle(Answer::Silence);
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        call(&dispatcher, "example.com", "a").await;
        world.post().await.answer(200);
        assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
        let report = dispatcher.shutdown(Duration::from_secs(1)).await;
        assert!(report.abandoned.is_empty());
        assert!(world.events.try_recv().is_err(), "once");
        assert_eq!(dispatcher.outstanding(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_hangs_stops_no_attempts() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let outbox = outbox.settle(Answer::Never);
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.with_max_attempts_per_host(2).build();
        for id in 0..20 {
            call(&dispatcher, "example.com", &id.to_string()).await;
            let post = world.post().await;
            assert_eq!(post.id(), id.to_string());
            post.answer(200);
            // Longer than an outbox has to answer.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(dispatcher.counts().delivered, 20);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_noted_is_not_sent_again() {
    let outbox = Faulty::durable().settle(Answer::Error);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(world.posts.try_recv().is_err());
}

/// Each is the fault of one row.
#[tokio::test(start_paused = true)]
async fn ends_that_cannot_be_noted_delay_no_others() {
    let outbox = Faulty::durable().never_noting(5);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    for id in 0..50 {
        call(&dispatcher, "example.com", &id.to_string()).await;
        world.post().await.answer(200);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(dispatcher.counts().delivered, 50);
    let waiting = DeliveryFilter::new().with_state(DeliveryState::Waiting);
    let left = dispatcher
        .deliveries(&waiting, Page::first(99))
        .await
        .unwrap();
    let mut left: Vec<_> = left.iter().map(|one| one.request_id.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["0", "1", "2", "3", "4"]);
    assert!(world.posts.try_recv().is_err(), "none is sent again");
}

/// This process stood still for longer than a lease.
#[tokio::test(start_paused = true)]
async fn what_others_go_on_with_is_not_reported_as_given_up() {
    let outbox = Faulty::durable().losing_leases();
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    for (id, status) in [("a", 200), ("b", 410)] {
        call(&dispatcher, "example.com", id).await;
        world.post().await.answer(status);
    }
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    tokio::time::sleep(Duration::from_secs(600)).await;
    let rest = std::iter::from_fn(|| world.events.try_recv().ok());
    let ends = rest.filter(|event| event.is_final());
    assert_eq!(ends.count(), 0);
    assert_eq!(dispatcher.outstanding(), 0);
}

/// It is asked again after a pause, as after an error.
#[tokio::test(start_paused = true)]
async fn an_outbox_that_panics_where_it_settles_is_asked_again() {
    let outbox = Faulty::durable().settle(Answer::Panic);
    let settlements = outbox.settlements();
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    let waiting = DeliveryFilter::new().with_state(DeliveryState::Waiting);
    let number = async || {
        let found = dispatcher.deliveries(&waiting, Page::first(9)).await;
        found.unwrap().len()
    };
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(number().await, 1);
    settlements.set(Answer::AsItIs);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(number().await, 0);
    assert!(world.posts.try_recv().is_err());
}

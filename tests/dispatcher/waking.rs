//! What becomes due by the passing of time alone, while nothing else happens.

use std::time::Duration;

use tower_webhook::{Dispatcher, EventKind};

use crate::world::{World, call};

#[tokio::test(start_paused = true)]
async fn a_new_host_is_tried_while_all_others_stall() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder
        .with_max_attempts(16)
        .with_max_outstanding(1_000)
        .with_attempt_timeout(Duration::from_secs(50))
        .build();
    for number in 0..20 {
        for _ in 0..4 {
            call(
                &dispatcher,
                &format!("stalled-{number}.example.com"),
                "stalled",
            )
            .await;
        }
    }
    // Whatever has a permit is under way, and none of it ends.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut stalled: Vec<_> = std::iter::from_fn(|| world.posts.try_recv().ok()).collect();
    call(&dispatcher, "healthy.example.com", "healthy").await;
    while stalled.last().is_none_or(|post| post.id() != "healthy") {
        stalled.push(world.post().await);
    }
    stalled.pop().unwrap().answer(200);
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    assert!(stalled.len() < 16 / 2);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_paused_is_tried_again() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.with_max_attempts_per_host(1).build();
    for number in 0..40 {
        call(&dispatcher, "example.com", &number.to_string()).await;
    }
    for _ in 0..40 {
        world.post().await.fail();
    }
}

//! Gauges: what is so at one moment.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_webhook::{Dispatcher, WebhookLayer};

use crate::{
    left_to_others::outbox,
    outboxes::{Answer, Faulty},
    recorder::Recorder,
    world::{World, ask, call, gated},
};

const PATIENCE: Duration = Duration::from_secs(30);
const OLDEST: &str = "webhook_oldest_age_seconds";

/// Pending, waiting, attempting, settling.
async fn outstanding(recorder: &Recorder, dispatcher: &Dispatcher) -> [f64; 4] {
    dispatcher.record_gauges().await;
    ["pending", "waiting", "attempting", "settling"].map(|state| {
        let series = format!("webhook_outstanding{{state=\"{state}\"}}");
        recorder.value(&series).unwrap()
    })
}

/// One response is not complete, one delivery is attempted, and one waits.
async fn each_is_in_one_state(builder: tower_webhook::dispatch::DispatcherBuilder) {
    let recorder = Recorder::install();
    let (mut world, builder) = World::new(builder.with_metrics());
    let dispatcher = builder.with_max_attempts_per_host(1).build();
    assert_eq!(outstanding(&recorder, &dispatcher).await, [0.0; 4]);
    assert_eq!(recorder.value("webhook_reserved_bytes"), Some(0.0));

    let (open, service) = gated();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let mut pending = Box::pin(layer.layer(service).oneshot(ask("example.com", "a")));
    assert!(futures::poll!(&mut pending).is_pending());
    call(&dispatcher, "example.com", "b").await;
    let posted = world.post().await;
    call(&dispatcher, "example.com", "c").await;
    let now = outstanding(&recorder, &dispatcher).await;
    assert_eq!(now, [1.0, 1.0, 1.0, 0.0]);
    assert!(recorder.value("webhook_reserved_bytes") >= Some(1024.0));

    posted.answer(200);
    world.end().await;
    world.post().await.answer(200);
    world.end().await;
    open.send(()).unwrap();
    drop(pending.await.unwrap());
    world.post().await.answer(200);
    world.end().await;
    dispatcher.shutdown(PATIENCE).await;
    assert_eq!(outstanding(&recorder, &dispatcher).await, [0.0; 4]);
    assert_eq!(recorder.value("webhook_reserved_bytes"), Some(0.0));
    assert_eq!(recorder.value("webhook_leases"), Some(0.0));
}

#[tokio::test]
async fn each_webhook_is_in_one_state_in_memory() {
    each_is_in_one_state(Dispatcher::builder()).await;
}

#[tokio::test]
async fn each_webhook_is_in_one_state_in_a_durable_outbox() {
    each_is_in_one_state(Dispatcher::builder().with_outbox(Faulty::durable())).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_outbox_has_not_noted_is_settling_and_leased() {
    let recorder = Recorder::install();
    let builder = Dispatcher::builder().with_outbox(Faulty::durable().settle(Answer::Never));
    let (mut world, builder) = World::new(builder.with_metrics());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    let posted = world.post().await;
    let leases = recorder.gauge(&dispatcher, "webhook_leases").await;
    assert_eq!(leases, Some(1.0));
    posted.answer(200);
    // It is reported once the outbox takes too long.
    world.end().await;
    let now = outstanding(&recorder, &dispatcher).await;
    assert_eq!(now, [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(recorder.value("webhook_leases"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_is_what_waits_for_an_attempt_that_is_due() {
    let recorder = Recorder::install();
    let (mut world, builder) = World::new(Dispatcher::builder().with_metrics());
    let dispatcher = builder.with_max_attempts_per_host(1).build();
    call(&dispatcher, "example.com", "a").await;
    let posted = world.post().await;
    let oldest = async || recorder.gauge(&dispatcher, OLDEST).await;
    assert_eq!(oldest().await, Some(0.0), "it is attempted");
    call(&dispatcher, "example.com", "b").await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(oldest().await, Some(10.0));
    posted.answer(200);
    let posted = world.post().await;
    assert_eq!(oldest().await, Some(0.0));
    // It waits for its time then.
    posted.answer(404);
    while !matches!(
        world.event().await,
        tower_webhook::EventKind::Attempted {
            attempt: 1,
            again_in: Some(_),
            ..
        }
    ) {}
    assert_eq!(oldest().await, Some(0.0));
    world.post().await.answer(200);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_cannot_be_read_has_no_oldest() {
    let recorder = Recorder::install();
    let outbox = Faulty::durable();
    let answers = outbox.oldest_due();
    let builder = Dispatcher::builder().with_outbox(outbox).with_metrics();
    let dispatcher = builder.build();
    for (answer, has_none) in [
        (Answer::AsItIs, false),
        (Answer::Error, true),
        (Answer::AsItIs, false),
        (Answer::Never, true),
    ] {
        answers.set(answer);
        let oldest = recorder.gauge(&dispatcher, OLDEST).await.unwrap();
        assert_eq!(oldest.is_nan(), has_none, "{answer:?}");
        // All others are there.
        assert_eq!(recorder.value("webhook_leases"), Some(0.0));
    }
}

/// What others have put there counts as well: nobody delivers it.
#[tokio::test]
async fn the_oldest_of_an_outbox_that_others_fill_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (_api, builder) = World::new(Dispatcher::builder().with_outbox(outbox(folder.path())));
    let accepting = builder.without_attempts().build();
    let recorder = Recorder::install();
    let builder = Dispatcher::builder().with_outbox(outbox(folder.path()));
    let watching = builder.with_metrics().without_attempts().build();
    assert_eq!(recorder.gauge(&watching, OLDEST).await, Some(0.0));
    call(&accepting, "example.com", "a").await;
    let grows = async {
        let mut before = 0.0;
        for _ in 0..3 {
            loop {
                let now = recorder.gauge(&watching, OLDEST).await.unwrap();
                if now > before {
                    before = now;
                    break;
                }
            }
        }
    };
    timeout(PATIENCE, grows).await.unwrap();

    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox(folder.path())));
    let delivering = builder.build();
    delivering.start();
    world.post().await.answer(200);
    world.end().await;
    assert_eq!(recorder.gauge(&watching, OLDEST).await, Some(0.0));
    delivering.shutdown(PATIENCE).await;
}

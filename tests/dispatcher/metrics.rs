//! Counters and histograms, as Prometheus reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    BoxError, Delivery, DeliveryId, Dispatcher, EndpointPolicy, Payload, RetryPolicy, WebhookLayer,
    delivery::DeliveryParts,
    event::{FailReason, Refusal},
};

use crate::{
    outboxes::{Answer, Faulty},
    recorder::Recorder,
    world::{World, ask, call, gated},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn parts() -> DeliveryParts {
    let endpoint = EndpointPolicy::public().check("https://example.com/hook");
    DeliveryParts::new(endpoint.unwrap(), Payload::from("done"))
}

fn delivered(outcome: &str) -> String {
    format!("webhook_delivery_duration_seconds_count{{outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn what_is_accepted_and_refused_is_counted() {
    let recorder = Recorder::install();
    let (mut world, builder) = World::new(Dispatcher::builder().with_metrics());
    let dispatcher = builder.with_max_outstanding_per_host(1).build();
    // From the start: what was not there before has no increase.
    assert_eq!(recorder.value("webhook_accepted_total"), Some(0.0));
    assert_eq!(recorder.value("webhook_dead_total"), Some(0.0));
    assert_eq!(recorder.value("webhook_outbox_failed_total"), Some(0.0));
    let refused = |reason: Refusal| {
        let reason = reason.name();
        recorder.value(&format!("webhook_refused_total{{reason=\"{reason}\"}}"))
    };
    for reason in Refusal::ALL {
        assert_eq!(refused(*reason), Some(0.0));
    }

    assert_eq!(call(&dispatcher, "example.com", "a").await, 200);
    assert_eq!(call(&dispatcher, "example.com", "b").await, 503);
    assert_eq!(call(&dispatcher, "10.0.0.1", "c").await, 400);
    assert_eq!(recorder.value("webhook_accepted_total"), Some(1.0));
    assert_eq!(refused(Refusal::NoRoomForHost), Some(1.0));
    assert_eq!(refused(Refusal::BadRequest), Some(1.0));
    assert_eq!(refused(Refusal::NoRoom), Some(0.0));
    world.post().await.answer(200);
    world.end().await;
    dispatcher.shutdown(PATIENCE).await;
    assert_eq!(call(&dispatcher, "example.com", "d").await, 503);
    assert_eq!(refused(Refusal::NoRoom), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_timed_by_status_or_error() {
    let recorder = Recorder::install();
    let retry = RetryPolicy::builder()
        .with_delays([Duration::ZERO; 3])
        .retrying(|_| true);
    let (mut world, builder) = World::new(Dispatcher::builder().with_metrics());
    let dispatcher = builder.with_retry_policy(retry.build()).build();
    call(&dispatcher, "example.com", "a").await;
    let posted = world.post().await;
    sleep(Duration::from_secs(3)).await;
    posted.answer(404);
    world.post().await.answer(499);
    world.post().await.fail();
    // Nobody answers.
    let silent = world.post().await;
    world.end().await;
    drop(silent);

    let of = |suffix: &str, outcome: &str| {
        let name = format!("webhook_attempt_duration_seconds_{suffix}");
        recorder.value(&format!("{name}{{outcome=\"{outcome}\"}}"))
    };
    for outcome in ["404", "4xx", "client", "timed-out"] {
        assert_eq!(of("count", outcome), Some(1.0), "{outcome}");
    }
    assert_eq!(of("sum", "404"), Some(3.0));
    assert_eq!(of("sum", "client"), Some(0.0));
    assert_eq!(of("sum", "timed-out"), Some(15.0));
    assert_eq!(of("count", "200"), None);
    assert_eq!(recorder.value("webhook_dead_total"), Some(1.0));
}

#[tokio::test]
async fn deliveries_are_timed_from_their_acceptance_to_each_end() {
    let recorder = Recorder::install();
    let began = Instant::now();
    let (mut world, builder) = World::new(Dispatcher::builder().with_metrics());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(200);
    world.end().await;
    call(&dispatcher, "example.com", "b").await;
    world.post().await.answer(400);
    world.end().await;
    // A call that names no endpoint: its result is looked up.
    let layer = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .with_async_requests()
        .with_status_location("/webhooks");
    let (open, handler) = gated();
    open.send(()).unwrap();
    let mut polling = http::Request::get("/").body(()).unwrap();
    let prefer = http::HeaderValue::from_static("respond-async");
    polling.headers_mut().insert("prefer", prefer);
    let receipt = layer.layer(handler).oneshot(polling).await.unwrap();
    assert_eq!(receipt.status(), 202);
    world.end().await;
    // One whose caller leaves, where that cancels it; one that the dispatcher leaves.
    let layer = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .with_cancel_on_disconnect();
    let (_open, service) = gated();
    let mut running = Box::pin(layer.layer(service).oneshot(ask("example.com", "c")));
    assert!(futures::poll!(&mut running).is_pending());
    drop(running);
    world.end().await;
    call(&dispatcher, "example.com", "d").await;
    let _unanswered = world.post().await;
    dispatcher.shutdown(Duration::ZERO).await;

    let took = began.elapsed().as_secs_f64();
    for outcome in ["delivered", "dead", "kept", "failed", "abandoned"] {
        assert_eq!(recorder.value(&delivered(outcome)), Some(1.0), "{outcome}");
        let sum = delivered(outcome).replace("_count", "_sum");
        let sum = recorder.value(&sum).unwrap();
        // By the wall clock, in which an id is not made after its delivery.
        assert!((0.0..=took + 1.0).contains(&sum), "{outcome}: {sum}");
    }
}

#[tokio::test]
async fn what_a_sink_takes_is_handed_over() {
    let recorder = Recorder::install();
    let sink = service_fn(|_: Delivery| async { Ok::<_, BoxError>(()) });
    let builder = Dispatcher::builder_with_sink(sink).with_metrics();
    builder.build().deliver(parts()).await.unwrap();
    assert_eq!(recorder.value(&delivered("handed-over")), Some(1.0));
}

/// Whichever process ends it, and whenever: the time is in the id.
#[tokio::test]
async fn buckets_of_deliveries_reach_to_three_days() {
    let recorder = Recorder::install();
    let sink = service_fn(|_: Delivery| async { Ok::<_, BoxError>(()) });
    let dispatcher = Dispatcher::builder_with_sink(sink).with_metrics().build();
    for hours in [30_u64, 80] {
        let accepted_at = SystemTime::now() - Duration::from_secs(hours * 3_600);
        let ms = accepted_at.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let mut id = [0x70; 16];
        id[..6].copy_from_slice(&ms.to_be_bytes()[10..]);
        let mut parts = parts();
        parts.id = DeliveryId::from_bytes(id);
        dispatcher.deliver(parts).await.unwrap();
    }
    let mut no_time = parts();
    no_time.id = DeliveryId::from_bytes([0x41; 16]);
    dispatcher.deliver(no_time).await.unwrap();

    let below = |bound: &str| {
        let labels = format!("{{outcome=\"handed-over\",le=\"{bound}\"}}");
        recorder.value(&format!("webhook_delivery_duration_seconds_bucket{labels}"))
    };
    assert_eq!(below("86400"), Some(0.0));
    assert_eq!(below("172800"), Some(1.0));
    assert_eq!(below("259200"), Some(1.0));
    assert_eq!(below("+Inf"), Some(2.0));
}

fn asked(operation: &str, outcome: &str) -> String {
    format!(
        "webhook_outbox_duration_seconds_count{{operation=\"{operation}\",outcome=\"{outcome}\"}}"
    )
}

#[tokio::test(start_paused = true)]
async fn what_a_durable_outbox_is_asked_is_timed() {
    let recorder = Recorder::install();
    let outbox = Faulty::durable();
    let inserts = outbox.inserts();
    let builder = Dispatcher::builder().with_outbox(outbox).with_metrics();
    let (mut world, builder) = World::new(builder.with_attempt_timeout(PATIENCE));
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    let posted = world.post().await;
    assert_eq!(recorder.value(&asked("insert", "ok")), Some(1.0));
    assert_eq!(recorder.value(&asked("settle", "ok")), None);
    // Its lease is renewed, and others are looked for.
    sleep(Duration::from_secs(10)).await;
    assert!(recorder.value(&asked("renew", "ok")) >= Some(2.0));
    assert!(recorder.value(&asked("fetch", "ok")) >= Some(9.0));
    posted.answer(200);
    world.end().await;
    assert_eq!(recorder.value(&asked("settle", "ok")), Some(1.0));

    inserts.set(Answer::Error);
    call(&dispatcher, "example.com", "b").await;
    world.post().await.answer(200);
    world.end().await;
    assert!(recorder.value(&asked("insert", "failed")) >= Some(1.0));
    assert_eq!(recorder.value(&asked("insert", "ok")), Some(1.0));
    assert_eq!(recorder.value("webhook_outbox_failed_total"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn the_outbox_that_deliveries_go_on_to_is_timed() {
    let recorder = Recorder::install();
    let far = Faulty::durable();
    let inserts = far.inserts();
    inserts.set(Answer::Never);
    let builder = Dispatcher::builder().with_outbox(Faulty::durable());
    let (mut world, builder) = World::new(builder.with_forwarding(far).with_metrics());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    sleep(Duration::from_secs(7)).await;
    assert!(recorder.value(&asked("forward", "failed")) >= Some(1.0));
    inserts.set(Answer::AsItIs);
    world.end().await;
    assert_eq!(recorder.value(&asked("forward", "ok")), Some(1.0));
}

#[tokio::test]
async fn a_run_that_is_recorded_is_timed() {
    let recorder = Recorder::install();
    let builder = Dispatcher::builder().with_outbox(Faulty::durable());
    let (mut world, builder) = World::new(builder.with_metrics());
    let dispatcher = builder.build();
    let layer = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .with_async_requests();
    let (open, service) = gated();
    let mut request = ask("example.com", "a");
    let prefer = http::HeaderValue::from_static("respond-async");
    request.headers_mut().insert("prefer", prefer);
    let receipt = layer.layer(service).oneshot(request).await.unwrap();
    assert_eq!(receipt.status(), 202);
    assert_eq!(recorder.value(&asked("begin", "ok")), Some(1.0));
    let leases = recorder.gauge(&dispatcher, "webhook_leases").await;
    assert_eq!(leases, Some(1.0), "that of the run");
    open.send(()).unwrap();
    world.post().await.answer(200);
    world.end().await;
}

#[tokio::test]
async fn without_the_setting_nothing_is_recorded() {
    let recorder = Recorder::install();
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(200);
    world.end().await;
    dispatcher.record_gauges().await;
    assert_eq!(recorder.page(), "");
}

/// Callers choose hosts, paths and ids; receivers choose statuses.
#[tokio::test]
async fn nothing_that_a_caller_chooses_is_in_it() {
    let recorder = Recorder::install();
    let (mut world, builder) = World::new(Dispatcher::builder().with_metrics());
    let dispatcher = builder.build();
    for at in 0..20 {
        let host = format!("evil-{at}.example");
        assert_eq!(
            call(&dispatcher, &host, &format!("evil-id-{at}")).await,
            200
        );
        world.post().await.answer(700 + at);
        while !matches!(
            world.event().await,
            tower_webhook::EventKind::Attempted { .. }
        ) {}
    }
    assert_eq!(
        call(&dispatcher, "evil.internal:1%22%7D", "evil-id").await,
        400
    );
    dispatcher.record_gauges().await;
    let page = recorder.page();
    for word in ["evil", "example", "/hook", "https"] {
        assert!(!page.contains(word), "{word}: {page}");
    }
    let series = page.matches("webhook_attempt_duration_seconds_count");
    assert_eq!(series.count(), 1, "{page}");
    dispatcher.shutdown(Duration::ZERO).await;
}

/// It is told by a delivery, which ends as others do.
#[tokio::test]
async fn a_webhook_whose_endpoint_is_told_of_a_failure_is_noticed() {
    let recorder = Recorder::install();
    let (mut world, builder) = World::new(Dispatcher::builder().with_metrics());
    let dispatcher = builder.build();
    let noticed = |reason: FailReason| {
        let reason = reason.name();
        recorder.value(&format!("webhook_noticed_total{{reason=\"{reason}\"}}"))
    };
    for &reason in FailReason::ALL {
        assert_eq!(noticed(reason), reason.is_told().then_some(0.0), "{reason}");
    }
    let fails = service_fn(|_: http::Request<()>| async {
        Err::<http::Response<http_body_util::Full<bytes::Bytes>>, _>(BoxError::from("it fails"))
    });
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let failed = layer.layer(fails).oneshot(ask("example.com", "a")).await;
    assert!(failed.is_err());
    world.post().await.answer(200);
    world.end().await;
    assert_eq!(noticed(FailReason::ServiceFailed), Some(1.0));
    assert_eq!(recorder.value(&delivered("delivered")), Some(1.0));
    assert_eq!(recorder.value(&delivered("failed")), None);
}

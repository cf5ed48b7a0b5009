//! What the endpoint gets where nothing but the call says anything of a trace.

use http::StatusCode;
use tower_webhook::{
    EndpointPolicy, EventKind, Payload,
    delivery::{DeliveryParts, TraceParent},
    dispatch::TracePropagator,
    event::FailReason,
};
use tracing::Span;

use crate::{
    SPAN, TRACE, asking, call,
    support::{clock::Clock, receiver::Receiver, rig::Rig},
    traceparent,
};

#[tokio::test]
async fn every_attempt_has_the_traceparent_of_the_call() {
    let clock = Clock::stop();
    let receiver = Receiver::answering(|_| StatusCode::NOT_FOUND).await;
    let mut rig = Rig::towards(receiver, |builder| builder);
    let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
    call(rig.layer(), request).await;
    while rig.events.attempted().await.1 {
        clock.to_the_next_attempt().await;
    }
    assert!(matches!(
        rig.only_end().await,
        EventKind::Dead { attempts: 3, .. }
    ));
    let webhooks = rig.receiver.rest();
    assert_eq!(webhooks.len(), 3);
    for webhook in webhooks {
        assert_eq!(webhook.header("traceparent"), traceparent());
    }
}

#[tokio::test]
async fn nothing_else_of_a_trace_goes_along() {
    let mut rig = Rig::new().await;
    let request = asking(&rig.receiver.url("/"))
        .header("traceparent", traceparent())
        .header("tracestate", "vendor=1")
        .header("baggage", "user=ada")
        .header("b3", format!("{TRACE}-{SPAN}-1"));
    call(rig.layer(), request).await;
    let webhook = rig.receiver.next().await;
    assert_eq!(webhook.header("traceparent"), traceparent());
    for name in ["tracestate", "baggage", "b3"] {
        assert!(!webhook.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn one_of_a_later_version_is_sent_on_as_version_00() {
    let mut rig = Rig::new().await;
    for sent in [
        format!("01-{TRACE}-{SPAN}-01"),
        format!("cc-{TRACE}-{SPAN}-03-what-the-future-will-be-like"),
    ] {
        let request = asking(&rig.receiver.url("/")).header("traceparent", sent);
        call(rig.layer(), request).await;
        assert_eq!(
            rig.receiver.next().await.header("traceparent"),
            traceparent()
        );
    }
}

#[tokio::test]
async fn an_invalid_one_is_dropped() {
    let mut rig = Rig::new().await;
    let url = rig.receiver.url("/");
    let zeros = |len| "0".repeat(len);
    let mut requests: Vec<_> = [
        String::new(),
        "garbage".to_owned(),
        TRACE.to_owned(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{}-{SPAN}-01", zeros(32)),
        format!("00-{TRACE}-{}-01", zeros(16)),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("00-{TRACE}-{SPAN}-0A"),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("0-{TRACE}-{SPAN}-01"),
        format!("00_{TRACE}_{SPAN}_01"),
        format!("01-{TRACE}-{SPAN}-01.more"),
        format!("{}, {}", traceparent(), traceparent()),
    ]
    .into_iter()
    .map(|invalid| asking(&url).header("traceparent", invalid))
    .collect();
    let bytes = http::HeaderValue::from_bytes(&[0xff; 55]).unwrap();
    requests.push(asking(&url).header("traceparent", bytes));
    let twice = asking(&url).header("traceparent", traceparent());
    requests.push(twice.header("traceparent", traceparent()));
    requests.push(asking(&url));
    for request in requests {
        let sent = format!("{request:?}");
        call(rig.layer(), request).await;
        let webhook = rig.receiver.next().await;
        assert!(!webhook.headers.contains_key("traceparent"), "{sent}");
    }
}

#[tokio::test]
async fn a_failure_notice_has_it_too() {
    let mut rig = Rig::with(|builder| builder.with_body_limit(2)).await;
    let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
    call(rig.layer(), request).await;
    let notice = rig.receiver.next().await;
    let reason = FailReason::BodyTooLarge.name();
    assert_eq!(notice.header("x-webhook-failure"), reason);
    assert_eq!(notice.header("traceparent"), traceparent());
}

#[tokio::test]
async fn a_delivery_without_a_call_has_what_its_parts_say() {
    let mut rig = Rig::new().await;
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let endpoint = policy.check(&rig.receiver.url("/")).unwrap();
    let mut parts = DeliveryParts::new(endpoint, Payload::from("done"));
    parts.trace_parent = TraceParent::parse(&traceparent());
    rig.dispatcher.deliver(parts.clone()).await.unwrap();
    assert_eq!(
        rig.receiver.next().await.header("traceparent"),
        traceparent()
    );
    parts.id = tower_webhook::DeliveryId::fresh();
    parts.trace_parent = None;
    rig.dispatcher.deliver(parts).await.unwrap();
    let webhook = rig.receiver.next().await;
    assert!(!webhook.headers.contains_key("traceparent"));
}

/// Endpoints are not to know the traces of the service.
struct Nothing;

impl TracePropagator for Nothing {
    fn of_attempt(&self, _: &Span, _: Option<TraceParent>) -> Option<TraceParent> {
        None
    }
}

#[tokio::test]
async fn a_propagator_may_send_nothing() {
    let mut rig = Rig::with(|builder| builder.with_trace_propagator(Nothing)).await;
    let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
    call(rig.layer(), request).await;
    let webhook = rig.receiver.next().await;
    assert!(!webhook.headers.contains_key("traceparent"));
}

struct Panics;

impl TracePropagator for Panics {
    fn of_call(&self, _: Option<TraceParent>) -> Option<TraceParent> {
        panic!("of_call")
    }

    fn of_attempt(&self, _: &Span, _: Option<TraceParent>) -> Option<TraceParent> {
        panic!("of_attempt")
    }
}

#[tokio::test]
async fn a_propagator_that_panics_changes_nothing() {
    let mut rig = Rig::with(|builder| builder.with_trace_propagator(Panics)).await;
    let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
    call(rig.layer(), request).await;
    assert_eq!(
        rig.receiver.next().await.header("traceparent"),
        traceparent()
    );
    rig.expect_delivered().await;
}

//! How much a caller can set off.

use std::{sync::atomic::Ordering, time::Duration};

use http::header::RETRY_AFTER;
use tower_webhook::{
    EventKind, WebhookLayer,
    event::{Outcome, Refusal},
};

use crate::{
    call, counting,
    hostile::{Api, Receiver, Stub, never, no_task_is_left},
};

#[tokio::test]
async fn without_a_reservation_the_handler_does_not_run() {
    for (in_all, per_host, refusal) in [
        (1, 1, Refusal::NoRoom),
        (9, 1, Refusal::NoRoomForHost),
        (0, 9, Refusal::NoRoom),
    ] {
        let (service, calls) = counting();
        let mut api = Api::with(|builder| {
            builder
                .with_resolver(Stub(never))
                .with_max_outstanding(in_all)
                .with_max_outstanding_per_host(per_host)
        });
        let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
        let query = "webhookEndpoint=https%3A%2F%2Freceiver.example.com%2F";
        let room = usize::from(in_all > 0);
        for _ in 0..room {
            let response = call(&layer, &service, query, &[]).await;
            assert_eq!(response.status(), 200);
        }
        let response = call(&layer, &service, query, &[]).await;
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert_eq!(calls.load(Ordering::SeqCst), room);
        while api.event().await != EventKind::Refused(refusal) {}
        // Whoever asks for no webhook is not concerned.
        let response = call(&layer, &service, "", &[]).await;
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_host_has_one_share_however_its_endpoints_are_written() {
    let (service, calls) = counting();
    let api = Api::with(|builder| {
        builder
            .with_resolver(Stub(never))
            .with_max_outstanding(9)
            .with_max_outstanding_per_host(3)
    });
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    for (endpoint, status) in [
        ("https%3A%2F%2Freceiver.example.com%2Fa", 200),
        ("https://Receiver.example.com./b", 200),
        ("https://receiver.example.com:8443/c", 200),
        ("https://receiver.example.com/d", 503),
        ("https%3A%2F%2Freceiver.example.com%2Fa", 503),
        ("https://other.example.com/", 200),
    ] {
        let query = format!("webhookEndpoint={endpoint}");
        let response = call(&layer, &service, &query, &[]).await;
        assert_eq!(response.status(), status, "{endpoint}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_full_memory_budget_refuses_too() {
    let (service, calls) = counting();
    let api = Api::with(|builder| {
        builder
            .with_resolver(Stub(never))
            .with_body_limit(1 << 20)
            .with_reserved_body(1 << 20)
            .with_memory_budget(1 << 20)
    });
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    let query = "webhookEndpoint=https%3A%2F%2Freceiver.example.com%2F";
    assert_eq!(call(&layer, &service, query, &[]).await.status(), 200);
    // The small body that waits takes a little of what a large one would need.
    assert_eq!(call(&layer, &service, query, &[]).await.status(), 503);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_receiver_that_stalls_does_not_hold_up_another() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let stalling = Receiver::new(|mut conn| async move { conn.closed().await });
    let mut api = Api::with(|builder| builder.with_max_attempts(8).with_max_attempts_per_host(8));
    for _ in 0..50 {
        api.send(&stalling.url_at("stalling.example.com")).await;
    }
    api.send(&receiver.url()).await;
    let attempted = api.attempted().await;
    assert!(matches!(attempted.outcome, Outcome::Answered { .. }));
    api.dispatcher.shutdown(Duration::ZERO).await;
    drop((api, receiver, stalling));
    no_task_is_left().await;
}

#[tokio::test]
async fn a_caller_that_names_many_hosts_leaves_room_to_others() {
    let (service, calls) = counting();
    let mut api = Api::with(|builder| {
        builder
            .with_resolver(Stub(never))
            .with_max_outstanding_per_caller(3)
    });
    let layer = WebhookLayer::new()
        .with_dispatcher(api.dispatcher.clone())
        .with_caller_key(|request| {
            let key = request.headers.get("x-api-key")?;
            Some(key.to_str().ok()?.to_owned())
        });
    let query = |host: usize| format!("webhookEndpoint=https://{host}.example.com/");
    let mut statuses = Vec::new();
    for host in 0..5 {
        let key = [("x-api-key", "one")];
        let response = call(&layer, &service, &query(host), &key).await;
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503]);
    while api.event().await != EventKind::Refused(Refusal::NoRoomForCaller) {}
    for headers in [&[("x-api-key", "other")][..], &[]] {
        let response = call(&layer, &service, &query(0), headers).await;
        assert_eq!(response.status(), 200);
    }
    // Nobody is asked who calls where no endpoint is named.
    let response = call(&layer, &service, "", &[("x-api-key", "one")]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

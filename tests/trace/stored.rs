//! A call's trace outlives the process that has accepted the call.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::body::Body;
use http::Response;
use tower::service_fn;
use tower_webhook::{WebhookLayer, outbox::SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

use crate::{
    asking, call,
    support::{receiver::Receiver, rig::builder},
    traceparent,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_sends_the_traceparent_of_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let key = SealingKey::from_bytes([7; 32]);
        SqliteOutbox::open(folder.path().join("webhooks.db"), key).unwrap()
    };
    let mut receiver = Receiver::start().await;

    let (first, _events) = builder();
    let stalls = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    let first = first.with_outbox(open()).with_client(stalls).build();
    let layer = WebhookLayer::new().with_dispatcher(first.clone());
    let url = receiver.url("/");
    call(
        layer.clone(),
        asking(&url).header("traceparent", traceparent()),
    )
    .await;
    call(layer, asking(&url).header("traceparent", "garbage")).await;
    first.shutdown(Duration::ZERO).await;
    drop(first);

    let (second, _events) = builder();
    let second = second.with_outbox(open()).build();
    second.start();
    let webhooks = [receiver.next().await, receiver.next().await];
    let mut sent = webhooks.map(|webhook| webhook.headers.get("traceparent").cloned());
    sent.sort_by_key(Option::is_none);
    assert_eq!(sent, [Some(traceparent().parse().unwrap()), None]);
}

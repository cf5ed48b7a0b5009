//! Calls that name no endpoint, and whose caller looks their result up.

use axum::{Router, body::Body, routing::any};
use http::{Request, Response, StatusCode};
use tower::ServiceExt;
use tower_webhook::{
    Dispatcher, EventKind, WebhookLayer,
    dispatch::DispatcherBuilder,
    event::FailReason,
    outbox::{MemoryOutbox, SealingKey},
    status,
};
use tower_webhook_sqlite::SqliteOutbox;

use crate::{
    status::{json, look, rig_with_payloads},
    support::{gate::gate, rig::Rig},
};

fn polled(layer: WebhookLayer) -> WebhookLayer {
    layer
        .with_async_requests()
        .with_status_location("/webhooks")
}

async fn call(app: Router, target: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(target).header("x-request-id", "run-1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

async fn expect_kept(rig: &mut Rig) {
    let end = rig.events.end().await;
    assert_eq!(end.kind(), &EventKind::Delivered { attempts: 0 });
}

const SECRET: (&str, &str) = ("x-webhook-secret", "hush");
const ASYNC: (&str, &str) = ("prefer", "respond-async");

#[tokio::test]
async fn a_call_without_an_endpoint_is_looked_up() {
    for (target, headers) in [("/?async=true", &[SECRET][..]), ("/", &[SECRET, ASYNC])] {
        let mut rig = rig_with_payloads().await;
        let (gate, mut keeper) = gate();
        let handler = || async {
            gate.pass().await;
            "a,b"
        };
        let app = Router::new()
            .route("/", any(handler))
            .layer(polled(rig.layer()));
        let receipt = call(app, target, headers).await;
        assert_eq!(receipt.status(), StatusCode::ACCEPTED);
        assert_eq!(receipt.headers()["location"], "/webhooks/run-1");
        keeper.arrival().await;
        let status = status(&rig.dispatcher);
        let running = json(&look(&status, "/webhooks/run-1").await);
        assert_eq!(running["state"], "running");

        keeper.open();
        expect_kept(&mut rig).await;
        let expected = serde_json::json!({
            "run_id": "run-1", "state": "delivered", "response_status": 200, "attempts": []
        });
        assert_eq!(json(&look(&status, "/webhooks/run-1").await), expected);
        let result = look(&status, "/webhooks/run-1/result").await;
        assert_eq!(result.body(), "a,b");
        assert_eq!(rig.dispatcher.outstanding(), 0);
    }
}

#[tokio::test]
async fn a_response_in_time_is_the_callers() {
    let mut rig = rig_with_payloads().await;
    let app = Router::new()
        .route("/", any(|| async { "done" }))
        .layer(polled(rig.layer()));
    let prefer = ("prefer", "respond-async, wait=50");
    let response = call(app, "/", &[SECRET, prefer]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = axum::body::to_bytes(response.into_body(), 9).await.unwrap();
    assert_eq!(body, "done");
    expect_kept(&mut rig).await;
}

#[tokio::test]
async fn whoever_looks_learns_of_a_failure() {
    let mut rig = rig_with_payloads().await;
    let app = Router::new()
        .route("/", any(|| async { panic!("on purpose") as &str }))
        .layer(polled(rig.layer()));
    call(app, "/", &[SECRET, ASYNC]).await;
    rig.events.end().await;
    let status = status(&rig.dispatcher);
    let known = json(&look(&status, "/webhooks/run-1").await);
    assert_eq!(
        (&known["state"], &known["failure"]),
        (&"failed".into(), &"panicked".into())
    );
    assert_eq!(FailReason::Panicked.name(), "panicked");
}

#[tokio::test]
async fn it_waits_where_nothing_can_be_looked_up() {
    let rig = Rig::new().await;
    let sink = |builder: DispatcherBuilder| {
        let nowhere = tower::service_fn(|_| async { Ok::<_, tower_webhook::BoxError>(()) });
        builder.with_sink(nowhere).build()
    };
    let handed_over = sink(Dispatcher::builder());
    let folder = tempfile::tempdir().unwrap();
    let key = SealingKey::from_file_or_new(folder.path().join("key")).unwrap();
    let far = SqliteOutbox::open(folder.path().join("webhooks.db"), key).unwrap();
    let forwarding = Dispatcher::builder().with_forwarding(far).build();
    for layer in [
        // The status is mounted nowhere.
        rig.layer().with_async_requests(),
        // No call may be asynchronous.
        rig.layer().with_status_location("/webhooks"),
        // Its result is kept elsewhere.
        polled(WebhookLayer::new().with_dispatcher(forwarding.clone())),
        // Nothing is kept.
        polled(WebhookLayer::new().with_dispatcher(handed_over.clone())),
    ] {
        let app = Router::new()
            .route("/", any(|| async { "done" }))
            .layer(layer);
        let response = call(app, "/?async=true", &[SECRET, ASYNC]).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(rig.dispatcher.counts().accepted, 0);
    assert_eq!(handed_over.counts().accepted, 0);
    assert_eq!(forwarding.counts().accepted, 0);
}

#[tokio::test]
async fn calls_that_are_never_asynchronous_are_left_alone() {
    let rig = rig_with_payloads().await;
    let grpc = ("content-type", "application/grpc");
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    // A delivery that comes here as its endpoint: nothing is sent on, so there is no loop.
    let delivery = [
        ("x-webhook-loop", "1"),
        ("user-agent", "tower-webhook/0.1.0"),
    ];
    for more in [&[grpc][..], &upgrade, &delivery] {
        let app = Router::new()
            .route("/", any(|| async { "done" }))
            .layer(polled(rig.layer()));
        let response = call(app, "/", &[&[SECRET, ASYNC], more].concat()).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(rig.dispatcher.counts().accepted, 0);
}

/// Of a durable outbox it is the same, and a result that nobody has looked at outlives the process.
#[tokio::test]
async fn a_result_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let key = SealingKey::from_file_or_new(folder.path().join("key")).unwrap();
        let outbox = SqliteOutbox::builder(folder.path().join("webhooks.db")).with_key(key);
        outbox.with_history_payloads().open().unwrap()
    };
    let mut rig = Rig::with_built(|builder| builder.with_outbox(open()).build()).await;
    let app = Router::new()
        .route("/", any(|| async { "done" }))
        .layer(polled(rig.layer()));
    let receipt = call(app, "/", &[SECRET, ASYNC]).await;
    assert_eq!(receipt.status(), StatusCode::ACCEPTED);
    expect_kept(&mut rig).await;
    rig.dispatcher.shutdown(std::time::Duration::MAX).await;
    drop(rig);

    let next = Dispatcher::builder().with_outbox(open()).build();
    let status = status(&next);
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(
        (result.status(), &**result.body()),
        (StatusCode::OK, &b"done"[..])
    );
}

#[tokio::test]
async fn without_payloads_in_the_history_there_is_a_state_and_no_result() {
    let outbox = MemoryOutbox::new();
    let mut rig = Rig::with_built(|builder| builder.with_outbox(outbox).build()).await;
    let app = Router::new()
        .route("/", any(|| async { "done" }))
        .layer(polled(rig.layer()));
    call(app, "/", &[SECRET, ASYNC]).await;
    rig.events.end().await;
    let status = status(&rig.dispatcher);
    let known = json(&look(&status, "/webhooks/run-1").await);
    assert_eq!(known["state"], "delivered");
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(result.status(), StatusCode::NOT_FOUND);
}

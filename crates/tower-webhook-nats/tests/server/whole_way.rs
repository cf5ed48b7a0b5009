//! A call to an axum app, through the layer and the stream, to a receiver.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    routing::post,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tower::ServiceExt;
use tower_webhook::{Dispatcher, EndpointPolicy, RetryPolicy, Verifier, WebhookLayer};

use crate::{
    scene::{PATIENCE, jetstream, messages},
    support::{fresh_name, open, server::Server},
};

const SECRET: &str = "a-secret-that-is-sealed";
const LEASE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Receiver {
    /// The attempts, and what was in them.
    posts: Mutex<Vec<(u32, Bytes)>>,
    moved: Notify,
}

/// It takes a second attempt, and no first one.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    Verifier::new(SECRET).verify(&headers, &body).unwrap();
    let attempt = headers["x-webhook-attempt"].to_str().unwrap();
    let attempt = attempt.parse().unwrap();
    receiver.posts.lock().unwrap().push((attempt, body));
    receiver.moved.notify_one();
    match attempt {
        1 => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_delivered_and_tried_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let receiver = Arc::new(Receiver::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/hook", listener.local_addr().unwrap());
    let hook = Router::new()
        .route("/hook", post(receive))
        .with_state(Arc::clone(&receiver));
    tokio::spawn(async { axum::serve(listener, hook).await });

    let name = fresh_name();
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .with_retry_policy(
            RetryPolicy::builder()
                .with_delays([Duration::from_millis(100)])
                .build(),
        )
        .with_outbox(open(&server.address(), &name, LEASE).await)
        .build();
    dispatcher.start();
    let app = Router::new()
        .route("/run", post(|body: Bytes| async { body }))
        .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));
    const CALLS: usize = 20;
    for number in 0..CALLS {
        let request = Request::post(format!("/run?webhookEndpoint={endpoint}"))
            .header("x-webhook-secret", SECRET)
            .body(Body::from(format!("result {number}")))
            .unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
    let all = async {
        while receiver.posts.lock().unwrap().len() < 2 * CALLS {
            receiver.moved.notified().await;
        }
    };
    timeout(PATIENCE, all).await.unwrap();
    let report = dispatcher.shutdown(PATIENCE).await;
    assert!(report.abandoned.is_empty());
    let posts = receiver.posts.lock().unwrap().clone();
    assert_eq!(posts.len(), 2 * CALLS);
    for number in 0..CALLS {
        let body = format!("result {number}");
        let attempts = posts.iter().filter(|(_, found)| *found == body.as_bytes());
        let attempts: Vec<_> = attempts.map(|(attempt, _)| *attempt).collect();
        assert_eq!(attempts, [1, 2], "{body}");
    }
    let context = jetstream(&server.address()).await;
    assert_eq!(messages(&context, &name).await, 0);
    assert_eq!(messages(&context, &format!("{name}-dead")).await, 0);
}

//! An axum API as one would write it: JSON, server-sent events, a graceful shutdown that loses
//! no webhook, and a hook that sees what becomes of each.
//!
//! ```sh
//! WEBHOOK_SECRET=a-value-of-your-choice cargo run --example receiver
//! cargo run --example axum
//!
//! # an ordinary call
//! curl -i --json '{"prompt":"a lighthouse"}' http://127.0.0.1:3000/run
//!
//! # the same, with a webhook
//! curl -i --json '{"prompt":"a lighthouse"}' -H 'X-Webhook-Secret: a-value-of-your-choice' \
//!   'http://127.0.0.1:3000/run?webhookEndpoint=http%3A%2F%2F127.0.0.1%3A9000%2Fwebhook'
//!
//! # events reach you one by one, and the webhook has them all; hang up half-way: it still has
//! curl -N -H 'X-Webhook-Secret: a-value-of-your-choice' \
//!   'http://127.0.0.1:3000/progress?webhookEndpoint=http%3A%2F%2F127.0.0.1%3A9000%2Fwebhook'
//! ```
//!
//! Ctrl-C while a call is under way shows the shutdown.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension, Json, Router,
    response::sse::{Event, Sse},
    routing::{get, post},
};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};
use tower_webhook::{Dispatcher, EndpointPolicy, EventKind, RequestId, WebhookLayer};

/// The layer leaves the id of a call that wants a webhook where its handler finds it.
async fn run(id: Option<Extension<RequestId>>, Json(input): Json<Value>) -> Json<Value> {
    sleep(Duration::from_secs(1)).await; // something that takes long
    let run_id = id.as_ref().map(|Extension(id)| id.as_str());
    Json(json!({ "run_id": run_id, "picture of": input["prompt"] }))
}

async fn progress() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(
        stream::iter((0..=100).step_by(20)).then(|percent| async move {
            sleep(Duration::from_millis(500)).await;
            Ok(Event::default().data(format!("{percent}%")))
        }),
    )
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().init();

    // For trying out on one machine. Without these two, endpoints are https and public.
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .on_event(|event| {
            let id = event.request_id().map_or("-", RequestId::as_str);
            match event.kind() {
                EventKind::Attempted { outcome, took, .. } => {
                    println!("{id}: {outcome} after {took:?}");
                }
                EventKind::Dead { attempts, .. } => {
                    println!("{id}: given up after {attempts} attempts");
                }
                _ => {}
            }
        })
        .build();

    let app = Router::new()
        .route("/run", post(run))
        .route("/progress", get(progress))
        .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            tokio::signal::ctrl_c()
                .await
                .expect("there is a handler for Ctrl-C");
        })
        .await?;

    // axum has waited for the callers that stayed. This waits for the calls of those that did
    // not, and for the webhooks.
    let report = dispatcher.shutdown(Duration::from_secs(30)).await;
    for delivery in &report.abandoned {
        println!("{}: abandoned", delivery.id());
    }
    println!("delivered while shutting down: {}", report.counts.delivered);
    Ok(())
}

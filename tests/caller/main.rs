//! What a caller can learn, and what it can make the layer do.

#[path = "../support/hostile.rs"]
mod hostile;

mod limits;
mod requests;
mod response;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::Request, routing::any};
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower::{Layer, ServiceExt};
use tower_webhook::WebhookLayer;

fn encoded(endpoint: &str) -> String {
    utf8_percent_encode(endpoint, NON_ALPHANUMERIC).to_string()
}

/// A service that counts its calls.
fn counting() -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "done" }
    };
    (Router::new().fallback(any(handler)), calls)
}

async fn call(
    layer: &WebhookLayer,
    service: &Router,
    query: &str,
    headers: &[(&'static str, &'static str)],
) -> Response<Bytes> {
    let mut request = Request::get(format!("/run?{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = layer.layer(service.clone()).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

//! A caller within the process.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, request::Builder};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::WebhookLayer;

use crate::support::rig::Rig;

/// Asks for a webhook to this URL.
pub(crate) fn asking(url: &str) -> Builder {
    Request::get(format!("/?webhookEndpoint={url}"))
}

/// Calls a handler that gives this response, and reads what comes of it.
pub(crate) async fn call(layer: WebhookLayer, request: Builder, response: Response<Body>) -> Bytes {
    let mut response = Some(response);
    let handler =
        service_fn(move |_| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())));
    let request = request.body(()).unwrap();
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

/// One call that ends in a delivery of `done` to this URL.
pub(crate) async fn deliver(rig: &Rig, url: &str) {
    let done = call(rig.layer(), asking(url), Response::new("done".into())).await;
    assert_eq!(done, "done");
}

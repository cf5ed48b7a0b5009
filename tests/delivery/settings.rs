//! How a caller can name what it wishes, and what the layer says to wishes that it cannot grant.

use http::{HeaderName, Request, Response, request::Builder};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{EventKind, WebhookLayer, event::Refusal};

use crate::{
    call::{asking, call},
    support::rig::Rig,
};

#[tokio::test]
async fn names_of_ones_own() {
    let mut rig = Rig::new().await;
    let layer = rig
        .layer()
        .with_endpoint_parameter("callback")
        .with_secret_header(HeaderName::from_static("x-key"));
    let url = rig.receiver.url("/hook");
    let request = Request::get(format!("/?callback={url}")).header("x-key", "k");
    call(layer.clone(), request, Response::default()).await;
    assert!(
        rig.receiver
            .next()
            .await
            .headers
            .contains_key("webhook-signature")
    );
    call(layer, asking(&url), Response::default()).await;
    rig.expect_no_more(1).await;
}

#[tokio::test]
async fn the_handler_knows_the_id_and_sees_the_request_as_it_was_sent() {
    let rig = Rig::new().await;
    let target = format!("/?a=1&webhookEndpoint={}", rig.receiver.url("/hook"));
    let handler = service_fn(|request: Request<()>| async move {
        let id = request
            .extensions()
            .get::<tower_webhook::RequestId>()
            .unwrap();
        assert_eq!(id.as_str(), "run-1");
        let secret = &request.headers()["x-webhook-secret"];
        assert_eq!(secret, "hush");
        assert!(!format!("{request:?}").contains("hush"));
        Ok::<_, std::convert::Infallible>(Response::new(request.uri().to_string()))
    });
    let request = Request::get(&target)
        .header("x-request-id", "run-1")
        .header("x-webhook-secret", "hush");
    let answer = rig
        .layer()
        .layer(handler)
        .oneshot(request.body(()).unwrap())
        .await
        .unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        target
    );
}

/// The layer's own answer; the handler must not run.
async fn refused(layer: WebhookLayer, request: Builder) -> Response<String> {
    let handler = service_fn(async |_| -> Result<Response<String>, std::io::Error> {
        panic!("the handler runs");
    });
    let request = request.body(()).unwrap();
    let (head, body) = layer
        .layer(handler)
        .oneshot(request)
        .await
        .unwrap()
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused_before_the_handler_runs() {
    let mut rig = Rig::with(|builder| {
        builder
            .with_max_outstanding(0)
            .with_max_outstanding_per_host(0)
    })
    .await;
    let (strict, url) = (rig.layer().with_required_secret(), rig.receiver.url("/"));
    for (layer, request, status, refusal) in [
        (
            rig.layer(),
            asking("ftp://a.example/"),
            400,
            Refusal::BadRequest,
        ),
        (rig.layer(), asking(""), 400, Refusal::BadRequest),
        (strict, asking(&url), 400, Refusal::BadRequest),
        (
            rig.layer(),
            asking(&url).header("x-webhook-secret", ""),
            400,
            Refusal::BadRequest,
        ),
        (
            rig.layer(),
            asking(&url).header("x-webhook-loop", "1"),
            508,
            Refusal::Loop,
        ),
        (rig.layer(), asking(&url), 503, Refusal::NoRoom),
    ] {
        let answer = refused(layer, request).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        assert!(!answer.body().contains("127.0.0.1") && !answer.body().contains("a.example"));
        assert_eq!(rig.events.next().await.kind(), &EventKind::Refused(refusal));
    }
    rig.expect_no_more(0).await;
}

//! Headers that the operator has every delivery carry.

use std::convert::Infallible;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response};
use tower::service_fn;
use tower_webhook::{Payload, delivery::Brand, dispatch::DispatcherBuilder};

use crate::{
    call::{asking, call, deliver},
    support::rig::{Rig, builder},
};

fn with(
    builder: DispatcherBuilder,
    name: &str,
    value: &str,
) -> Result<DispatcherBuilder, tower_webhook::attempt::ReservedHeader> {
    builder.with_header(name.parse().unwrap(), value.parse().unwrap())
}

#[tokio::test]
async fn every_delivery_has_them() {
    let mut rig = Rig::with(|builder| {
        let builder = with(builder, "x-acme-region", "eu-1").unwrap();
        let builder = with(builder, "Authorization", "Bearer x").unwrap();
        with(builder, "x-acme-region", "eu-2").unwrap()
    })
    .await;
    let url = rig.receiver.url("/");
    for request in [
        asking(&url),
        asking(&url).header("x-webhook-secret", "secret"),
        asking(&url).header("x-acme-region", "of the caller"),
    ] {
        let response = Response::builder()
            .header("x-acme-region", "of the response")
            .header("content-type", "text/plain")
            .header("content-language", "de");
        call(rig.layer(), request, response.body("done".into()).unwrap()).await;
        let webhook = rig.receiver.next().await;
        let regions: Vec<_> = webhook.headers.get_all("x-acme-region").iter().collect();
        assert_eq!(regions, ["eu-1", "eu-2"]);
        assert_eq!(webhook.header("authorization"), "Bearer x");
        assert_eq!(webhook.header("content-length"), "4");
        assert_eq!(webhook.header("content-type"), "text/plain");
        assert_eq!(webhook.header("x-webhook-attempt"), "1");
    }
}

#[test]
fn none_that_a_delivery_sets_itself_can_be_fixed() {
    for name in [
        "x-request-id",
        "x-cerebrium-webhook-timestamp",
        "x-cerebrium-webhook-signature",
        "X-Acme-Webhook-Signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "content-type",
        "content-encoding",
        "content-language",
        "content-length",
        "grpc-status",
        "grpc-message",
        "x-webhook-response-status",
        "x-webhook-attempt",
        "x-webhook-failure",
        "x-webhook-loop",
        "traceparent",
        "tracestate",
        "baggage",
        "user-agent",
        "host",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "expect",
        "accept-encoding",
    ] {
        let error = with(builder().0, name, "1").unwrap_err();
        assert_eq!(error.name(), &name.parse::<HeaderName>().unwrap());
        assert!(error.to_string().contains(&name.to_lowercase()), "{error}");
    }
}

#[test]
fn a_brand_that_comes_later_has_its_names_to_itself() {
    assert!(with(builder().0, "x-acme-webhook-signature", "1").is_err());
    let branded = builder().0.with_brand(Brand::new("Acme").unwrap());
    assert!(with(branded, "x-acme-webhook-timestamp", "1").is_err());
    assert!(with(builder().0, "x-acme-webhook-source", "1").is_ok());
}

#[tokio::test]
async fn a_sensitive_value_is_not_shown() {
    let (show, mut shown) = tokio::sync::mpsc::unbounded_channel();
    let client = service_fn(move |request: Request<Payload>| {
        show.send(format!("{request:?}")).unwrap();
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let mut value = HeaderValue::from_static("psst");
    value.set_sensitive(true);
    let name = HeaderName::from_static("authorization");
    let rig = Rig::with(|builder| {
        let builder = builder.with_header(name, value).unwrap();
        assert!(!format!("{builder:?}").contains("psst"));
        builder.with_client(client)
    })
    .await;
    deliver(&rig, "https://receiver.example.com/").await;
    let shown = shown.recv().await.unwrap();
    assert!(shown.contains("\"authorization\": Sensitive"), "{shown}");
    assert!(!shown.contains("psst") && !format!("{:?}", rig.dispatcher).contains("psst"));
}

//! The request that the endpoint gets, as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::StreamBody;
use tower_webhook::{DeliveryId, delivery::Brand, dispatch::DispatcherBuilder};

use crate::{
    call::{asking, call},
    support::{receiver::Received, rig::Rig},
};

/// A response with more headers than are forwarded, to a request with more than are.
async fn talkative(rig: &mut Rig, secret: Option<&str>, body: Body) -> Received {
    let mut request = asking(&rig.receiver.url("/hook?token=1%2520x"))
        .header("x-request-id", "run-1")
        .header("authorization", "Bearer x")
        .header("cookie", "a=b")
        .header("user-agent", "a browser")
        .header("x-of-the-request", "1");
    if let Some(secret) = secret {
        request = request.header("x-webhook-secret", secret);
    }
    let response = Response::builder()
        .status(StatusCode::IM_A_TEAPOT)
        .header("content-type", "text/plain; charset=utf-8")
        .header("content-encoding", "identity")
        .header("content-language", "de")
        .header("set-cookie", "session=1")
        .header("authorization", "Bearer y")
        .header("etag", "\"1\"")
        .header("transfer-encoding", "chunked")
        .header("connection", "close")
        .header("x-webhook-attempt", "99")
        .header("x-of-the-response", "1");
    call(rig.layer(), request, response.body(body).unwrap()).await;
    rig.receiver.next().await
}

/// Every header, except those whose values cannot be known.
fn expect_headers(webhook: &Received, times_and_macs: &[&str], expected: &[(&str, &str)]) {
    let mut headers = webhook.headers.clone();
    for name in times_and_macs {
        assert!(headers.remove(*name).is_some(), "no {name}");
    }
    let host = headers.remove("host");
    assert!(host.unwrap().to_str().unwrap().starts_with("127.0.0.1:"));
    let expected: HeaderMap = expected
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    assert_eq!(headers, expected);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for name in times_and_macs
        .iter()
        .filter(|name| name.ends_with("timestamp"))
    {
        let sent: u64 = webhook.header(name).parse().unwrap();
        assert!((now - 60..=now).contains(&sent), "{name}: {sent}");
    }
}

const USER_AGENT: &str = concat!("tower-webhook/", env!("CARGO_PKG_VERSION"));

const ALWAYS: [(&str, &str); 8] = [
    ("x-request-id", "run-1"),
    ("content-type", "text/plain; charset=utf-8"),
    ("content-encoding", "identity"),
    ("content-language", "de"),
    ("x-webhook-response-status", "418"),
    ("x-webhook-attempt", "1"),
    ("user-agent", USER_AGENT),
    ("x-webhook-loop", "1"),
];

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const SIGNED: [&str; 4] = [
    "x-cerebrium-webhook-timestamp",
    "x-cerebrium-webhook-signature",
    "webhook-timestamp",
    "webhook-signature",
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&ALWAYS[..], more].concat()
}

/// It is the crate's own, whatever the caller's request id is.
fn delivery_id(webhook: &Received) -> String {
    let id = webhook.header("webhook-id").to_owned();
    assert!(DeliveryId::parse(&id).is_some(), "{id}");
    id
}

#[tokio::test]
async fn a_signed_delivery() {
    let mut rig = Rig::new().await;
    let webhook = talkative(&mut rig, Some("secret"), Body::from("body")).await;
    assert_eq!(webhook.method, Method::POST);
    assert_eq!(webhook.uri, "/hook?token=1%20x");
    assert_eq!(webhook.body, "body");
    let id = delivery_id(&webhook);
    let expected = with(&[("content-length", "4"), ("webhook-id", &id)]);
    expect_headers(&webhook, &SIGNED, &expected);
}

#[tokio::test]
async fn an_unsigned_delivery() {
    let mut rig = Rig::new().await;
    let webhook = talkative(&mut rig, None, Body::from("body")).await;
    let id = delivery_id(&webhook);
    let expected = with(&[("content-length", "4"), ("webhook-id", &id)]);
    let times = ["x-cerebrium-webhook-timestamp", "webhook-timestamp"];
    expect_headers(&webhook, &times, &expected);
}

#[tokio::test]
async fn of_another_brand_without_the_standard_headers() {
    let brand = Brand::new("Acme").unwrap();
    let mut rig = Rig::with(|builder| builder.with_brand(brand).without_standard_headers()).await;
    let webhook = talkative(&mut rig, Some("secret"), Body::from("body")).await;
    let signed = ["x-acme-webhook-timestamp", "x-acme-webhook-signature"];
    expect_headers(&webhook, &signed, &with(&[("content-length", "4")]));
}

#[tokio::test]
async fn a_length_is_always_told() {
    for (frames, length) in [(0, "0"), (1, "5000"), (7, "35000")] {
        let mut rig = Rig::new().await;
        let frames = (0..frames).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 5_000])));
        let body = Body::from_stream(stream::iter(frames));
        let webhook = talkative(&mut rig, Some("secret"), body).await;
        let id = delivery_id(&webhook);
        let expected = with(&[("content-length", length), ("webhook-id", &id)]);
        expect_headers(&webhook, &SIGNED, &expected);
        assert_eq!(webhook.body.len().to_string(), length);
    }
}

#[tokio::test]
async fn what_the_response_repeats_is_repeated() {
    let repeated = [
        ("content-type", ["text/plain", "text/html"]),
        ("content-encoding", ["gzip", "br"]),
        ("content-language", ["de", "en"]),
        ("grpc-message", ["a", "b"]),
    ];
    let mut response = Response::new(Body::from("body"));
    for (name, values) in repeated {
        for value in values {
            let value = value.parse().unwrap();
            response.headers_mut().append(name, value);
        }
    }
    let mut rig = Rig::new().await;
    let request = asking(&rig.receiver.url("/hook"));
    call(rig.layer(), request, response).await;
    let webhook = rig.receiver.next().await;
    for (name, values) in repeated {
        let got: Vec<_> = webhook.headers.get_all(name).iter().collect();
        assert_eq!(got, values, "{name}");
    }
}

/// A gRPC call's status is in its trailers, if there are any.
#[tokio::test]
async fn what_the_trailers_say_counts() {
    let trailers = [(GRPC_STATUS, "13"), (CONTENT_TYPE, "text/plain")];
    let trailers = trailers.map(|(name, value)| (name, value.parse().unwrap()));
    let trailers = HeaderMap::from_iter(trailers);
    let frames = [Frame::data(Bytes::from("body")), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    for (name, value) in [
        (CONTENT_TYPE, "application/grpc"),
        (GRPC_STATUS, "0"),
        (GRPC_MESSAGE, "fine"),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut rig = Rig::new().await;
    let request = asking(&rig.receiver.url("/hook"));
    call(rig.layer(), request, response).await;
    let webhook = rig.receiver.next().await;
    assert_eq!(webhook.header("grpc-status"), "13");
    assert_eq!(webhook.header("grpc-message"), "fine");
    assert_eq!(webhook.header("content-type"), "application/grpc");
}

/// For whoever looks at a delivery later.
#[tokio::test]
async fn they_can_be_looked_at_without_secrets() {
    let brand = Brand::new("Acme").unwrap();
    let with_password = |builder: DispatcherBuilder| {
        builder.with_header(AUTHORIZATION, HeaderValue::from_static("Basic eDp5"))
    };
    let mut rig = Rig::with(|builder| with_password(builder.with_brand(brand)).unwrap()).await;
    for secret in [Some("secret"), None] {
        let webhook = talkative(&mut rig, secret, Body::from("done")).await;
        rig.events.end().await;
        let mut expected = webhook.headers.clone();
        for (name, is_there) in [
            ("x-acme-webhook-signature", secret.is_some()),
            ("webhook-signature", secret.is_some()),
            ("authorization", true),
        ] {
            assert_eq!(expected.contains_key(name), is_there);
            if let Some(value) = expected.get_mut(name) {
                *value = HeaderValue::from_static("***");
            }
        }
        let id = DeliveryId::parse(&delivery_id(&webhook)).unwrap();
        let shown = rig.dispatcher.headers(id).await.unwrap();
        assert_eq!(shown.unwrap(), expected);
    }
    let shown = rig.dispatcher.headers(DeliveryId::fresh()).await;
    assert_eq!(shown.unwrap(), None);
}

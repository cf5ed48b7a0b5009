//! Bodies whose length is known before they end: by their size hint, or by the head.

use std::{convert::Infallible, future::ready};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{event::FailReason, outbox::SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

use crate::support::{
    caller::{Caller, Protocol},
    rig::Rig,
    server::serve,
};

type Make = fn() -> Response<Body>;

fn grpc_status() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("13"));
    trailers.insert("grpc-message", HeaderValue::from_static("bits%20gone"));
    trailers
}

fn full() -> Response<Body> {
    let trailers = ready(Some(Ok::<_, Infallible>(grpc_status())));
    let body = Full::<Bytes>::from("message").with_trailers(trailers);
    Response::new(Body::new(body))
}

fn empty() -> Response<Body> {
    let trailers = ready(Some(Ok::<_, Infallible>(grpc_status())));
    Response::new(Body::new(Empty::<Bytes>::new().with_trailers(trailers)))
}

/// The trailers come a moment later.
fn declared() -> Response<Body> {
    let data =
        stream::iter(["mess", "age"]).map(|part| Frame::data(Bytes::from_static(part.as_bytes())));
    let trailers = stream::once(async {
        tokio::task::yield_now().await;
        Frame::trailers(grpc_status())
    });
    let frames = data.chain(trailers).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_LENGTH, 7.into());
    response
}

/// Never says that it has ended.
fn unending() -> Response<Body> {
    let frames = stream::iter([Ok::<_, Infallible>("message")]).chain(stream::pending());
    let mut response = Response::new(Body::from_stream(frames));
    response.headers_mut().insert(CONTENT_LENGTH, 7.into());
    response
}

/// Of an empty body.
fn unending_empty() -> Response<Body> {
    let frames = stream::pending::<Result<Bytes, Infallible>>();
    let mut response = Response::new(Body::from_stream(frames));
    response.headers_mut().insert(CONTENT_LENGTH, 0.into());
    response
}

/// With an outbox in memory, and with one in a file, which holds responses back.
async fn rigs() -> [(Rig, Option<tempfile::TempDir>); 2] {
    let folder = tempfile::tempdir().unwrap();
    let outbox = SqliteOutbox::open(
        folder.path().join("webhooks.db"),
        SealingKey::from_bytes([7; 32]),
    );
    let durable = Rig::with(|builder| builder.with_outbox(outbox.unwrap())).await;
    [(Rig::new().await, None), (durable, Some(folder))]
}

#[tokio::test]
async fn a_status_in_the_trailers_that_the_caller_gets_the_endpoint_gets() {
    for (make, body) in [
        (full as Make, "message"),
        (empty, ""),
        (declared, "message"),
    ] {
        for (mut rig, _folder) in rigs().await {
            let service = service_fn(move |_: Request<_>| ready(Ok::<_, Infallible>(make())));
            let server = serve(rig.layer().layer(service)).await;
            let mut caller = Caller::connect(server.address, Protocol::H2).await;
            let answer = caller.get(&rig.asking("/")).await;
            assert_eq!(answer.body, body);
            assert_eq!(answer.trailers, Some(grpc_status()));
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, body);
            assert_eq!(webhook.header("grpc-status"), "13");
            assert_eq!(webhook.header("grpc-message"), "bits%20gone");
            rig.expect_delivered().await;
        }
    }
}

/// Where nothing but the service and whoever reads its response is there.
#[tokio::test]
async fn so_it_is_without_a_server() {
    for make in [full as Make, empty, declared] {
        for (mut rig, _folder) in rigs().await {
            let service = service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(make())));
            let request = Request::get(rig.asking("/")).body(()).unwrap();
            let response = rig.layer().layer(service).oneshot(request).await.unwrap();
            let collected = response.into_body().collect().await.unwrap();
            // `declared` is over for HTTP/1, which this request says that it is, with its length.
            if let Some(trailers) = collected.trailers() {
                assert_eq!(trailers["grpc-status"], "13");
            }
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, collected.to_bytes());
            rig.expect_delivered().await;
        }
    }
}

/// HTTP/1 has no room for trailers there, and its server asks for nothing behind the length.
#[tokio::test]
async fn a_body_that_its_server_drops_at_its_length_is_delivered() {
    for (make, body) in [
        (full as Make, "message"),
        (empty, ""),
        (declared, "message"),
        (unending, "message"),
        (unending_empty, ""),
    ] {
        for (mut rig, _folder) in rigs().await {
            let service = service_fn(move |_: Request<_>| ready(Ok::<_, Infallible>(make())));
            let server = serve(rig.layer().layer(service)).await;
            let mut caller = Caller::connect(server.address, Protocol::H1).await;
            assert_eq!(caller.get(&rig.asking("/")).await.body, body);
            assert_eq!(rig.receiver.next().await.body, body);
            rig.expect_delivered().await;
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_at_the_length_has_its_payload_delivered() {
    for (make, body) in [(unending as Make, "message"), (unending_empty, "")] {
        for (mut rig, _folder) in rigs().await {
            let service = service_fn(move |_: Request<_>| ready(Ok::<_, Infallible>(make())));
            let server = serve(rig.layer().layer(service)).await;
            let mut caller = Caller::connect(server.address, Protocol::H2).await;
            let request = caller.request(Method::GET, &rig.asking("/"));
            let answer = caller.send(request).await.unwrap();
            let mut answer = answer.into_body();
            if !body.is_empty() {
                let frame = answer.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), body);
            }
            caller.leave().await;
            assert_eq!(rig.receiver.next().await.body, body);
            rig.expect_delivered().await;
        }
    }
}

#[tokio::test]
async fn a_length_that_chunks_override_is_none() {
    let overridden = || {
        let frames = stream::iter(["hello", " world"]).map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::from_stream(frames));
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, 5.into());
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        response
    };
    for (mut rig, _folder) in rigs().await {
        let service = service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(overridden())));
        let request = Request::get(rig.asking("/")).body(()).unwrap();
        let response = rig.layer().layer(service).oneshot(request).await.unwrap();
        let got = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(got, "hello world");
        assert_eq!(rig.receiver.next().await.body, "hello world");
        rig.expect_delivered().await;
    }
}

/// Whoever reads it all has got more than was declared.
#[tokio::test]
async fn more_than_was_declared_is_not_delivered() {
    for (mut rig, _folder) in rigs().await {
        let longer = || {
            let frames = stream::iter(["hello", " world"]).map(Ok::<_, Infallible>);
            let mut response = Response::new(Body::from_stream(frames));
            response.headers_mut().insert(CONTENT_LENGTH, 5.into());
            response
        };
        let service = service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(longer())));
        let request = Request::get(rig.asking("/")).body(()).unwrap();
        let response = rig.layer().layer(service).oneshot(request).await.unwrap();
        let got = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(got, "hello world");
        rig.expect_failed(FailReason::LengthMismatch).await;
    }
}

/// A header that only repeats the length is still a length, and what is none is no reason to fail.
#[tokio::test]
async fn lengths_as_lists() {
    for (length, is_one) in [("7, 7", true), ("7, 8", false), ("seven", false)] {
        for (mut rig, _folder) in rigs().await {
            let listed = move || {
                let frames = stream::iter(["mess", "age"]).map(Ok::<_, Infallible>);
                let mut response = Response::new(Body::from_stream(frames));
                let length = HeaderValue::from_static(length);
                response.headers_mut().insert(CONTENT_LENGTH, length);
                response
            };
            let service = service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(listed())));
            let request = Request::get(rig.asking("/")).body(()).unwrap();
            let response = rig.layer().layer(service).oneshot(request).await.unwrap();
            let mut body = response.into_body();
            // As a server does that takes the length as one.
            for _ in 0..2 {
                body.frame().await.unwrap().unwrap();
            }
            if !is_one {
                assert!(body.frame().await.is_none());
            }
            drop(body);
            assert_eq!(rig.receiver.next().await.body, "message");
            rig.expect_delivered().await;
        }
    }
}

//! Calls over HTTP/2, and services that speak it.

use axum::{Router, routing::any};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::join;

use crate::{
    process::within,
    raw::{OK, RawService, echo, header, raw_call},
    world::World,
};

fn http2() -> Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

#[tokio::test]
async fn the_cookies_of_http2_are_one_line_on_http1() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let call = Request::get(format!("http://{}/", world.address));
    let call = ["a=1", "b=2; c=3", "d=4"]
        .into_iter()
        .fold(call, |call, cookie| call.header("cookie", cookie));
    let client = http2();
    let call = client.request(call.body(Empty::new()).unwrap());
    let (response, asked) = join!(within(call), service.answer(OK));
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(header(&asked, "cookie"), Some("a=1; b=2; c=3; d=4"));
    assert_eq!(header(&asked, "host"), Some(&world.address.to_string()[..]));
}

#[tokio::test]
async fn an_http2_call_with_another_host_is_refused() {
    let world = World::of(echo(), &[]).await;
    for (host, expected) in [("other", 400), (&world.address.to_string()[..], 200)] {
        let call = Request::get(format!("http://{}/", world.address)).header("host", host);
        let response = within(http2().request(call.body(Empty::new()).unwrap()))
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "{host}");
    }
}

#[tokio::test]
async fn large_headers_arrive_over_http2() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let large = "a".repeat(200 << 10);
    let call = Request::get(format!("http://{}/", world.address)).header("x-large", &large);
    let client = http2();
    let call = client.request(call.body(Empty::new()).unwrap());
    let (response, asked) = join!(within(call), service.answer(OK));
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(header(&asked, "x-large"), Some(&large[..]));
}

#[tokio::test]
async fn the_callers_authority_reaches_an_http2_service() {
    let authority = any(|request: axum::extract::Request| async move {
        let host = request.headers().get("host");
        assert_eq!(host, None);
        request.uri().authority().unwrap().to_string()
    });
    let world = World::of(Router::new().fallback(authority), &["--upstream-http2"]).await;
    let request = "GET /b HTTP/1.1\r\nhost: The.Caller:81\r\nconnection: close\r\n\r\n";
    let answer = raw_call(world.address, request).await;
    assert!(answer.ends_with("\r\n\r\nThe.Caller:81"), "{answer}");
    let call = Request::get(format!("http://{}/", world.address));
    let response = http2().request(call.body(Empty::new()).unwrap());
    let body = within(response).await.unwrap().into_body().collect();
    let body = within(body).await.unwrap().to_bytes();
    assert_eq!(body, world.address.to_string());
    let answer = raw_call(world.address, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
}

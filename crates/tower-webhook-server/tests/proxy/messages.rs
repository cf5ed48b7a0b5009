//! What goes through as it is.

use std::collections::HashMap;

use axum::{Router, extract::Path, response::IntoResponse, routing::any};
use http::{HeaderMap, StatusCode, Version, header::DATE};
use reqwest::{Method, Response};
use tokio::{join, net::TcpSocket};

use crate::{
    process::within,
    raw::{RawService, raw_call},
    world::{SECRET, World, serve},
};

const TRYING_OUT: &[&str] = &["--insecure-private-endpoints"];

async fn status(Path(code): Path<u16>) -> impl IntoResponse {
    let status = StatusCode::from_u16(code).unwrap();
    let body = match code {
        204 | 304 => String::new(),
        _ => format!("this is {code}"),
    };
    (status, [("x-own", "value"), ("location", "/else")], body)
}

fn statuses() -> Router {
    Router::new().route("/{status}", any(status))
}

async fn answer(response: Response) -> (Version, StatusCode, HeaderMap, Vec<u8>) {
    let (version, status) = (response.version(), response.status());
    let mut headers = response.headers().clone();
    headers.remove(DATE);
    let body = within(response.bytes()).await.unwrap().to_vec();
    (version, status, headers, body)
}

#[tokio::test]
async fn every_status_goes_through_and_is_forwarded() {
    let service = serve(statuses()).await;
    let mut world = World::before(service, TRYING_OUT).await;
    let mut answers = HashMap::new();
    for code in 200..600_u16 {
        let path = format!("/{code}");
        let direct = within(world.plain(Method::GET, service, &path).send()).await;
        let call = world.call(Method::GET, &path);
        let proxied = within(call.header("x-request-id", &path[1..]).send()).await;
        let direct = answer(direct.unwrap()).await;
        assert_eq!(answer(proxied.unwrap()).await, direct, "{code}");
        answers.insert(path[1..].to_owned(), direct);
    }
    for _ in 200..600 {
        let webhook = world.webhook().await;
        let (_, status, _, body) = answers.remove(&webhook.id).expect("one for each call");
        assert_eq!(webhook.status, status.as_u16());
        assert_eq!(webhook.body, body, "{status}");
    }
}

#[tokio::test]
async fn head_keeps_its_headers_and_has_no_body() {
    let service = serve(statuses()).await;
    let mut world = World::before(service, TRYING_OUT).await;
    for path in ["/200", "/204", "/304", "/404"] {
        let direct = world.plain(Method::HEAD, service, path).send();
        let direct = answer(within(direct).await.unwrap()).await;
        let proxied = within(world.call(Method::HEAD, path).send()).await;
        assert_eq!(answer(proxied.unwrap()).await, direct, "{path}");
        assert_eq!(world.webhook().await.body, "", "{path}");
    }
}

#[tokio::test]
async fn nothing_but_the_connections_own_headers_is_changed() {
    const RESPONSE: &str = "HTTP/1.1 299 Very Odd\r\nX-CaSe: a\r\nset-cookie: b=1\r\n\
        set-cookie: c=2\r\nContent-Encoding: gzip\r\ncontent-length: 2\r\ndate: never\r\n";
    const REQUEST: &str = "X-CaSe: 1\r\nhost: the.caller\r\nExpect: nothing\r\n";
    let answer = format!("{RESPONSE}Keep-Alive: timeout=1\r\nX-Hop: 1\r\n");
    let answer = format!("{answer}Connection: x-hop, close\r\n\r\nok");
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let path = "/a%20b/../c?d=%2f&e;f";
    let request = format!(
        "GET {path} HTTP/1.1\r\n{REQUEST}X-Forwarded-For: 192.0.2.1\r\nX-Hop: 1\r\n\
        Keep-Alive: 1\r\nTE: gzip\r\nUpgrade: h2c\r\n\
        Connection: close, x-hop, upgrade\r\n\r\n"
    );
    let (answer, asked) = join!(raw_call(world.address, &request), service.answer(&answer));
    assert_eq!(answer, format!("{RESPONSE}Connection: close\r\n\r\nok"));
    let forwarded = "X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\nx-forwarded-proto: http\r\n";
    let expected = format!("GET {path} HTTP/1.1\r\n{REQUEST}{forwarded}\r\n");
    assert_eq!(lines(&asked), lines(&expected));
}

/// Their order counts only within one name.
fn lines(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.lines().collect();
    lines[1..].sort_unstable();
    lines
}

#[tokio::test]
async fn an_old_service_is_served_as_a_new_one() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\ndate: never\r\n\r\nto the end";
    let (answer, _) = join!(raw_call(world.address, request), service.answer(old));
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\ndate: never\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\nA\r\nto the end\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn a_service_that_is_down_is_a_502_and_forwarded() {
    // Bound, so that nobody else takes the port, but not listening.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut world = World::before(nobody.local_addr().unwrap(), TRYING_OUT).await;
    let response = within(world.call(Method::GET, "/").send()).await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(world.webhook().await.status, 502);
}

#[tokio::test]
async fn it_is_no_forward_proxy() {
    let world = World::of(statuses(), &[]).await;
    let request = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n";
    let answer = raw_call(world.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn only_public_endpoints_unless_told_otherwise() {
    let mut world = World::of(statuses(), &[]).await;
    let response = within(world.call(Method::GET, "/200").send()).await;
    assert_eq!(response.unwrap().status(), 400);
    world.endpoint = "https://127.0.0.1/".to_owned();
    let response = within(world.call(Method::GET, "/200").send()).await;
    assert_eq!(response.unwrap().status(), 400);
}

#[tokio::test]
async fn a_secret_can_be_required() {
    let args = ["--insecure-private-endpoints", "--required-secret"];
    let mut world = World::of(statuses(), &args).await;
    let path = format!("/200?webhookEndpoint={}", world.endpoint);
    let call = world.plain(Method::GET, world.address, &path);
    assert_eq!(within(call.send()).await.unwrap().status(), 400);
    let call = world.plain(Method::GET, world.address, &path);
    let call = call.header("X-Webhook-Secret", SECRET);
    assert_eq!(within(call.send()).await.unwrap().status(), 200);
    assert_eq!(world.webhook().await.body, "this is 200");
}

#[tokio::test]
async fn a_body_over_the_limit_reaches_the_caller_only() {
    let args = ["--insecure-private-endpoints", "--body-limit", "10B"];
    let mut world = World::of(statuses(), &args).await;
    let response = within(world.call(Method::GET, "/200").send()).await;
    let body = within(response.unwrap().bytes()).await.unwrap();
    assert_eq!(body, "this is 200");
    world.proxy.stderr.line_with("BodyTooLarge").await;
}

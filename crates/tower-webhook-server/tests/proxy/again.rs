//! What is sent again, and what must not be.

use axum::{Router, routing::any};
use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::join;

use crate::{
    raw::{Raw, RawService, raw_call, status},
    world::World,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const POST: &str =
    "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, 0]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Takes an HTTP/2 connection up to the first request.
async fn first_request(raw: &mut Raw) {
    raw.exactly(24).await;
    raw.write(frame(SETTINGS, 0, &[])).await;
    loop {
        let head = raw.exactly(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        raw.exactly(usize::try_from(length).unwrap()).await;
        if head[3] == HEADERS {
            return;
        }
    }
}

/// Answers the first request on a connection, and returns its body.
async fn serve_one(raw: Raw) -> Vec<u8> {
    let mut connection = h2::server::handshake(raw.into_inner()).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let mut body = request.into_body();
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        read.extend_from_slice(&data.unwrap());
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
    read
}

fn goaway(last: u32, reason: Reason) -> Vec<u8> {
    let payload = [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
    frame(GOAWAY, 0, &payload)
}

fn reset(reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 1, &u32::from(reason).to_be_bytes())
}

#[tokio::test]
async fn what_an_http2_service_has_not_processed_is_sent_again() {
    let service = RawService::start().await;
    for says in [
        goaway(0, Reason::NO_ERROR),
        goaway(0, Reason::ENHANCE_YOUR_CALM),
        reset(Reason::REFUSED_STREAM),
    ] {
        for (request, body) in [(GET, ""), (POST, "hello")] {
            let world = World::before(service.address, &["--upstream-http2"]).await;
            let serve = async {
                let mut first = service.accept().await;
                first_request(&mut first).await;
                first.write(&says).await;
                let second = service.accept().await;
                (serve_one(second).await, first)
            };
            let (answer, (sent, _first)) = join!(raw_call(world.address, request), serve);
            assert_eq!(status(&answer), "200", "{says:?}\n{answer}");
            assert_eq!(sent, body.as_bytes());
        }
    }
}

#[tokio::test]
async fn what_an_http2_service_may_have_processed_is_a_502() {
    let service = RawService::start().await;
    for says in [
        goaway(1, Reason::INTERNAL_ERROR),
        reset(Reason::INTERNAL_ERROR),
        reset(Reason::CANCEL),
        Vec::new(),
    ] {
        let world = World::before(service.address, &["--upstream-http2"]).await;
        let serve = async {
            let mut first = service.accept().await;
            first_request(&mut first).await;
            first.write(&says).await;
        };
        let (answer, ()) = join!(raw_call(world.address, POST), serve);
        assert_eq!(status(&answer), "502", "{says:?}\n{answer}");
    }
}

#[tokio::test]
async fn a_service_that_always_refuses_is_a_502() {
    let service = RawService::start().await;
    let world = World::before(service.address, &["--upstream-http2"]).await;
    let serve = async {
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut raw = service.accept().await;
            first_request(&mut raw).await;
            raw.write(reset(Reason::REFUSED_STREAM)).await;
            all.push(raw);
        }
    };
    let (answer, ()) = join!(raw_call(world.address, GET), serve);
    assert_eq!(status(&answer), "502", "{answer}");
}

/// A proxy whose connection to the service has been used once and is kept.
async fn kept() -> (World, RawService, Raw) {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let serve = async {
        let mut raw = service.accept().await;
        raw.head().await;
        raw.write(OK).await;
        raw
    };
    let (answer, raw) = join!(raw_call(world.address, GET), serve);
    assert_eq!(status(&answer), "200");
    (world, service, raw)
}

#[tokio::test]
async fn a_kept_connection_that_closes_costs_an_idempotent_call_nothing() {
    for method in ["GET", "PUT", "DELETE"] {
        let (world, service, mut first) = kept().await;
        let request = POST.replacen("POST", method, 1);
        let serve = async {
            first.until("hello").await;
            drop(first);
            let mut second = service.accept().await;
            let again = second.until("hello").await;
            second.write(OK).await;
            again
        };
        let (answer, again) = join!(raw_call(world.address, &request), serve);
        assert_eq!(status(&answer), "200", "{method}: {answer}");
        assert!(again.starts_with(method), "{again}");
    }
}

#[tokio::test]
async fn a_call_that_may_have_had_effects_is_not_made_twice() {
    let (world, service, mut first) = kept().await;
    let serve = async {
        first.until("hello").await;
        drop(first);
    };
    let (answer, ()) = join!(raw_call(world.address, POST), serve);
    assert_eq!(status(&answer), "502", "{answer}");

    // Nor one that a new connection, or the beginning of an answer, has taken.
    let ((), answer) = join!(
        async {
            service.accept().await.head().await;
        },
        raw_call(world.address, GET)
    );
    assert_eq!(status(&answer), "502", "{answer}");
    let (world, _service, mut first) = kept().await;
    let serve = async {
        first.head().await;
        first.write("HTTP/1.1 200 ").await;
        drop(first);
    };
    let (answer, ()) = join!(raw_call(world.address, GET), serve);
    assert_eq!(status(&answer), "502", "{answer}");
}

#[tokio::test]
async fn a_call_whose_body_has_not_come_yet_is_sent_again() {
    let (world, service, mut first) = kept().await;
    let mut caller = Raw::connect(world.address).await;
    let (head, body) = POST.split_at(POST.len() - 5);
    caller.write(head).await;
    first.head().await;
    drop(first);
    let mut second = service.accept().await;
    second.head().await;
    caller.write(body).await;
    assert_eq!(second.exactly(5).await, b"hello");
    second.write(OK).await;
    assert_eq!(status(&caller.head().await), "200");
}

#[tokio::test]
async fn connections_are_kept_and_closed_when_idle() {
    let (world, _service, mut first) = kept().await;
    for _ in 0..3 {
        let serve = async {
            first.head().await;
            first.write(OK).await;
        };
        let (answer, ()) = join!(raw_call(world.address, GET), serve);
        assert_eq!(status(&answer), "200");
    }
    assert_eq!(first.rest().await, "");
}

#[tokio::test]
async fn many_calls_share_an_http2_connection() {
    let peers = std::sync::Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let seen = std::sync::Arc::clone(&peers);
    let answer = any(
        move |info: axum::extract::ConnectInfo<std::net::SocketAddr>| async move {
            seen.lock().unwrap().insert(info.0);
            "ok"
        },
    );
    let service = Router::new().fallback(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async { axum::serve(listener, service).await });
    let world = World::before(address, &["--upstream-http2"]).await;
    let calls = (0..20).map(|_| raw_call(world.address, GET));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(status(&answer), "200", "{answer}");
    }
    assert_eq!(peers.lock().unwrap().len(), 1);
}

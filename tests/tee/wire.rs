//! With the layer and without it: the same bytes, over HTTP/1.1 and over HTTP/2.

use std::net::SocketAddr;

use tower::{Layer, service_fn};

use crate::{
    exchange::{DATA, HEADERS, RST_STREAM, RawFrame, exchange},
    responses::{Case, End, cases, respond},
    support::{caller::raw, rig::Rig, server::serve},
};

/// What is compared: a service alone, and the same in the layer.
struct Pair {
    rig: Rig,
    bare: SocketAddr,
    layered: SocketAddr,
}

impl Pair {
    async fn new() -> Self {
        let rig = Rig::new().await;
        Self {
            bare: serve(service_fn(respond)).await.address,
            layered: serve(rig.layer().layer(service_fn(respond))).await.address,
            rig,
        }
    }
}

/// A panic cuts the connection, at no certain byte.
fn comparable() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.name != "panic")
}

#[tokio::test]
async fn the_same_bytes_over_h1() {
    let pair = Pair::new().await;
    for case in comparable() {
        let alone = talk_h1(pair.bare, &case, &case.path()).await;
        assert!(alone.starts_with(b"HTTP/1.1 "), "{}", case.name);
        for target in [case.path(), pair.rig.asking(&case.path())] {
            let layered = talk_h1(pair.layered, &case, &target).await;
            let [layered, alone] = [&layered, &alone].map(|bytes| bytes.escape_ascii().to_string());
            assert_eq!(layered, alone, "{target}");
        }
    }
    assert_eq!(
        pair.rig.dispatcher.counts().accepted,
        comparable().count() as u64
    );
}

async fn talk_h1(server: SocketAddr, case: &Case, target: &str) -> Vec<u8> {
    let method = &case.method;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n"
    );
    raw(server, request).await
}

#[tokio::test]
async fn the_same_frames_over_h2() {
    let pair = Pair::new().await;
    for case in comparable() {
        let alone = exchange(pair.bare, case.method.as_str(), &case.path()).await;
        assert!(!alone.is_empty());
        for target in [case.path(), pair.rig.asking(&case.path())] {
            let layered = exchange(pair.layered, case.method.as_str(), &target).await;
            assert_eq!(layered, alone, "{target}");
        }
    }
    assert_eq!(
        pair.rig.dispatcher.counts().accepted,
        comparable().count() as u64
    );
}

/// So that the comparisons above compare something: this is what they look at.
#[tokio::test]
async fn the_bytes_are_those_of_the_cases() {
    let bare = serve(service_fn(respond)).await.address;
    let case = |name| cases().into_iter().find(|case| case.name == name).unwrap();

    let stream = talk_h1(bare, &case("stream"), "/stream").await;
    assert!(stream.ends_with(b"\r\n\r\n4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n"));
    let trailers = talk_h1(bare, &case("trailers"), "/trailers").await;
    assert!(trailers.ends_with(b"0\r\nx-sum: 7\r\n\r\n"));
    let head = String::from_utf8(talk_h1(bare, &case("head"), "/head").await).unwrap();
    assert!(head.contains("\r\ncontent-length: 8\r\n") && head.ends_with("\r\n\r\n"));

    let kinds = |frames: &[RawFrame]| frames.iter().map(|frame| frame.kind).collect::<Vec<_>>();
    let frames = exchange(bare, "GET", "/trailers").await;
    assert_eq!(kinds(&frames), [HEADERS, DATA, DATA, HEADERS]);
    let frames = exchange(bare, "GET", "/error").await;
    assert_eq!(kinds(&frames).last(), Some(&RST_STREAM));
    assert!(
        cases()
            .iter()
            .any(|case| matches!(case.end, End::Failed(_)))
    );
}

//! Calls that are none: whom they are for, or where they end, can be read in two ways.

use crate::{
    raw::{Raw, echo, raw_call, status},
    world::{SECRET, World},
};

/// Calls that ask for a webhook and are refused: none of them may make one.
async fn refused(calls: &[(&str, &str, &str)]) {
    let mut world = World::of(echo(), &["--insecure-private-endpoints"]).await;
    let query = format!("?webhookEndpoint={}", world.endpoint);
    let rest = format!("x-webhook-secret: {SECRET}\r\nconnection: close\r\n\r\n0\r\n\r\n");
    for (line, headers, expected) in calls {
        let line = line.replacen(" HTTP", &format!("{query} HTTP"), 1);
        let answer = raw_call(world.address, format!("{line}\r\n{headers}{rest}")).await;
        assert_eq!(status(&answer), *expected, "{line} {headers}\n{answer}");
    }
    let last = format!("GET /{query} HTTP/1.1\r\nhost: a\r\n{rest}");
    assert_eq!(status(&raw_call(world.address, last).await), "200");
    world.webhook().await;
    world.proxy.signal("TERM");
    let end = world.proxy.stderr.line_with("drained").await;
    assert!(end.contains("accepted=1 "), "only the last: {end}");
}

#[tokio::test]
async fn whom_a_call_is_for_must_be_clear() {
    refused(&[
        ("GET / HTTP/1.1", "", "400"),
        ("GET / HTTP/1.1", "host: a\r\nhost: a\r\n", "400"),
        ("GET / HTTP/1.1", "host: a\r\nHost: b\r\n", "400"),
        ("GET / HTTP/1.0", "host: a\r\nhost: b\r\n", "400"),
        ("GET / HTTP/1.1", "host:\r\n", "400"),
        ("GET / HTTP/1.1", "host: a b\r\n", "400"),
        ("GET / HTTP/1.1", "host: me@a\r\n", "400"),
        ("GET / HTTP/1.1", "host: a/b\r\n", "400"),
        ("GET / HTTP/1.1", "host: http://a\r\n", "400"),
        ("GET / HTTP/1.1", "host: :80\r\n", "400"),
        ("GET / HTTP/1.1", "host: a:99999\r\n", "400"),
        ("GET / HTTP/1.1", "host: a:b\r\n", "400"),
        ("GET / HTTP/1.1", "host: a:+1\r\n", "400"),
        ("GET / HTTP/1.1", "host: [::1\r\n", "400"),
        ("GET / HTTP/1.1", "host: \u{e4}\r\n", "400"),
        ("GET http://b/ HTTP/1.1", "host: a\r\n", "400"),
        ("GET http://a:81/ HTTP/1.1", "host: a\r\n", "400"),
        ("GET http://me@a/ HTTP/1.1", "host: a\r\n", "400"),
        ("GET a HTTP/1.1", "host: a\r\n", "400"),
        ("GET * HTTP/1.1", "host: a\r\n", "400"),
    ])
    .await;
}

#[tokio::test]
async fn where_a_call_ends_must_be_clear() {
    const CHUNKED: &str = "host: a\r\ntransfer-encoding: chunked\r\n";
    let with = |more: &str| format!("{CHUNKED}{more}");
    let before = |more: &str| format!("{more}{CHUNKED}");
    let new: [(String, &str); 17] = [
        (with("content-length: 5\r\n"), "400"),
        (with("Content-Length: none\r\n"), "400"),
        (before("content-length: 5\r\n"), "400"),
        (before("content-length: 0\r\n"), "400"),
        (with("transfer-encoding: chunked\r\n"), "400"),
        (with("transfer-encoding: gzip\r\n"), "400"),
        (before("transfer-encoding: gzip\r\n"), "501"),
        (before("x: 1\r\n folded\r\n"), "400"),
        (before("x : 1\r\n"), "400"),
        (before("x: a\x01b\r\n"), "400"),
        (
            "host: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n".to_owned(),
            "400",
        ),
        ("host: a\r\ncontent-length: 2, 2\r\n".to_owned(), "400"),
        ("host: a\r\ncontent-length: +2\r\n".to_owned(), "400"),
        ("host: a\r\ncontent-length:\r\n".to_owned(), "400"),
        (
            "host: a\r\ntransfer-encoding: gzip, chunked\r\n".to_owned(),
            "501",
        ),
        (
            "host: a\r\ntransfer-encoding: chunked, chunked\r\n".to_owned(),
            "400",
        ),
        (
            "host: a\r\ntransfer-encoding : chunked\r\n".to_owned(),
            "400",
        ),
    ];
    let new = new
        .iter()
        .map(|(headers, expected)| ("POST / HTTP/1.1", &headers[..], *expected));
    let old = ("POST / HTTP/1.0", CHUNKED, "400");
    refused(&new.chain([old]).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_length_beside_chunks_is_seen_on_a_connection_that_goes_on() {
    let world = World::of(echo(), &[]).await;
    let mut caller = Raw::connect(world.address).await;
    const SIZED: &str = "\r\ncontent-length: 5\r\nhello!";
    const CHUNK: &str = "\r\ncontent-length: 5\r\n\r\n";
    let post = |rest: String| format!("POST / HTTP/1.1\r\nhost: a\r\n{rest}");
    let sized = post(format!("content-length: {}\r\n\r\n{SIZED}", SIZED.len()));
    let chunks = format!(
        "{:x};b=\"c\"\r\n{CHUNK}\r\n3\r\nend\r\n0\r\nd: e\r\n\r\n",
        CHUNK.len()
    );
    let chunked = post(format!("transfer-encoding: chunked\r\n\r\n{chunks}"));
    let empty = post("\r\n".to_owned());
    let all = [
        (&sized, SIZED.to_owned()),
        (&chunked, format!("{CHUNK}end")),
        (&empty, String::new()),
        (&chunked, format!("{CHUNK}end")),
        (&sized, SIZED.to_owned()),
    ];
    // In one go, and byte by byte: how they arrive must not count.
    for parts in [usize::MAX, 1] {
        for (request, echoed) in &all {
            for part in request.as_bytes().chunks(parts) {
                caller.write(part).await;
            }
            let head = caller.head().await;
            assert_eq!(status(&head), "200", "{request}");
            assert_eq!(caller.exactly(echoed.len()).await, echoed.as_bytes());
        }
    }
    let pipelined = [&sized[..], &chunked, &empty].concat();
    let both = post("content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned());
    caller.write(format!("{pipelined}{both}{empty}")).await;
    let answers = caller.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
}

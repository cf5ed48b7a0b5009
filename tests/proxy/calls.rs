//! What callers send that is odd, and what the service gets of it.

use tokio::join;

use crate::{
    raw::{OK, Raw, RawService, echo, header, raw_call, status},
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

#[tokio::test]
async fn what_is_a_call_arrives() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let own = service.address.to_string();
    for (before, line, headers, asked_line, asked_host) in [
        ("", "GET / HTTP/1.0", "", "GET /", &own[..]),
        ("", "GET / HTTP/1.0", "host: a\r\n", "GET /", "a"),
        (
            "",
            "GET http://a/b?c HTTP/1.1",
            "host: a\r\n",
            "GET /b?c",
            "a",
        ),
        (
            "",
            "GET http://A:80 HTTP/1.1",
            "host: a\r\n",
            "GET /",
            "A:80",
        ),
        ("", "OPTIONS * HTTP/1.1", "host: a\r\n", "OPTIONS *", "a"),
        (
            "",
            "GET //a//b? HTTP/1.1",
            "host: a:\r\n",
            "GET //a//b?",
            "a:",
        ),
        (
            "",
            "GET /? HTTP/1.1",
            "host: my_app\r\n",
            "GET /?",
            "my_app",
        ),
        (
            "",
            "GET /%2F%2f%z/../. HTTP/1.1",
            "host: [::1]:9\r\n",
            "GET /%2F%2f%z/../.",
            "[::1]:9",
        ),
        ("\r\n\n", "GET / HTTP/1.1", "host: a\r\n", "GET /", "a"),
    ] {
        let request = format!("{before}{line}\r\n{headers}connection: close\r\n\r\n");
        let (answer, asked) = join!(raw_call(world.address, &request), service.answer(OK));
        assert_eq!(status(&answer), "200", "{request}\n{answer}");
        let asked_line = format!("{asked_line} HTTP/1.1\r\n");
        assert!(asked.starts_with(&asked_line), "{asked}");
        assert_eq!(header(&asked, "host"), Some(asked_host));
    }
}

#[tokio::test]
async fn an_old_caller_gets_no_chunks_and_may_keep_its_connection() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
        2\r\nok\r\n0\r\n\r\n";
    let call = raw_call(world.address, "GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let (answer, _) = join!(call, service.answer(chunked));
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(header(&answer, "transfer-encoding"), None);

    let mut caller = Raw::connect(world.address).await;
    for _ in 0..2 {
        let request = "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n";
        caller.write(request).await;
        let (head, _) = join!(caller.head(), service.answer(OK));
        assert_eq!(header(&head, "connection"), Some("keep-alive"), "{head}");
        assert_eq!(caller.exactly(2).await, b"ok");
    }
}

#[tokio::test]
async fn a_thousand_header_lines_arrive_and_more_are_a_431() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let request = |lines: usize| {
        let more: String = (2..lines).map(|n| format!("x-{n}: {n}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n")
    };
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-many: 1\r\n".repeat(1000));
    let (answer, asked) = join!(
        raw_call(world.address, request(1000)),
        service.answer(&many)
    );
    assert_eq!(status(&answer), "200", "{answer}");
    assert_eq!(answer.matches("x-many: 1\r\n").count(), 1000);
    assert!(asked.contains("x-999: 999\r\n"), "{asked}");
    assert_eq!(status(&raw_call(world.address, request(1001)).await), "431");
}

#[tokio::test]
async fn a_long_target_arrives_and_a_longer_one_is_a_414() {
    let world = World::of(echo(), &[]).await;
    for (length, expected) in [(60_000, "200"), (70_000, "414")] {
        let path = "a".repeat(length);
        let request = format!("GET /{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&raw_call(world.address, request).await), expected);
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let world = World::of(echo(), &[]).await;
    let mut caller = Raw::connect(world.address).await;
    for (host, expected) in [("", "400"), ("host: a\r\n", "200"), ("", "400")] {
        let request = format!("POST / HTTP/1.1\r\n{host}content-length: 2\r\n\r\nok");
        caller.write(request).await;
        let head = caller.head().await;
        assert_eq!(status(&head), expected, "{head}");
        let length = header(&head, "content-length").unwrap().parse().unwrap();
        caller.exactly(length).await;
    }
}

#[tokio::test]
async fn who_expects_100_gets_it_before_the_body_is_sent() {
    let world = World::of(echo(), &[]).await;
    let mut caller = Raw::connect(world.address).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\
        connection: close\r\n\r\n";
    caller.write(head).await;
    assert_eq!(caller.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write("ok").await;
    let answer = caller.rest().await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn a_body_in_chunks_reaches_the_service_whatever_the_method() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    for method in ["GET", "HEAD", "DELETE", "POST", "odd"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        );
        let serve = async {
            let mut raw = service.accept().await;
            let head = raw.head().await;
            let body = raw.head().await;
            raw.write(OK).await;
            (head, body)
        };
        let (_, (head, body)) = join!(raw_call(world.address, request), serve);
        assert_eq!(
            header(&head, "transfer-encoding"),
            Some("chunked"),
            "{head}"
        );
        assert_eq!(body, "2\r\nok\r\n0\r\n\r\n", "{method}");
    }
}

//! What callers send that is odd, and what the service gets of it.

use tokio::join;

use crate::{
    raw::{OK, Raw, RawService, echo, header, raw_call, status},
    world::World,
};

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
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
        let body = "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let request = head + body;
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

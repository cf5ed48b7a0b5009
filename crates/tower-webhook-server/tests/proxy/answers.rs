//! What services answer that is odd, and what callers and endpoints get of it.

use http::Method;
use tokio::join;

use crate::{
    process::within,
    raw::{OK, Raw, RawService, header, raw_call, status},
    world::{SECRET, World},
};

const TRYING_OUT: &[&str] = &["--insecure-private-endpoints"];

struct Odd {
    service: RawService,
    world: World,
}

impl Odd {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(args: &[&str]) -> Self {
        let service = RawService::start().await;
        let world = World::before(service.address, &[TRYING_OUT, args].concat()).await;
        Self { service, world }
    }

    fn request(&self, method: &Method) -> String {
        let endpoint = &self.world.endpoint;
        format!(
            "{method} /?webhookEndpoint={endpoint} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
            x-webhook-secret: {SECRET}\r\n\r\n"
        )
    }

    /// What the caller gets when the service answers this.
    async fn call(&self, method: &Method, answer: &str) -> String {
        let call = raw_call(self.world.address, self.request(method));
        join!(call, self.service.answer(answer)).0
    }
}

/// Of an answer in chunks or not.
fn body(answer: &str) -> String {
    let (head, mut body) = answer.split_once("\r\n\r\n").unwrap();
    if header(head, "transfer-encoding").is_none() {
        return body.to_owned();
    }
    let mut joined = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        joined += &rest[..size];
        body = &rest[size + 2..];
        if size == 0 {
            return joined;
        }
    }
}

#[tokio::test]
async fn a_length_that_chunks_override_cuts_nothing() {
    let mut odd = Odd::start().await;
    let chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    for lengths in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: Chunked\r\nContent-Length: 6",
        "content-length: 5, 6\r\ntransfer-encoding:chunked",
        "content-length: none\r\ntransfer-encoding: chunked",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n{chunks}");
        let answer = odd.call(&Method::GET, &answer).await;
        assert_eq!(header(&answer, "content-length"), None, "{lengths}");
        assert_eq!(
            header(&answer, "transfer-encoding").unwrap().to_lowercase(),
            "chunked"
        );
        assert_eq!(body(&answer), "hello world", "{lengths}");
        assert_eq!(odd.world.webhook().await.body, "hello world", "{lengths}");
    }
}

#[tokio::test]
async fn equal_lengths_are_one() {
    let mut odd = Odd::start().await;
    for lengths in [
        "content-length: 2, 2",
        "content-length: 2\r\ncontent-length: 2",
        "Content-Length: 2,2\r\ncontent-length: 02",
        "Content-Length : 2",
        "content-length:\r\n 2",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nok and more");
        let answer = odd.call(&Method::GET, &answer).await;
        assert_eq!(header(&answer, "content-length"), Some("2"), "{lengths}");
        assert_eq!(body(&answer), "ok", "{lengths}");
        assert_eq!(odd.world.webhook().await.body, "ok", "{lengths}");
    }
}

#[tokio::test]
async fn what_nobody_can_read_for_certain_is_a_502() {
    let mut odd = Odd::start().await;
    for lines in [
        "content-length: 2, 3",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: two",
        "content-length: -2",
        "content-length: +2",
        "content-length:",
        "content-length: 99999999999999999999",
        "content-length: 2\x01",
        "content-length\x01: 2",
        "content-length 2",
        " content-length: 2",
        "x: 1\r\ncontent-length: \r\n \x02",
        "transfer-encoding: chunked\x01",
        "transfer-encoding: \x7fchunked\r\ncontent-length: 2",
        "transfer-encoding: gzip",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip,\r\n\tchunked",
        "transfer-encoding: chunked, chunked",
        "content-encoding: gz\x01ip",
        "content-type: text/plain\x01",
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok");
            let answer = odd.call(&method, &answer).await;
            assert_eq!(status(&answer), "502", "{lines:?}\n{answer}");
            assert_eq!(odd.world.webhook().await.status, 502, "{method} {lines:?}");
        }
    }
    let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert_eq!(status(&odd.call(&Method::GET, old).await), "502");
}

#[tokio::test]
async fn odd_lines_beside_are_skipped_and_the_rest_arrives() {
    let mut odd = Odd::start().await;
    for (lines, left) in [
        ("set-cookie: a=b\x01c\r\nx-b: 1", "x-b: 1"),
        ("x\x01y: 1\r\nx-b: 1", "x-b: 1"),
        ("no colon\r\nx-b: 1", "x-b: 1"),
        (": no name\r\nx-b: 1", "x-b: 1"),
        ("x-b : 1", "x-b: 1"),
        ("X-B: 1\r\n  2", "X-B: 1"),
        ("x-b: \u{e4}", "x-b: \u{e4}"),
        ("x-b:", "x-b: "),
    ] {
        let answer = format!("HTTP/1.1 200\r\n{lines}\r\nContent-Length: 2\r\n\r\nok");
        let answer = odd.call(&Method::GET, &answer).await;
        assert_eq!(status(&answer), "200", "{lines:?}\n{answer}");
        assert!(answer.contains(left), "{lines:?}\n{answer}");
        assert!(!answer.contains(['\x01']), "{answer}");
        assert_eq!(body(&answer), "ok");
        assert_eq!(odd.world.webhook().await.body, "ok");
    }
}

#[tokio::test]
async fn a_length_without_a_body_stays_where_it_may() {
    let mut odd = Odd::start().await;
    for (method, code, length) in [
        (Method::GET, 304, Some("11")),
        (Method::HEAD, 304, Some("11")),
        (Method::HEAD, 200, Some("11")),
        (Method::GET, 204, None),
        (Method::HEAD, 204, None),
    ] {
        for line in ["content-length: 11", "Content-Length: 11, 11"] {
            let answer = format!("HTTP/1.1 {code} Odd\r\n{line}\r\netag: a\r\n\r\n");
            let answer = odd.call(&method, &answer).await;
            assert_eq!(status(&answer), code.to_string());
            assert_eq!(header(&answer, "content-length"), length, "{method} {code}");
            assert_eq!(header(&answer, "transfer-encoding"), None);
            assert_eq!(header(&answer, "etag"), Some("a"));
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            let webhook = odd.world.webhook().await;
            assert_eq!((webhook.status, &webhook.body[..]), (code, &b""[..]));
        }
    }
}

#[tokio::test]
async fn a_304_with_a_length_leaves_the_connection_in_order() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let mut caller = Raw::connect(world.address).await;
    for _ in 0..3 {
        caller.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = "HTTP/1.1 304 Not Modified\r\ncontent-length: 11\r\nconnection: close\r\n\r\n";
        let (head, _) = join!(caller.head(), service.answer(answer));
        assert_eq!(status(&head), "304", "{head}");
        assert_eq!(header(&head, "content-length"), Some("11"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken_for_the_caller_and_not_delivered() {
    let mut odd = Odd::start().await;
    for cut in [
        "content-length: 11\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "transfer-encoding: chunked\r\n\r\nb\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nbad\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{cut}");
        let answer = odd.call(&Method::GET, &answer).await;
        if header(&answer, "content-length").is_some() {
            assert!(answer.ends_with("hello"), "{answer}");
        } else {
            assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        }
        let notice = odd.world.webhook().await;
        assert_eq!(notice.headers["x-webhook-failure"], "body-failed");
    }
    let whole = "HTTP/1.1 200 OK\r\n\r\nto the end";
    let answer = odd.call(&Method::GET, whole).await;
    assert_eq!(body(&answer), "to the end");
    let webhook = odd.world.webhook().await;
    assert_eq!(webhook.body, "to the end", "the only one");
}

const EARLY: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

#[tokio::test]
async fn what_comes_before_the_answer_goes_through_and_is_not_the_answer() {
    let mut odd = Odd::start().await;
    let answer = format!(
        "HTTP/1.1 100 Continue\r\n\r\n{EARLY}{EARLY}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    );
    for _ in 0..20 {
        let answer = odd.call(&Method::GET, &answer).await;
        let rest = answer.strip_prefix(HINT).expect(&answer);
        let rest = rest.strip_prefix(HINT).expect(&answer);
        assert_eq!(status(rest), "200", "{answer}");
        assert_eq!(header(rest, "link"), None);
        let webhook = odd.world.webhook().await;
        assert_eq!(webhook.status, 200);
        assert_eq!(webhook.body, "ok");
    }
    // Who speaks HTTP/1.0 knows of nothing before an answer.
    let old = async { raw_call(odd.world.address, "GET / HTTP/1.0\r\nhost: a\r\n\r\n").await };
    let (old, _) = tokio::join!(old, odd.service.answer(&answer));
    assert_eq!(status(&old), "200", "{old}");
}

#[tokio::test]
async fn a_hint_arrives_before_the_answer_is_made_and_one_of_each_of_many() {
    let odd = Odd::start().await;
    let mut caller = Raw::connect(odd.world.address).await;
    // Two at once, as some clients send them.
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    caller.write(request.repeat(2)).await;
    for _ in 0..2 {
        let mut service = odd.service.accept().await;
        service.head().await;
        service.write(EARLY).await;
        assert_eq!(caller.head().await, HINT);
        let large = "a".repeat(1 << 20);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{large}",
            large.len()
        );
        let (_, read) = tokio::join!(service.write(answer), async {
            assert_eq!(status(&caller.head().await), "200");
            caller.exactly(large.len()).await
        });
        assert_eq!(read, large.as_bytes());
    }
}

/// The answer of such a call has come already.
#[tokio::test]
async fn nothing_is_said_before_the_answer_where_a_202_was_given() {
    let mut odd = Odd::with(&["--async-requests"]).await;
    let mut caller = Raw::connect(odd.world.address).await;
    let endpoint = odd.world.endpoint.clone();
    let promised = format!("GET /?async=true&webhookEndpoint={endpoint} HTTP/1.1");
    let promised = format!("{promised}\r\nhost: a\r\nx-webhook-secret: {SECRET}\r\n\r\n");
    let request = format!("{promised}GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    caller.write(request).await;
    let mut first = odd.service.accept().await;
    let is_promised = first.head().await.starts_with("GET /?async");
    let mut second = odd.service.accept().await;
    second.head().await;
    if !is_promised {
        std::mem::swap(&mut first, &mut second);
    }
    let accepted = caller.head().await;
    assert_eq!(status(&accepted), "202");
    let length = header(&accepted, "content-length").unwrap();
    caller.exactly(length.parse().unwrap()).await;
    first.write(EARLY).await;
    first.write(OK).await;
    assert_eq!(odd.world.webhook().await.body, "ok");
    second.write(OK).await;
    assert_eq!(status(&caller.head().await), "200");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_arrives() {
    let odd = Odd::start().await;
    let mut caller = Raw::connect(odd.world.address).await;
    caller
        .write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n")
        .await;
    let mut service = odd.service.accept().await;
    service.head().await;
    let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    service.write(answer).await;
    let head = caller.head().await;
    assert_eq!(status(&head), "413", "{head}");
    assert_eq!(within(caller.exactly(2)).await, b"no");
}

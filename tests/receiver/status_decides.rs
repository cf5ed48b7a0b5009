//! Once the head of an answer is complete its status is the outcome, whatever follows.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_webhook::event::Outcome;

use crate::{
    answered,
    authority::{Authority, named},
    gone,
    hostile::{Api, Receiver, pause, resume},
    tls::request,
};

/// What a receiver does after its words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Closes, behind TLS without a `close_notify`.
    Close,
    /// Resets the connection.
    Reset,
    /// Says no more, and keeps the connection.
    Stall,
    /// Sends this again and again.
    Repeat(&'static str),
}

const AFTER_ALL: [Then; 3] = [Then::Close, Then::Reset, Then::Stall];

async fn plain(words: Vec<u8>, then: Then) -> (Outcome, Duration) {
    let receiver = Receiver::new(move |mut conn| {
        let words = words.clone();
        async move {
            conn.request().await.unwrap();
            conn.say(words).await;
            conn.here();
            match then {
                Then::Close => {}
                Then::Reset => conn.reset(),
                Then::Stall => conn.closed().await,
                Then::Repeat(more) => conn.say_for_ever(more).await,
            }
        }
    });
    attempt(Api::new(), receiver.url(), receiver, then).await
}

async fn tls(authority: &Authority, words: Vec<u8>, then: Then) -> (Outcome, Duration) {
    let acceptor = authority.certify(&named("receiver.example.com"));
    let receiver = Receiver::new(move |conn| {
        let (acceptor, words) = (acceptor.clone(), words.clone());
        async move {
            // Behind a handshake a socket as it comes waits for an acknowledgement first. A paused clock
            // does not.
            if matches!(then, Then::Reset | Then::Stall) {
                conn.send_at_once();
            }
            let mut tls = acceptor.accept(conn).await.unwrap();
            request(&mut tls).await.unwrap();
            tls.write_all(&words).await.unwrap();
            tls.flush().await.unwrap();
            tls.get_ref().0.here();
            match then {
                Then::Close => {}
                Then::Reset => tls.into_inner().0.reset(),
                Then::Stall => while !matches!(tls.read(&mut [0; 99]).await, Ok(0) | Err(_)) {},
                Then::Repeat(more) => {
                    let more = more.repeat(999);
                    while tls.write_all(more.as_bytes()).await.is_ok() {}
                }
            }
        }
    });
    attempt(authority.trusted(), receiver.https(), receiver, then).await
}

async fn attempt(
    mut api: Api,
    url: String,
    mut receiver: Receiver,
    then: Then,
) -> (Outcome, Duration) {
    api.send(&url).await;
    receiver.reached().await;
    if then == Then::Stall {
        pause();
    }
    let attempted = api.only_attempt().await;
    gone(api, receiver).await;
    resume();
    (attempted.outcome, attempted.took)
}

/// This answer is one with this status, plain and in TLS, whatever comes after it.
async fn is_answered(words: impl AsRef<[u8]>, status: u16, thens: &[Then]) {
    let words = words.as_ref();
    let authority = Authority::new();
    for &then in thens {
        let shown = words[..words.len().min(200)].escape_ascii();
        println!("{then:?} after {shown}"); // shown when it fails
        assert_eq!(plain(words.to_vec(), then).await.0, answered(status));
        let in_tls = tls(&authority, words.to_vec(), then).await;
        assert_eq!(in_tls.0, answered(status), "in TLS");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_in_any_place() {
    for rest in [
        "\r\n",
        "content-length: 9\r\n\r\n",
        "content-length: 9\r\n\r\n12345",
        "connection: close\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5",
        "transfer-encoding: chunked\r\n\r\n5\r\nhel",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "transfer-encoding: chunked\r\ntrailer: x\r\n\r\n0\r\nx: b",
    ] {
        let words = format!("HTTP/1.1 200 OK\r\n{rest}");
        is_answered(words, 200, &AFTER_ALL).await;
    }
    is_answered("HTTP/1.0 201 Created\r\n\r\n", 201, &AFTER_ALL).await;
    is_answered(
        "HTTP/1.0 404 x\r\ncontent-length: 9\r\n\r\nx",
        404,
        &AFTER_ALL,
    )
    .await;
}

#[tokio::test]
async fn a_body_that_is_no_body() {
    for rest in [
        "zz\r\n",
        "fffffffffffffffff\r\n",
        "-1\r\n",
        "\r\n\r\n",
        "5\r\nhello!!\r\n0\r\n\r\n",
        "5;\u{0}\r\nhello\r\n0\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n: \u{1}\r\n\r\n",
        "0\r\n folded\r\n\r\n",
    ] {
        let words = format!("HTTP/1.1 503 x\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
        is_answered(words, 503, &[Then::Close, Then::Stall]).await;
    }
}

#[tokio::test]
async fn a_body_without_end() {
    for (rest, more) in [
        ("content-length: 18446744073709551613\r\n\r\n", "x"),
        ("connection: close\r\n\r\n", "x"),
        ("transfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("transfer-encoding: chunked\r\n\r\n5", ";a=b"),
        ("transfer-encoding: chunked\r\n\r\n0\r\n", "a: b\r\n"),
        ("content-length: 0\r\n\r\n", "x"),
        ("content-length: -1\r\n\r\n", "x"),
    ] {
        let words = format!("HTTP/1.1 200 OK\r\n{rest}");
        is_answered(words, 200, &[Then::Repeat(more)]).await;
    }
}

/// The permit is not held until the deadline.
#[tokio::test]
async fn a_body_that_stalls_is_not_waited_for() {
    let words = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    let (outcome, took) = plain(words.to_vec(), Then::Stall).await;
    assert_eq!(outcome, answered(200));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn lines_that_are_malformed() {
    for line in [
        "set-cookie: a=b\u{1}c",
        "set-cookie: a=\u{7f}",
        "x: a\0b",
        "x: a\rb",
        "x : space before the colon",
        "x\t: tab before the colon",
        "x: folded\r\n over lines",
        " folded: from the start",
        "\tfolded",
        "no colon",
        ": no name",
        ":",
        "na me: x",
        "na\u{1}me: x",
        "naïve: x",
        "x: naïve",
        "(x): y",
        "\"x\": y",
        "content-length: -1",
        "content-length: +1",
        "content-length: 0x1",
        "content-length: 1, 2",
        "content-length: ",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 99999999999999999999999",
        "content-length : 5",
        "content-length\u{1}: 5",
        "transfer-encoding: rubbish",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: \u{1}chunked",
        "transfer-encoding : chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "transfer-encoding: chunked\r\ncontent-length: x",
        "connection: \u{1}",
    ] {
        for (place, words) in [
            format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{line}\r\nserver: x\r\n\r\nok"),
            format!("HTTP/1.1 200 OK\r\nserver: x\r\n{line}\r\ncontent-length: 0\r\n\r\n"),
            format!("HTTP/1.0 200 OK\r\n{line}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\n{line}\nserver: x\n\n"),
        ]
        .into_iter()
        .enumerate()
        {
            println!("{line:?} in place {place}"); // shown when it fails
            assert_eq!(
                plain(words.into_bytes(), Then::Stall).await.0,
                answered(200)
            );
        }
    }
    is_answered("HTTP/1.1 200 OK\r\nx: \u{1}\r\n\r\n", 200, &AFTER_ALL).await;
}

#[tokio::test]
async fn a_status_line_that_is_odd() {
    for (line, status) in [
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1  200 OK", 200),
        ("HTTP/1.1 204 \u{e9}\u{1}\t", 204),
        ("HTTP/1.1 500 Grüße", 500),
        ("HTTP/1.0 404", 404),
        ("\r\nHTTP/1.1 410 Gone", 410),
        ("\nHTTP/1.1 999 ", 999),
    ] {
        for words in [format!("{line}\r\n\r\n"), format!("{line}\na: b\n\n")] {
            println!("{words:?}"); // shown when it fails
            let outcome = plain(words.into_bytes(), Then::Close).await.0;
            assert_eq!(outcome, answered(status));
        }
    }
    let latin = b"HTTP/1.1 201 Cr\xe9\xe9\r\nx: \xff\xfe\r\n\xe9: x\r\n\r\n";
    is_answered(latin, 201, &AFTER_ALL).await;
}

#[tokio::test]
async fn many_lines() {
    for count in [64, 65, 100, 101, 2_000] {
        let words = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        is_answered(words, 200, &[Then::Close, Then::Stall]).await;
    }
}

#[tokio::test]
async fn an_interim_answer_that_is_malformed() {
    let words = "HTTP/1.1 103 Early\u{1}\r\nlink: \u{1}\r\nno colon\r\n\r\n\
                 HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
    is_answered(words, 202, &AFTER_ALL).await;
}

#[tokio::test]
async fn a_head_that_comes_in_pieces() {
    let words = "HTTP/1.1 200 \u{1}OK\r\ncontent-length: -1\r\nset-cookie: a\u{1}\r\n\r\n";
    let receiver = Receiver::new(move |mut conn| async move {
        conn.request().await.unwrap();
        for byte in words.bytes() {
            conn.say([byte]).await;
            tokio::task::yield_now().await;
        }
        conn.closed().await;
    });
    let mut api = Api::new();
    assert_eq!(api.attempt(&receiver.url()).await.outcome, answered(200));
    gone(api, receiver).await;
}

#[tokio::test]
async fn a_malformed_line_hides_no_wish_to_wait() {
    for line in ["x: \u{1}", "content-length: x"] {
        let words = format!("HTTP/1.1 404 x\r\n{line}\r\nretry-after: 7\r\n\r\n");
        let (outcome, _) = plain(words.into_bytes(), Then::Close).await;
        let wished = Some(Duration::from_secs(7));
        assert_eq!(
            outcome,
            Outcome::answered(http::StatusCode::NOT_FOUND, wished)
        );
    }
}

/// A line that is skipped costs the receiver nothing: its connection is used again.
#[tokio::test]
async fn a_connection_with_odd_lines_is_used_again() {
    for line in ["set-cookie: a=\u{1}", "x : y", "x: a\r\n b", "no colon"] {
        let receiver = Receiver::answering(format!(
            "HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 2\r\n\r\nok"
        ));
        let mut api = Api::new();
        for _ in 0..3 {
            api.send(&receiver.url()).await;
            assert_eq!(api.attempted().await.outcome, answered(200), "{line}");
        }
        assert_eq!(receiver.accepted(), 1, "{line}");
        gone(api, receiver).await;
    }
}

/// A server may tell an idle connection why it closes it. That answers no delivery.
#[tokio::test]
async fn what_is_said_to_nobody_is_no_answer() {
    let receiver = Receiver::new(|mut conn| async move {
        conn.request().await.unwrap();
        conn.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        conn.here();
        conn.say("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n")
            .await;
    });
    let mut api = Api::new();
    for _ in 0..3 {
        api.send(&receiver.url()).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    gone(api, receiver).await;
}

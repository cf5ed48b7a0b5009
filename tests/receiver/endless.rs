//! Receivers that talk without end.

use tower_webhook::event::Outcome;

use crate::{
    LOST, answered,
    hostile::{Api, Conn, Receiver},
};

/// What is read at most, and what the buffers of both sides can hold besides.
pub(crate) const MOST: usize = (256 << 10) + (6 << 20);

async fn attempt<F>(script: impl Fn(Conn) -> F + Send + 'static) -> (Outcome, usize)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut receiver = Receiver::new(script);
    let mut api = Api::new();
    let attempted = api.attempt(&receiver.url()).await;
    receiver.over().await;
    let sent = receiver.sent();
    assert_eq!((receiver.accepted(), receiver.open()), (1, 0));
    crate::gone(api, receiver).await;
    (attempted.outcome, sent)
}

async fn floods(start: &'static str, more: &'static str) -> Outcome {
    let (outcome, sent) = attempt(move |mut conn| async move {
        conn.request().await.unwrap();
        conn.say(start).await;
        conn.say_for_ever(more).await;
    })
    .await;
    assert!(sent < MOST, "{sent} bytes were taken of {more:?}");
    outcome
}

#[tokio::test]
async fn interim_answers() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload; as=style\r\n\r\n",
        "HTTP/1.1 199 Whatever\r\n\r\n",
    ] {
        assert_eq!(floods("", interim).await, LOST, "{interim}");
    }
}

#[tokio::test]
async fn a_few_interim_answers_are_no_harm() {
    let answer = format!(
        "{}HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(9)
    );
    let receiver = Receiver::answering(answer);
    let mut api = Api::new();
    assert_eq!(api.attempt(&receiver.url()).await.outcome, answered(204));
    crate::gone(api, receiver).await;
}

#[tokio::test]
async fn headers() {
    assert_eq!(floods("HTTP/1.1 200 OK\r\n", "a: b\r\n").await, LOST);
}

#[tokio::test]
async fn too_many_headers_or_a_large_one() {
    for headers in [
        "a: b\r\n".repeat(100_000),
        format!("a: {}\r\n", "b".repeat(400 << 10)),
        format!("{}: b\r\n", "a".repeat(400 << 10)),
    ] {
        let (outcome, _) = attempt(move |mut conn| {
            let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
            async move {
                conn.request().await.unwrap();
                conn.say(answer).await;
                conn.closed().await;
            }
        })
        .await;
        assert_eq!(outcome, LOST);
    }
}

#[tokio::test]
async fn a_reason() {
    assert_eq!(floods("HTTP/1.1 200 ", "OK").await, LOST);
}

#[tokio::test]
async fn a_chunk_extension() {
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5";
    assert_eq!(floods(start, ";a=b").await, answered(200));
}

#[tokio::test]
async fn chunk_extensions() {
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n";
    assert_eq!(floods(start, chunk).await, answered(200));
}

#[tokio::test]
async fn trailers() {
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
    assert_eq!(floods(start, "a: b\r\n").await, answered(200));
}

/// The status is known; how much follows it is of no interest.
#[tokio::test]
async fn a_body() {
    for (start, more) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551613\r\n\r\n",
            "x",
        ),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "x"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
        ),
    ] {
        assert_eq!(floods(start, more).await, answered(200), "{start}");
    }
}

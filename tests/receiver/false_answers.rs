//! Answers that are not what they say, or nothing at all.

use std::time::Duration;

use tower_webhook::event::Outcome;

use crate::{
    LOST, answered, gone,
    hostile::{Api, Attempted, Receiver, header, pause, resume},
};

/// What comes of this answer. The receiver leaves it to the client to close.
async fn attempt(answer: impl Into<Vec<u8>>) -> Attempted {
    let receiver = Receiver::answering(answer);
    let mut api = Api::new();
    let attempted = api.attempt(&receiver.url()).await;
    gone(api, receiver).await;
    attempted
}

/// The same where the answer must cost it its connection while the client lives on.
async fn attempt_and_close(answer: impl Into<Vec<u8>>) -> Attempted {
    let mut receiver = Receiver::answering(answer);
    let mut api = Api::new();
    let attempted = api.attempt(&receiver.url()).await;
    receiver.over().await;
    gone(api, receiver).await;
    attempted
}

#[tokio::test]
async fn what_is_not_http() {
    for garbage in [
        "hello, this is HTTP/0.9\r\n",
        "<html></html>",
        "\r\n\r\n\r\nSSH-2.0-OpenSSH_9.2\r\n",
        "220 mail.example.com ESMTP\r\n",
        "+OK\r\n-ERR\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let attempted = attempt_and_close(garbage).await;
        assert_eq!(attempted.outcome, LOST, "{garbage:?}");
        assert!(attempted.again, "{garbage:?}");
    }
}

#[tokio::test]
async fn a_switch_of_protocols() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let attempted = attempt_and_close(switch).await;
    assert_eq!(attempted.outcome, answered(101));
    assert!(attempted.again);
}

#[tokio::test]
async fn statuses_of_no_meaning() {
    for status in [304, 399, 600, 999] {
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        let attempted = attempt(answer).await;
        assert_eq!(attempted.outcome, answered(status));
        assert!(attempted.again, "{status}");
    }
}

/// What is left over must not be taken for the answer to the next delivery.
#[tokio::test]
async fn more_than_the_declared_length() {
    for length in [
        "content-length: 2",
        "content-length: 0",
        "transfer-encoding: chunked",
    ] {
        let body = match length {
            "content-length: 2" => "ok",
            "content-length: 0" => "",
            _ => "2\r\nok\r\n0\r\n\r\n",
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{body}HTTP/1.1 410 Gone\r\n\r\n");
        let mut receiver = Receiver::answering(answer);
        let mut api = Api::new();
        for delivery in 1..=3 {
            api.send(&receiver.url()).await;
            assert_eq!(api.attempted().await.outcome, answered(200), "{length}");
            receiver.over().await;
            assert_eq!(receiver.accepted(), delivery);
        }
        gone(api, receiver).await;
    }
}

#[tokio::test]
async fn two_lengths_at_once() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                  0\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n";
    let attempted = attempt_and_close(answer).await;
    assert_eq!(attempted.outcome, answered(200));
}

#[tokio::test]
async fn a_wish_to_wait() {
    for (wish, understood) in [
        ("99999999", Some(Duration::from_secs(99_999_999))),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("-1", None),
        ("soon", None),
        ("", None),
    ] {
        let answer = format!("HTTP/1.1 404 x\r\nretry-after: {wish}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer);
        let mut api = Api::new();
        api.send(&receiver.url()).await;
        let attempted = api.attempted().await;
        match attempted.outcome {
            Outcome::Answered { retry_after, .. } => assert_eq!(retry_after, understood, "{wish}"),
            other => panic!("{other}"),
        }
        let again_in = attempted.again_in.expect("another attempt follows");
        assert!(again_in < Duration::from_secs(10), "{wish}");
        pause();
        while api.attempted().await.attempt < 3 {}
        gone(api, receiver).await;
        resume();
    }
}

#[tokio::test]
async fn what_is_compressed_stays_so() {
    let bomb =
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\xff\xff";
    let receiver = Receiver::answering(&bomb[..]);
    let mut api = Api::new();
    assert_eq!(api.attempt(&receiver.url()).await.outcome, answered(200));
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(header(&requests[0].head, "accept-encoding"), None);
    gone(api, receiver).await;
}

#[tokio::test]
async fn an_answer_larger_than_is_read() {
    for length in [16 << 10, 17 << 10, 1 << 20] {
        let body = "x".repeat(length);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut receiver = Receiver::answering(answer);
        let mut api = Api::new();
        for _ in 0..2 {
            api.send(&receiver.url()).await;
            assert_eq!(api.attempted().await.outcome, answered(200));
            if length > 64 << 10 {
                receiver.over().await;
            }
        }
        match length {
            0x4000 => assert_eq!(receiver.accepted(), 1, "read to its end, and used again"),
            0x10_0000 => assert_eq!(receiver.accepted(), 2, "not read to its end"),
            _ => {}
        }
        gone(api, receiver).await;
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let trap = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
        let location = trap.url();
        let receiver = Receiver::answering(format!(
            "HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ));
        let mut api = Api::new();
        let attempted = api.attempt(&receiver.url()).await;
        assert_eq!(attempted.outcome, answered(status));
        assert!(attempted.again);
        assert!(trap.saw_nobody().await);
        drop(trap);
        gone(api, receiver).await;
    }
}

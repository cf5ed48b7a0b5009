//! Receivers that stall: what only the deadline can end, and what need not wait for it.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    answered, ended,
    hostile::{Api, Conn, Receiver, pause},
};

#[tokio::test]
async fn never_answers() {
    let mut receiver = Receiver::new(|mut conn| async move {
        conn.request().await.unwrap();
        conn.here();
        conn.closed().await;
    });
    let mut api = Api::new();
    api.send(&receiver.url()).await;
    receiver.reached().await;
    api.attempt_at_deadline().await;
    ended(api, receiver).await;
}

#[tokio::test]
async fn stalls_after_the_head() {
    let mut receiver = Receiver::new(|mut conn| async move {
        conn.request().await.unwrap();
        conn.say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
            .await;
        conn.here();
        conn.closed().await;
    });
    let mut api = Api::new();
    api.send(&receiver.url()).await;
    receiver.reached().await;
    answered_early(&mut api).await;
    ended(api, receiver).await;
}

/// The status decides, and the rest is not waited for until the deadline.
async fn answered_early(api: &mut Api) {
    pause();
    let attempted = api.only_attempt().await;
    assert_eq!(attempted.outcome, answered(200));
    assert!(attempted.took < Duration::from_secs(3));
}

/// One byte a second, on the test's own clock, for as long as the client takes them.
async fn drip(mut conn: Conn, start: &'static str) {
    conn.request().await.unwrap();
    conn.say(start).await;
    conn.here();
    while conn.say("a").await {
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn drips_its_head() {
    let start = "HTTP/1.1 200 OK\r\nx: ";
    let mut receiver = Receiver::new(move |conn| drip(conn, start));
    let mut api = Api::new();
    api.send(&receiver.url()).await;
    receiver.reached().await;
    api.attempt_at_deadline().await;
    let dripped = receiver.sent() - start.len();
    assert!(dripped >= 10, "only {dripped} drops before the deadline");
    ended(api, receiver).await;
}

#[tokio::test]
async fn drips_its_body() {
    drips("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
}

#[tokio::test]
async fn drips_its_body_without_a_length() {
    drips("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
}

async fn drips(start: &'static str) {
    let mut receiver = Receiver::new(move |conn| drip(conn, start));
    let mut api = Api::new();
    api.send(&receiver.url()).await;
    receiver.reached().await;
    answered_early(&mut api).await;
    ended(api, receiver).await;
}

#[tokio::test]
async fn stalls_in_the_tls_handshake() {
    let mut receiver = Receiver::new(|mut conn| async move {
        conn.here();
        conn.closed().await;
    });
    let mut api = Api::new();
    api.send(&receiver.https()).await;
    receiver.reached().await;
    api.attempt_at_deadline().await;
    assert!(receiver.requests().is_empty());
    ended(api, receiver).await;
}

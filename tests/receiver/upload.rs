//! What can be done to a delivery's own bytes.

use std::time::Duration;

use bytes::Bytes;
use tokio::{io::AsyncReadExt, time::sleep};

use crate::{
    answered, ended,
    hostile::{ATTEMPT_TIMEOUT, Api, Conn, Receiver, pause, resume},
};

/// More than all the buffers on its way can hold.
const LARGE: usize = 16 << 20;

fn api() -> Api {
    Api::with(|builder| builder.with_body_limit(LARGE))
}

async fn send(api: &Api, receiver: &Receiver) {
    api.send_bytes(&receiver.url(), vec![b'x'; LARGE]).await;
}

/// A close comes behind the bytes that were sent before it: somebody has to read those.
async fn closed_long_after(mut conn: Conn) {
    sleep(Duration::from_secs(60)).await;
    conn.closed().await;
}

#[tokio::test]
async fn never_reads_the_upload() {
    let mut receiver = Receiver::new(|conn| async move {
        conn.here();
        closed_long_after(conn).await;
    });
    let mut api = api();
    send(&api, &receiver).await;
    receiver.reached().await;
    api.attempt_at_deadline().await;
    receiver.over().await;
    assert!(receiver.received() < LARGE);
    ended_without_over(api, receiver).await;
}

#[tokio::test]
async fn answers_and_never_reads_the_upload() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok",
    ] {
        let mut receiver = Receiver::new(move |mut conn| async move {
            conn.say(answer).await;
            conn.here();
            closed_long_after(conn).await;
        });
        let mut api = api();
        send(&api, &receiver).await;
        receiver.reached().await;
        assert_eq!(api.only_attempt().await.outcome, answered(200), "{answer}");
        pause();
        receiver.over().await;
        assert!(receiver.received() < LARGE, "{answer}");
        ended_without_over(api, receiver).await;
        resume();
    }
}

/// The answer was read in time: what is left of the upload is not waited for beyond the deadline,
/// and makes no other outcome of it.
#[tokio::test]
async fn answers_late_and_never_reads_the_upload() {
    let mut receiver = Receiver::new(|mut conn| async move {
        conn.here();
        sleep(ATTEMPT_TIMEOUT - Duration::from_millis(500)).await;
        conn.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        closed_long_after(conn).await;
    });
    let mut api = api();
    send(&api, &receiver).await;
    receiver.reached().await;
    pause();
    assert_eq!(api.only_attempt().await.outcome, answered(200));
    receiver.over().await;
    ended_without_over(api, receiver).await;
}

#[tokio::test]
async fn answers_early_and_reads_on() {
    let receiver = Receiver::new(|mut conn| async move {
        conn.say("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
            .await;
        conn.closed().await;
    });
    let mut api = api();
    send(&api, &receiver).await;
    assert_eq!(api.only_attempt().await.outcome, answered(413));
    // The connection is kept, until it is idle for too long.
    pause();
    ended(api, receiver).await;
    resume();
}

async fn ended_without_over(api: Api, receiver: Receiver) {
    assert_eq!((receiver.accepted(), receiver.open()), (1, 0));
    crate::gone(api, receiver).await;
}

/// Each byte that is read lets the client write, but not listen for longer.
#[tokio::test]
async fn talks_while_it_reads() {
    for pieces in [1, 1024] {
        let mut receiver = Receiver::new(|mut conn| async move {
            let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2_000);
            while conn.say(&interim).await && conn.tcp.read(&mut [0; 8_192]).await.is_ok() {}
        });
        let mut api = api();
        let piece = Bytes::from(vec![b'x'; LARGE / pieces]);
        api.send_pieces(&receiver.url(), vec![piece; pieces]).await;
        assert_eq!(api.only_attempt().await.outcome, crate::LOST);
        receiver.over().await;
        assert!(receiver.sent() < 4 << 20, "{}", receiver.sent());
        ended_without_over(api, receiver).await;
    }
}

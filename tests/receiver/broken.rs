//! Connections that end before the head of the answer does.

use tokio::io::AsyncReadExt;
use tower_webhook::event::{AttemptError, Outcome};

use crate::{
    LOST, ended,
    hostile::{Api, Attempted, Conn, Receiver},
};

/// Heads that are not complete.
const HEADS: [&str; 8] = [
    "",
    "HTTP/1.1",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\ncontent-",
    "HTTP/1.1 200 OK\r\nset-cookie: \u{1}\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
];

async fn attempt<F>(script: impl Fn(Conn) -> F + Send + 'static) -> Attempted
where
    F: Future<Output = ()> + Send + 'static,
{
    let receiver = Receiver::new(script);
    let mut api = Api::new();
    api.send_bytes(&receiver.url(), vec![b'x'; 1 << 20]).await;
    let attempted = api.only_attempt().await;
    assert!(attempted.again);
    ended(api, receiver).await;
    attempted
}

#[tokio::test]
async fn resets_on_accept() {
    let attempted = attempt(|conn| async move { conn.reset() }).await;
    // The reset can come before the connection is known to be open.
    let connect = Outcome::Failed(AttemptError::Connect);
    assert!([LOST, connect].contains(&attempted.outcome));
}

#[tokio::test]
async fn resets_within_the_request() {
    let script = |mut conn: Conn| async move {
        conn.tcp.read_exact(&mut [0; 1000]).await.unwrap();
        conn.reset();
    };
    assert_eq!(attempt(script).await.outcome, LOST);
}

#[tokio::test]
async fn resets_at_any_point_of_its_head() {
    for said in HEADS {
        let script = move |mut conn: Conn| async move {
            conn.request().await.unwrap();
            conn.say(said).await;
            conn.reset();
        };
        assert_eq!(attempt(script).await.outcome, LOST, "{said}");
    }
}

#[tokio::test]
async fn closes_at_any_point_of_its_head() {
    for said in HEADS {
        let script = move |mut conn: Conn| async move {
            conn.request().await.unwrap();
            conn.say(said).await;
        };
        assert_eq!(attempt(script).await.outcome, LOST, "{said}");
    }
}

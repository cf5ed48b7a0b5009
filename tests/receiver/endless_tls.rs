//! Receivers that talk without end in TLS itself, of which HTTP sees nothing.

use std::sync::Arc;

use rustls::server::ProducesTickets;
use tokio::io::AsyncWriteExt;

use crate::{
    LOST, answered,
    authority::{Authority, named},
    endless::MOST,
    hostile::Receiver,
    tls::request,
};

/// Makes session tickets that are nothing but large.
#[derive(Debug)]
struct Large;

/// Each fills a record, with the 49 bytes around it: rustls does not put many together from pieces.
const LEN: usize = (16 << 10) - 49;

impl ProducesTickets for Large {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3_600
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![b'x'; LEN])
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Far more than is read, and then an answer.
#[tokio::test]
async fn session_tickets() {
    let authority = Authority::new();
    let acceptor = authority.certify_with(&named("receiver.example.com"), |config| {
        config.ticketer = Arc::new(Large);
        config.send_tls13_tickets = 2 * MOST / LEN;
    });
    let mut receiver = Receiver::new(move |conn| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut tls) = acceptor.accept(conn).await {
                request(&mut tls).await;
                let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                request(&mut tls).await;
            }
        }
    });
    let mut api = authority.trusted();
    let attempted = api.attempt(&receiver.https()).await;
    assert_eq!(attempted.outcome, LOST);
    receiver.over().await;
    let sent = receiver.sent();
    assert!(sent < MOST, "{sent} bytes were taken");
    crate::gone(api, receiver).await;
}

#[tokio::test]
async fn each_attempt_over_a_connection_begins_anew() {
    let authority = Authority::new();
    let acceptor = authority.certify(&named("receiver.example.com"));
    let body = "x".repeat(16_000);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 16000\r\n\r\n{body}");
    let receiver = Receiver::new(move |conn| {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        async move {
            let mut tls = acceptor.accept(conn).await.unwrap();
            while request(&mut tls).await.is_some() {
                tls.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let mut api = authority.trusted();
    for _ in 0..40 {
        api.send(&receiver.https()).await;
        assert_eq!(api.attempted().await.outcome, answered(200));
    }
    assert!(receiver.sent() > 2 * (256 << 10));
    assert_eq!((receiver.accepted(), receiver.open()), (1, 1));
    crate::gone(api, receiver).await;
}

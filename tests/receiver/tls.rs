//! Who the receiver is.

use rcgen::{KeyPair, date_time_ymd};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tower_webhook::event::{AttemptError, Outcome};

use crate::{
    answered,
    authority::{Authority, acceptor, named},
    ended,
    hostile::{Api, Receiver},
};

const UNTRUSTED: Outcome = Outcome::Failed(AttemptError::Tls);

/// A receiver that speaks TLS and takes every delivery.
fn receiver(acceptor: TlsAcceptor) -> Receiver {
    Receiver::new(move |mut conn| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut tls) = acceptor.accept(&mut conn.tcp).await {
                request(&mut tls).await.unwrap();
                tls.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                    .await
                    .unwrap();
                let _ = tls.read(&mut [0]).await;
            }
        }
    })
}

/// Reads one request; `None` when the client has closed.
pub(crate) async fn request(tls: &mut (impl AsyncRead + Unpin)) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"done") {
        match tls.read_buf(&mut request).await {
            Ok(1..) => {}
            _ => return None,
        }
    }
    Some(())
}

async fn attempt(mut api: Api, receiver: Receiver) -> Outcome {
    let attempted = api.attempt(&receiver.https()).await;
    ended(api, receiver).await;
    attempted.outcome
}

#[tokio::test]
async fn a_trusted_receiver_is_delivered_to() {
    let authority = Authority::new();
    let receiver = receiver(authority.certify(&named("receiver.example.com")));
    assert_eq!(attempt(authority.trusted(), receiver).await, answered(204));
}

#[tokio::test]
async fn an_authority_that_nobody_trusts() {
    let authority = Authority::new();
    let receiver = receiver(authority.certify(&named("receiver.example.com")));
    assert_eq!(attempt(Api::new(), receiver).await, UNTRUSTED);
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let authority = Authority::new();
    for name in [
        "other.example.com",
        "*.receiver.example.com",
        "example.com",
        "127.0.0.1",
    ] {
        let receiver = receiver(authority.certify(&named(name)));
        assert_eq!(
            attempt(authority.trusted(), receiver).await,
            UNTRUSTED,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time() {
    let authority = Authority::new();
    let mut expired = named("receiver.example.com");
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut early = named("receiver.example.com");
    early.not_before = date_time_ymd(4000, 1, 1);
    for params in [expired, early] {
        let receiver = receiver(authority.certify(&params));
        assert_eq!(attempt(authority.trusted(), receiver).await, UNTRUSTED);
    }
}

#[tokio::test]
async fn a_certificate_of_its_own_making() {
    let key = KeyPair::generate().unwrap();
    let certificate = named("receiver.example.com").self_signed(&key).unwrap();
    let receiver = receiver(acceptor(&certificate, &key));
    assert_eq!(
        attempt(Authority::new().trusted(), receiver).await,
        UNTRUSTED
    );
}

#[tokio::test]
async fn plaintext_on_a_tls_port() {
    let receiver = Receiver::new(|mut conn| async move {
        conn.say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await;
        conn.closed().await;
    });
    assert_eq!(attempt(Api::new(), receiver).await, UNTRUSTED);
}

#[tokio::test]
async fn a_handshake_that_is_cut_off() {
    let receiver = Receiver::new(|mut conn| async move {
        conn.tcp.read_exact(&mut [0; 16]).await.unwrap();
        conn.reset();
    });
    let outcome = attempt(Api::new(), receiver).await;
    assert_eq!(outcome, Outcome::Failed(AttemptError::Connect));
}

//! Deliveries signed with a key of the service's own, verified by code that is not ours.

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use ring::signature::{ED25519, UnparsedPublicKey};
use standardwebhooks::Webhook;
use tower_webhook::{
    Dispatcher, Verifier,
    delivery::{PublicKey, SigningKey},
};

use crate::{
    call::{asking, call},
    support::{
        clock::Clock,
        receiver::{Received, Receiver},
        rig::Rig,
    },
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes([seed; 32])
}

/// The `v1a` signatures, in their order.
fn signatures(webhook: &Received) -> Vec<Vec<u8>> {
    let several = webhook.header("webhook-signature").split(' ');
    let keyed = several.filter_map(|one| one.strip_prefix("v1a,"));
    keyed.map(|one| BASE64.decode(one).unwrap()).collect()
}

/// Each of these keys has signed, in this order, and no other.
fn verify(webhook: &Received, keys: &[PublicKey]) {
    let (id, timestamp) = (
        webhook.header("webhook-id"),
        webhook.header("webhook-timestamp"),
    );
    let message = [format!("{id}.{timestamp}.").as_bytes(), &webhook.body].concat();
    let signatures = signatures(webhook);
    assert_eq!(signatures.len(), keys.len());
    for (key, signature) in keys.iter().zip(&signatures) {
        let theirs = UnparsedPublicKey::new(&ED25519, key.to_bytes());
        theirs.verify(&message, signature).unwrap();
        let ours = Verifier::from_public_key(*key);
        let verified = ours.verify(&webhook.headers, &webhook.body).unwrap();
        assert_eq!(verified.id(), id);
    }
}

#[tokio::test]
async fn every_delivery_has_the_signature_of_the_services_key() {
    let many = vec![b'x'; 70_000];
    let large = vec![b'y'; (1 << 20) + 1];
    let bodies: [&[&[u8]]; 5] = [
        &[],
        &[b"{}"],
        &[b"\0\xff", b"\r\n"],
        &[&many, b"z"],
        &[&large],
    ];
    for body in bodies {
        for (secret, id) in [
            (None, None),
            (Some("secret"), None),
            (Some("secret"), Some("run-1")),
        ] {
            let mut rig = Rig::with(|builder| builder.with_signing_key(key(7))).await;
            let frames: Vec<_> = body
                .iter()
                .map(|part| Bytes::copy_from_slice(part))
                .collect();
            let frames = stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
            let mut request = asking(&rig.receiver.url("/"));
            if let Some(secret) = secret {
                request = request.header("x-webhook-secret", secret);
            }
            if let Some(id) = id {
                request = request.header("x-request-id", id);
            }
            call(
                rig.layer(),
                request,
                Response::new(Body::from_stream(frames)),
            )
            .await;
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, body.concat());
            verify(&webhook, &[key(7).public_key()]);

            let branded = "x-cerebrium-webhook-signature";
            assert_eq!(webhook.headers.contains_key(branded), secret.is_some());
            let first = webhook
                .header("webhook-signature")
                .split(' ')
                .next()
                .unwrap();
            assert_eq!(first.starts_with("v1,"), secret.is_some(), "{first}");
            if let Some(secret) = secret {
                let verifier = Verifier::new(secret);
                verifier.verify(&webhook.headers, &webhook.body).unwrap();
                if std::str::from_utf8(&webhook.body).is_ok() {
                    let theirs = Webhook::from_bytes(secret.into()).unwrap();
                    theirs.verify(&webhook.body, &webhook.headers).unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn during_a_rotation_both_keys_sign() {
    let mut rig = Rig::with(|builder| {
        let builder = builder.with_signing_key(key(2)).with_signing_key(key(1));
        builder.with_signing_key(key(2)) // once only
    })
    .await;
    let keys = [key(2), key(1)].map(|key| key.public_key());
    assert_eq!(rig.dispatcher.public_keys(), keys);
    for secret in [false, true] {
        let mut request = asking(&rig.receiver.url("/"));
        if secret {
            request = request.header("x-webhook-secret", "secret");
        }
        call(rig.layer(), request, Response::new("{}".into())).await;
        let webhook = rig.receiver.next().await;
        verify(&webhook, &keys);
        let number = webhook.header("webhook-signature").split(' ').count();
        assert_eq!(number, 2 + usize::from(secret));
    }
}

#[tokio::test]
async fn every_attempt_is_signed_anew() {
    let clock = Clock::stop();
    let refusing = Receiver::answering(|_| StatusCode::NOT_FOUND).await;
    let mut rig = Rig::towards(refusing, |builder| builder.with_signing_key(key(7)));
    let request = asking(&rig.receiver.url("/"));
    call(rig.layer(), request, Response::new("body".into())).await;
    let mut ids = Vec::new();
    for attempt in 1..=3 {
        rig.events.attempted().await;
        let webhook = rig.receiver.next().await;
        verify(&webhook, &[key(7).public_key()]);
        assert_eq!(webhook.header("x-webhook-attempt"), attempt.to_string());
        ids.push(webhook.header("webhook-id").to_owned());
        clock.to_the_next_attempt().await;
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_failure_notice_is_signed_too() {
    let mut rig = Rig::with(|builder| builder.with_signing_key(key(7)).with_body_limit(3)).await;
    call(
        rig.layer(),
        asking(&rig.receiver.url("/")),
        Response::new("long".into()),
    )
    .await;
    let notice = rig.receiver.next().await;
    assert_eq!(notice.header("x-webhook-failure"), "body-too-large");
    verify(&notice, &[key(7).public_key()]);
}

/// A key signs the Standard Webhooks form alone. It must not be lost in silence.
#[tokio::test]
async fn without_standard_headers_a_key_has_them_sent() {
    let mut rig =
        Rig::with(|builder| builder.with_signing_key(key(7)).without_standard_headers()).await;
    let request = asking(&rig.receiver.url("/")).header("x-webhook-secret", "secret");
    call(rig.layer(), request, Response::new("{}".into())).await;
    let webhook = rig.receiver.next().await;
    verify(&webhook, &[key(7).public_key()]);
    let theirs = Webhook::from_bytes(b"secret".to_vec()).unwrap();
    theirs.verify(&webhook.body, &webhook.headers).unwrap();
}

#[tokio::test]
async fn without_a_key_nothing_of_it_is_sent() {
    assert!(Dispatcher::new().public_keys().is_empty());
    let mut rig = Rig::new().await;
    for (secret, number) in [(None, 0), (Some("secret"), 1)] {
        let mut request = asking(&rig.receiver.url("/"));
        if let Some(secret) = secret {
            request = request.header("x-webhook-secret", secret);
        }
        call(rig.layer(), request, Response::new("{}".into())).await;
        let webhook = rig.receiver.next().await;
        let signatures = webhook.headers.get_all("webhook-signature").iter();
        assert_eq!(signatures.count(), number);
        if secret.is_some() {
            assert!(!webhook.header("webhook-signature").contains("v1a"));
        }
    }
}

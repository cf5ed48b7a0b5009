//! Every attempt is signed anew, and receivers can verify it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, StatusCode};
use standardwebhooks::Webhook;
use tower_webhook::Verifier;

use crate::{
    call::{asking, call},
    support::{
        clock::Clock,
        receiver::{Received, Receiver},
        rig::Rig,
    },
};

/// Verifies both forms; a text also with code that is not ours, which takes nothing else.
fn verify(webhook: &Received, secret: &[u8]) {
    let verified = Verifier::new(secret)
        .verify(&webhook.headers, &webhook.body)
        .unwrap();
    assert_eq!(verified.id(), webhook.header("x-request-id"));
    let mut branded = webhook.headers.clone();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        branded.remove(name);
    }
    Verifier::new(secret)
        .verify(&branded, &webhook.body)
        .unwrap();
    // A secret that their library takes as it is must work as it is.
    let text = std::str::from_utf8(secret).unwrap_or_default();
    let encoded = format!("whsec_{}", BASE64.encode(secret));
    let theirs = match text.strip_prefix("whsec_").map(|key| BASE64.decode(key)) {
        Some(Ok(key)) if !key.is_empty() => text,
        _ => &encoded,
    };
    let standard = Webhook::new(theirs).unwrap();
    if std::str::from_utf8(&webhook.body).is_ok() {
        standard.verify(&webhook.body, &webhook.headers).unwrap();
    }
}

#[tokio::test]
async fn any_body_under_any_secret() {
    let bodies: [&[&'static [u8]]; 4] = [
        &[],
        &[b"{\"a\": 1}\n"],
        &[b"\0\xff\x80", b"", b"\r\n"],
        &[&[b'x'; 5_000], b"y", &[b'z'; 5_000]],
    ];
    for secret in [
        &b"a-value-of-your-choice"[..],
        b"whsec_AAAA",
        b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        b"whsec_",
        b"whsec_not-base64",
        b"\xff\xe9 x",
        b"=",
    ] {
        for body in bodies {
            let mut rig = Rig::new().await;
            let frames = body
                .iter()
                .map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part)));
            let response = Response::new(Body::from_stream(stream::iter(frames)));
            let secret_header = HeaderValue::from_bytes(secret).unwrap();
            let request = asking(&rig.receiver.url("/")).header("x-webhook-secret", secret_header);
            call(rig.layer(), request, response).await;
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, body.concat());
            verify(&webhook, secret);
        }
    }
}

#[tokio::test]
async fn a_secret_of_the_standard_webhooks_works_on_both_sides() {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    // One key is not the other, whether or not the ids are equal.
    for id in [None, Some("run-1")] {
        let mut rig = Rig::new().await;
        let mut request = asking(&rig.receiver.url("/")).header("x-webhook-secret", SECRET);
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        call(rig.layer(), request, Response::new("{}".into())).await;
        let webhook = rig.receiver.next().await;
        let standard = Webhook::new(SECRET).unwrap();
        standard.verify(&webhook.body, &webhook.headers).unwrap();
        let mut branded = webhook.headers.clone();
        branded.remove("webhook-signature");
        for verifier in [
            Verifier::new(SECRET),
            Verifier::from_standard_secret(SECRET).unwrap(),
        ] {
            for headers in [&webhook.headers, &branded] {
                verifier.verify(headers, &webhook.body).unwrap();
            }
        }
        let text = Webhook::from_bytes(SECRET.as_bytes().to_vec()).unwrap();
        let timestamp = webhook.header("x-cerebrium-webhook-timestamp");
        let mac = text.sign(
            webhook.header("x-request-id"),
            timestamp.parse().unwrap(),
            &webhook.body,
        );
        let mac = BASE64.decode(&mac.unwrap()["v1,".len()..]).unwrap();
        let signature = webhook.header("x-cerebrium-webhook-signature");
        assert_eq!(signature, format!("v1,{}", hex::encode(mac)));
    }
}

/// Waits until a timestamp taken now would be another one.
async fn until_after(timestamp: &str) {
    let timestamp: u64 = timestamp.parse().unwrap();
    let next = UNIX_EPOCH + Duration::from_secs(timestamp + 1);
    let turned = move || {
        while SystemTime::now() < next {
            std::thread::yield_now();
        }
    };
    tokio::task::spawn_blocking(turned).await.unwrap();
}

#[tokio::test]
async fn every_attempt_has_its_own_time() {
    let clock = Clock::stop();
    let refusing = Receiver::answering(|_| StatusCode::NOT_FOUND).await;
    let mut rig = Rig::towards(refusing, |builder| builder);
    let request = asking(&rig.receiver.url("/")).header("x-webhook-secret", "secret");
    call(rig.layer(), request, Response::new("body".into())).await;
    let mut webhooks = Vec::new();
    for _ in 1..=3 {
        rig.events.attempted().await;
        let webhook = rig.receiver.next().await;
        verify(&webhook, b"secret");
        until_after(webhook.header("webhook-timestamp")).await;
        webhooks.push(webhook);
        clock.to_the_next_attempt().await;
    }
    for (earlier, later) in [(0, 1), (1, 2)].map(|(a, b)| (&webhooks[a], &webhooks[b])) {
        let time = |webhook: &Received| -> u64 {
            let time: u64 = webhook
                .header("x-cerebrium-webhook-timestamp")
                .parse()
                .unwrap();
            assert_eq!(webhook.header("webhook-timestamp"), time.to_string());
            time
        };
        assert!(time(earlier) < time(later));
        let signature = |webhook: &Received| webhook.header("webhook-signature").to_owned();
        assert_ne!(signature(earlier), signature(later));
        assert_eq!(earlier.header("x-request-id"), later.header("x-request-id"));
        assert_eq!(earlier.body, later.body);
    }
}

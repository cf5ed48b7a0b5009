use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue};
use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use webhook_verify::{
    Clock, CustomScheme, Encoding, HashAlg, HeaderMap as TheirHeaders, Provider,
    Secret as TheirSecret, VerifyOptions,
};

use super::*;
use crate::id::is_id;
use crate::verify::Verifier;

const IDS: &str = "[A-Za-z0-9_-]{1,128}";

/// Cerebrium's scheme, as `webhook-verify` describes schemes.
const CEREBRIUM: CustomScheme = CustomScheme {
    hash: HashAlg::Sha256,
    signature_header: "X-Cerebrium-Webhook-Signature",
    timestamp_header: Some("X-Cerebrium-Webhook-Timestamp"),
    encoding: Encoding::Hex,
    prefix: Some("v1,"),
    signed_string: |headers: &dyn TheirHeaders, body: &[u8]| {
        let id = headers.get("X-Request-Id").unwrap_or_default();
        let timestamp = headers
            .get("X-Cerebrium-Webhook-Timestamp")
            .unwrap_or_default();
        [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
    },
};

struct At(u64);

impl Clock for At {
    fn now(&self) -> u64 {
        self.0
    }
}

fn their_options(now: u64) -> VerifyOptions {
    VerifyOptions::default().with_clock(Some(Arc::new(At(now))))
}

fn header(text: impl AsRef<[u8]>) -> HeaderValue {
    HeaderValue::from_bytes(text.as_ref()).unwrap()
}

fn in_standard_spelling(secret: &[u8]) -> String {
    format!("whsec_{}", BASE64.encode(secret))
}

#[test]
fn published_vectors() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let secret = Secret::new(hex::decode(text("secret_hex")).unwrap());
        let body = hex::decode(text("body_hex")).unwrap();
        let timestamp = vector["timestamp"].as_u64().unwrap();

        let mac = sign(
            &secret,
            text("request_id").as_bytes(),
            timestamp,
            [&body[..]],
        );
        let name = text("name");
        assert_eq!(
            header(mac.cerebrium()),
            text("cerebrium_signature"),
            "{name}"
        );
        assert_eq!(
            header(mac.standard()),
            text("standard_webhooks_signature"),
            "{name}"
        );
    }
}

#[test]
fn ids_that_can_be_signed() {
    for id in [
        "a",
        "0",
        "-",
        "_",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        &"x".repeat(128),
    ] {
        assert!(is_id(id.as_bytes()), "{id}");
    }
    for id in [
        "",
        "a.b",
        ".",
        "a b",
        "a\n",
        "a\0",
        "ä",
        "a/b",
        "a+b",
        "a=",
        &"x".repeat(129),
    ] {
        assert!(!is_id(id.as_bytes()), "{id:?}");
    }
}

#[test]
fn no_segments_is_an_empty_body() {
    let secret = Secret::new("s");
    let none = sign(&secret, b"id", 1, []).cerebrium();
    assert_eq!(none, sign(&secret, b"id", 1, [&b""[..]]).cerebrium());
    assert_eq!(none, sign(&secret, b"id", 1, [&b""[..], b""]).cerebrium());
}

proptest! {
    #[test]
    fn segments_make_no_difference(
        segments in vec(vec(any::<u8>(), 0..200), 0..20),
        timestamp in any::<u64>(),
    ) {
        let secret = Secret::new("s");
        let whole = sign(&secret, b"id", timestamp, [&segments.concat()[..]]);
        let split = sign(&secret, b"id", timestamp, segments.iter().map(|segment| &segment[..]));
        prop_assert_eq!(whole.cerebrium(), split.cerebrium());
    }

    #[test]
    fn webhook_verify_accepts_the_branded_form(
        secret in "\\PC{1,200}",
        id in IDS,
        timestamp in any::<u64>(),
        body in vec(any::<u8>(), 0..500),
    ) {
        let mac = sign(&Secret::new(&secret), id.as_bytes(), timestamp, [&body[..]]);
        let (signature, sent) = (header(mac.cerebrium()), timestamp.to_string());
        let headers = [
            ("X-Request-Id", id.as_str()),
            ("X-Cerebrium-Webhook-Timestamp", &sent),
            ("X-Cerebrium-Webhook-Signature", signature.to_str().unwrap()),
        ];
        let judge = |body: &[u8]| webhook_verify::verify(
            Provider::Custom(CEREBRIUM),
            &headers,
            body,
            &TheirSecret::new(&*secret),
            their_options(timestamp),
        );
        prop_assert_eq!(judge(&body), Ok(()));
        prop_assert!(judge(&[&body[..], b"!"].concat()).is_err());
    }

    #[test]
    fn webhook_verify_accepts_the_standard_form(
        secret in vec(any::<u8>(), 1..200),
        id in IDS,
        timestamp in any::<u64>(),
        body in vec(any::<u8>(), 0..500),
    ) {
        let signature = header(sign(&Secret::new(&secret), id.as_bytes(), timestamp, [&body[..]]).standard());
        let sent = timestamp.to_string();
        let headers = [
            ("webhook-id", id.as_str()),
            ("webhook-timestamp", &sent),
            ("webhook-signature", signature.to_str().unwrap()),
        ];
        let judged = webhook_verify::verify(
            Provider::StandardWebhooks,
            &headers,
            &body,
            &TheirSecret::new(in_standard_spelling(&secret)),
            their_options(timestamp),
        );
        prop_assert_eq!(judged, Ok(()));
    }

    #[test]
    fn standardwebhooks_accepts_the_standard_form(
        secret in vec(any::<u8>(), 1..200),
        id in IDS,
        body in "\\PC*",
    ) {
        // It has no clock of its own to set, and takes text only.
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mac = sign(&Secret::new(&secret), id.as_bytes(), now, [body.as_bytes()]);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", now.into());
        headers.insert("webhook-signature", header(mac.standard()));

        let theirs = standardwebhooks::Webhook::new(&in_standard_spelling(&secret)).unwrap();
        prop_assert!(theirs.verify(body.as_bytes(), &headers).is_ok());
    }

    #[test]
    fn our_verifier_accepts_both_forms(
        secret in vec(any::<u8>(), 1..200),
        id in IDS,
        timestamp in 0..=i64::MAX.unsigned_abs(),
        body in vec(any::<u8>(), 0..500),
    ) {
        let mac = sign(&Secret::new(&secret), id.as_bytes(), timestamp, [&body[..]]);
        let verifier = Verifier::new(&secret);
        let now: SystemTime = UNIX_EPOCH + Duration::from_secs(timestamp);
        for (names, signature) in [
            (["webhook-id", "webhook-timestamp", "webhook-signature"], header(mac.standard())),
            (
                [
                    "x-request-id",
                    "x-cerebrium-webhook-timestamp",
                    "x-cerebrium-webhook-signature",
                ],
                header(mac.cerebrium()),
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(names[0], id.parse().unwrap());
            headers.insert(names[1], timestamp.into());
            headers.insert(names[2], signature);
            let verified = verifier.verify_at(&headers, &body, now).unwrap();
            prop_assert_eq!(verified.id(), &id);
            prop_assert_eq!(verified.timestamp(), now);
        }
    }
}

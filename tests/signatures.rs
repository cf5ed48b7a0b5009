//! Signatures made by code that is not ours are accepted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderMap;
use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use standardwebhooks::Webhook;
use tower_webhook::{Verifier, delivery::Brand, verify::VerifyErrorKind};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn branded(brand: &str, id: &str, timestamp: u64, signature: &str) -> HeaderMap {
    let name = |what| http::HeaderName::try_from(format!("X-{brand}-Webhook-{what}")).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", id.parse().unwrap());
    headers.insert(name("Timestamp"), timestamp.into());
    headers.insert(name("Signature"), signature.parse().unwrap());
    headers
}

fn standard(id: &str, timestamp: u64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().unwrap());
    headers.insert("webhook-timestamp", timestamp.into());
    headers.insert("webhook-signature", signature.parse().unwrap());
    headers
}

/// The branded spelling of a Standard Webhooks signature.
fn in_hex(signature: &str) -> String {
    let mac = BASE64.decode(signature.strip_prefix("v1,").unwrap());
    format!("v1,{}", hex::encode(mac.unwrap()))
}

#[test]
fn published_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/signatures.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let (name, id) = (text("name"), text("request_id"));
        let timestamp = vector["timestamp"].as_u64().unwrap();
        let body = hex::decode(text("body_hex")).unwrap();
        let forms = [
            branded("Cerebrium", id, timestamp, text("cerebrium_signature")),
            standard(id, timestamp, text("standard_webhooks_signature")),
        ];
        let verifiers = [
            Verifier::new(hex::decode(text("secret_hex")).unwrap()),
            Verifier::from_standard_secret(text("standard_webhooks_secret")).unwrap(),
        ];
        for (headers, verifier) in forms
            .iter()
            .flat_map(|form| verifiers.iter().map(move |v| (form, v)))
        {
            let verified = verifier
                .verify_at(headers, &body, at(timestamp))
                .expect(name);
            assert_eq!(verified.id(), id, "{name}");
            assert_eq!(verified.timestamp(), at(timestamp), "{name}");

            let error = verifier.verify_at(headers, &[&body[..], b" "].concat(), at(timestamp));
            assert_eq!(
                error.unwrap_err().kind(),
                VerifyErrorKind::NoMatch,
                "{name}"
            );
        }
    }
}

proptest! {
    #[test]
    fn standardwebhooks_signatures_are_accepted(
        secret in vec(any::<u8>(), 1..200),
        id in "[A-Za-z0-9_-]{1,128}",
        timestamp in 0..=i64::MAX,
        body in "\\PC*",
        brand in "[A-Za-z0-9]{1,64}",
    ) {
        let theirs = Webhook::from_bytes(secret.clone()).unwrap();
        let signature = theirs.sign(&id, timestamp, body.as_bytes()).unwrap();
        let timestamp = timestamp.unsigned_abs();

        let verifier = Verifier::from_standard_secret(&format!("whsec_{}", BASE64.encode(&secret)))
            .unwrap()
            .with_brand(Brand::new(&brand).unwrap());
        for headers in [
            branded(&brand, &id, timestamp, &in_hex(&signature)),
            standard(&id, timestamp, &signature),
        ] {
            let verified = verifier.verify_at(&headers, body.as_bytes(), at(timestamp)).unwrap();
            prop_assert_eq!(verified.id(), &id);
            prop_assert_eq!(verified.timestamp(), at(timestamp));
        }
    }
}

/// One secret in the Standard Webhooks format: each form has its key, and no other is taken for it.
#[test]
fn the_text_of_a_standard_secret_is_the_key_of_the_branded_form_alone() {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let text = Webhook::from_bytes(SECRET.as_bytes().to_vec()).unwrap();
    let key = Webhook::new(SECRET).unwrap();
    let [text, key] = [text, key].map(|theirs| theirs.sign("id", 7, b"body").unwrap());
    let accepts = |verifier: &Verifier, headers: &HeaderMap| {
        verifier.verify_at(headers, b"body", at(7)).is_ok()
    };
    let forms = |signature: &str| {
        [
            standard("id", 7, signature),
            branded("Cerebrium", "id", 7, &in_hex(signature)),
        ]
    };
    let given = Verifier::new("other").with_secret(SECRET);
    assert_eq!(
        forms(&key).map(|form| accepts(&given, &form)),
        [true, false]
    );
    assert_eq!(
        forms(&text).map(|form| accepts(&given, &form)),
        [false, true]
    );

    // The caller may have sent either.
    let encoded = Verifier::new("other").with_standard_secret(SECRET).unwrap();
    assert_eq!(
        forms(&key).map(|form| accepts(&encoded, &form)),
        [true, true]
    );
    assert_eq!(
        forms(&text).map(|form| accepts(&encoded, &form)),
        [false, true]
    );
}

#[test]
fn a_delivery_of_just_now_needs_no_clock() {
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let theirs = Webhook::from_bytes(b"secret".to_vec()).unwrap();
    let signature = theirs.sign("id", now.cast_signed(), b"body").unwrap();
    let verified = Verifier::new("secret").verify(&standard("id", now, &signature), b"body");
    assert_eq!(verified.unwrap().id(), "id");
}

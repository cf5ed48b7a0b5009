//! What a verifier accepts was signed; what was signed it accepts.

#![no_main]

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use tower_webhook::Verifier;

mod message;

const SECRET: &str = "a-value-of-your-choice";
const TIMESTAMP: &str = "1700000000";

fuzz_target!(|input: &[u8]| {
    let (first, headers, body) = message::read(input);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let verifier = Verifier::new(SECRET);

    if let Ok(verified) = verifier.verify_at(&headers, body, now) {
        let seconds = verified.timestamp().duration_since(SystemTime::UNIX_EPOCH);
        let mac = signed(verified.id(), &seconds.unwrap().as_secs().to_string(), body);
        assert!(claimed(&headers, &mac));
    }
    let _ = verifier.verify(&headers, body);
    let _ = Verifier::from_standard_secret(&String::from_utf8_lossy(first));

    let id = str::from_utf8(first).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_id = (1..=128).contains(&id.len()) && id.bytes().all(plain);
    let Ok(id_value) = HeaderValue::from_bytes(first) else {
        return;
    };
    let signature = format!("v1,{}", hex::encode(signed(id, TIMESTAMP, body)));
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", id_value);
    headers.insert(
        "x-cerebrium-webhook-timestamp",
        HeaderValue::from_static(TIMESTAMP),
    );
    headers.insert("x-cerebrium-webhook-signature", signature.parse().unwrap());
    let verified = verifier.verify_at(&headers, body, now);
    assert_eq!(verified.is_ok(), is_id);
    let longer = [body, b"x"].concat();
    assert!(verifier.verify_at(&headers, &longer, now).is_err());
});

fn signed(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

/// Whether the header that is asked has this MAC. What stands beside it need not be text.
fn claimed(headers: &HeaderMap, mac: &[u8]) -> bool {
    let bytes = |name| headers.get(name).map(HeaderValue::as_bytes);
    match bytes("webhook-signature") {
        Some(several) => several
            .split(|&byte| byte == b' ')
            .any(|one| one == format!("v1,{}", STANDARD.encode(mac)).as_bytes()),
        None => {
            let one = format!("v1,{}", hex::encode(mac));
            bytes("x-cerebrium-webhook-signature") == Some(one.as_bytes())
        }
    }
}

//! What a receiver must never accept, and that nothing makes it panic.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{collection::vec, prelude::*};
use tower_webhook::{Verifier, verify::VerifyErrorKind::*};

use crate::signed::*;

#[path = "support/signed.rs"]
mod signed;

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

#[test]
fn one_bit_flipped_in_any_header() {
    for (form, (names, values)) in FORMS.into_iter().enumerate() {
        for (name, value) in names.into_iter().zip(values) {
            for bit in 0..value.len() * 8 {
                // Other values cannot arrive in a header.
                if let Ok(flipped) = HeaderValue::from_bytes(&flip(value.as_bytes(), bit)) {
                    let mut headers = good(form);
                    headers.insert(name, flipped);
                    assert!(judge(&headers).is_err(), "{name}, bit {bit}");
                }
            }
        }
        assert_eq!(judge(&good(form)).unwrap().id(), ID);
    }
}

#[test]
fn one_bit_flipped_in_the_body_or_the_secret() {
    for form in 0..FORMS.len() {
        for bit in 0..BODY.len() * 8 {
            let error = Verifier::new(SECRET)
                .verify_at(&good(form), &flip(BODY, bit), at(SENT))
                .unwrap_err();
            assert_eq!(error.kind(), NoMatch, "bit {bit}");
        }
        for bit in 0..SECRET.len() * 8 {
            let error = Verifier::new(flip(SECRET.as_bytes(), bit))
                .verify_at(&good(form), BODY, at(SENT))
                .unwrap_err();
            assert_eq!(error.kind(), NoMatch, "bit {bit}");
        }
    }
}

#[test]
fn a_dot_cannot_move_between_id_and_timestamp() {
    // "a.1" at 2 and "a" at 1 with a body of "2.…" would be the same signed text.
    let headers = headers(STANDARD.into_iter().zip(["a.1", "2", OTHER]));
    assert_eq!(judge(&headers), Err(MalformedHeader));
}

#[test]
fn forms_are_never_mixed() {
    let both = |id, standard| {
        headers(
            BRANDED
                .into_iter()
                .zip([id, "1700000000", HEX])
                .chain(STANDARD.into_iter().zip([ID, "1700000000", standard])),
        )
    };
    // A proxy has put its own request id in.
    assert_eq!(judge(&both("another-id", BASE64)).unwrap().id(), ID);
    // A good branded signature does not make up for a bad standard one.
    assert_eq!(judge(&both(ID, OTHER)), Err(NoMatch));
    assert_eq!(judge(&both(ID, HEX)), Err(MalformedHeader));

    let mut borrowed = both(ID, BASE64);
    borrowed.remove("webhook-id");
    assert_eq!(judge(&borrowed), Err(MissingHeader));

    // Without a standard signature, the id beside it is nothing but noise.
    let mut noise = both(ID, BASE64);
    noise.remove("webhook-signature");
    noise.insert("webhook-id", HeaderValue::from_static("another-id"));
    assert_eq!(judge(&noise).unwrap().id(), ID);
}

#[test]
fn an_empty_secret_matches_nothing() {
    let theirs = standardwebhooks::Webhook::from_bytes(Vec::new()).unwrap();
    let forged = theirs.sign(ID, SENT.cast_signed(), BODY).unwrap();
    let headers = headers(STANDARD.into_iter().zip([ID, "1700000000", &*forged]));
    let judged = Verifier::new("")
        .with_secret(b"")
        .verify_at(&headers, BODY, at(SENT));
    assert_eq!(judged.unwrap_err().kind(), NoMatch);
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select([BRANDED, STANDARD].concat());
    let plausible = prop::sample::select(vec![ID, "1700000000", HEX, BASE64, "v1,", "v1, v1"]);
    let value = prop_oneof![
        vec(any::<u8>(), 0..100),
        any::<u64>().prop_map(|seconds| seconds.to_string().into_bytes()),
        plausible.prop_map(|text| text.as_bytes().to_vec()),
    ];
    vec((name, value), 0..9).prop_map(|headers| {
        let value = |bytes: Vec<u8>| HeaderValue::from_bytes(&bytes).ok();
        let header = |(name, bytes)| Some((HeaderName::from_static(name), value(bytes)?));
        headers.into_iter().filter_map(header).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics_and_nothing_forged_passes(
        headers in any_headers(),
        body in vec(any::<u8>(), 0..50),
        offset in any::<i64>(),
        tolerance in any::<u64>(),
    ) {
        let offset = Duration::from_secs(offset.unsigned_abs());
        let now = [UNIX_EPOCH.checked_add(offset), UNIX_EPOCH.checked_sub(offset)];
        let verifier = Verifier::new(SECRET).with_tolerance(Duration::from_secs(tolerance));
        for now in now.into_iter().flatten() {
            prop_assert!(verifier.verify_at(&headers, &body, now).is_err());
        }
    }
}

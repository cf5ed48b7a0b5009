//! What a receiver with public keys accepts. The signatures are made by code that is not ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderMap;
use proptest::{collection::vec, prelude::*};
use ring::signature::{Ed25519KeyPair, KeyPair};
use standardwebhooks::Webhook;
use tower_webhook::{
    Verifier,
    delivery::PublicKey,
    verify::{VerifyErrorKind, VerifyErrorKind::*},
};

const SENT: u64 = 1_700_000_000;
const BODY: &[u8] = b"{}";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public(seed: u8) -> PublicKey {
    let bytes = pair(seed).public_key().as_ref().try_into();
    PublicKey::from_bytes(bytes.unwrap()).unwrap()
}

fn signed(seed: u8, id: &str, timestamp: u64, body: &[u8]) -> String {
    let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1a,{}", BASE64.encode(pair(seed).sign(&message)))
}

fn with_secret(secret: &str) -> String {
    let theirs = Webhook::from_bytes(secret.into()).unwrap();
    theirs.sign("id", SENT.cast_signed(), BODY).unwrap()
}

fn headers(id: &str, timestamp: u64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().unwrap());
    headers.insert("webhook-timestamp", timestamp.into());
    headers.insert("webhook-signature", signature.parse().unwrap());
    headers
}

fn judge(verifier: &Verifier, signature: &str) -> Result<(), VerifyErrorKind> {
    let judged = verifier.verify_at(&headers("id", SENT, signature), BODY, at(SENT));
    judged.map(drop).map_err(|error| error.kind())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn ring_s_signatures_are_accepted_and_nothing_else(
        seed in any::<u8>(),
        id in "[A-Za-z0-9_-]{1,128}",
        timestamp in 0..=i64::MAX.unsigned_abs(),
        body in vec(any::<u8>(), 0..500),
    ) {
        let verifier = Verifier::from_public_key(public(seed));
        let headers = headers(&id, timestamp, &signed(seed, &id, timestamp, &body));
        let verified = verifier.verify_at(&headers, &body, at(timestamp)).unwrap();
        prop_assert_eq!(verified.id(), id);
        prop_assert_eq!(verified.timestamp(), at(timestamp));
        for other in [[&body[..], b"x"].concat(), [b"x", &body[..]].concat()] {
            let refused = verifier.verify_at(&headers, &other, at(timestamp));
            prop_assert_eq!(refused.unwrap_err().kind(), NoMatch);
        }
        let another = Verifier::from_public_key(public(seed.wrapping_add(1)));
        let refused = another.verify_at(&headers, &body, at(timestamp));
        prop_assert_eq!(refused.unwrap_err().kind(), NoMatch);
    }
}

#[test]
fn one_bit_flipped_in_a_signature() {
    let verifier = Verifier::from_public_key(public(1));
    let good = signed(1, "id", SENT, BODY);
    let bytes = BASE64.decode(&good["v1a,".len()..]).unwrap();
    assert_eq!(judge(&verifier, &good), Ok(()));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = format!("v1a,{}", BASE64.encode(flipped));
        assert_eq!(judge(&verifier, &flipped), Err(NoMatch), "bit {bit}");
    }
}

#[test]
fn any_known_key_and_any_signature_among_others() {
    let verifier = Verifier::from_public_key(public(1)).with_public_key(public(2));
    let [one, two, other] = [1, 2, 3].map(|seed| signed(seed, "id", SENT, BODY));
    let mac = with_secret("secret");
    for (list, judged) in [
        (one.clone(), Ok(())),
        (two.clone(), Ok(())),
        (format!("{one} {two}"), Ok(())),
        (format!("{mac} {other} {two}"), Ok(())),
        (
            format!("v2,AAAA v1b,AAAA  rubbish v1a, v1a,AAAA {one} "),
            Ok(()),
        ),
        (format!("{other} {mac}"), Err(NoMatch)),
        (other.clone(), Err(NoMatch)),
        // No signature that it can check: it has no secret.
        (mac.clone(), Err(MalformedHeader)),
        ("v1a,".to_owned(), Err(MalformedHeader)),
        ("v1a,AAAA".to_owned(), Err(MalformedHeader)),
        (one.replace("v1a,", "v1,"), Err(MalformedHeader)),
        (one.replace("v1a,", "V1A,"), Err(MalformedHeader)),
        (one.replace('=', ""), Err(MalformedHeader)),
        (format!("{one},{one}"), Err(MalformedHeader)),
    ] {
        assert_eq!(judge(&verifier, &list), judged, "{list}");
    }
}

#[test]
fn a_secret_and_a_key_are_either_enough() {
    let (mac, keyed) = (with_secret("secret"), signed(1, "id", SENT, BODY));
    let wrong = [with_secret("other"), signed(2, "id", SENT, BODY)];
    let both = Verifier::new("secret").with_public_key(public(1));
    for list in [
        mac.clone(),
        keyed.clone(),
        format!("{} {keyed}", wrong[0]),
        format!("{mac} {}", wrong[1]),
    ] {
        assert_eq!(judge(&both, &list), Ok(()), "{list}");
    }
    assert_eq!(judge(&both, &wrong.join(" ")), Err(NoMatch));
    // Who has no key takes what a secret has signed, and ignores the rest.
    let secret = Verifier::new("secret");
    assert_eq!(judge(&secret, &format!("{mac} {keyed}")), Ok(()));
    assert_eq!(judge(&secret, &keyed), Err(MalformedHeader));
}

#[test]
fn the_branded_form_is_signed_with_no_key() {
    let keyed = signed(1, "id", SENT, BODY);
    let mut branded = HeaderMap::new();
    branded.insert("x-request-id", "id".parse().unwrap());
    branded.insert("x-cerebrium-webhook-timestamp", SENT.into());
    branded.insert("x-cerebrium-webhook-signature", keyed.parse().unwrap());
    let judge = |verifier: Verifier| {
        let judged = verifier.verify_at(&branded, BODY, at(SENT));
        judged.unwrap_err().kind()
    };
    assert_eq!(judge(Verifier::from_public_key(public(1))), MissingHeader);
    let both = Verifier::new("secret").with_public_key(public(1));
    assert_eq!(judge(both), MalformedHeader);
}

#[test]
fn a_replay_is_refused_whoever_signed_it() {
    let verifier = Verifier::from_public_key(public(1));
    let headers = headers("id", SENT, &signed(1, "id", SENT, BODY));
    for (now, kind) in [
        (SENT + 301, TimestampTooOld),
        (SENT - 301, TimestampInFuture),
    ] {
        let refused = verifier.verify_at(&headers, BODY, at(now));
        assert_eq!(refused.unwrap_err().kind(), kind);
    }
}

/// The body is hashed for each of them: a sender of hundreds must not keep a receiver busy.
#[test]
fn of_many_signatures_only_a_few_are_tried() {
    let verifier = Verifier::from_public_key(public(1));
    let good = signed(1, "id", SENT, BODY);
    let other = signed(2, "id", SENT, BODY);
    let list = |before| format!("{}{good}", format!("{other} ").repeat(before));
    assert_eq!(judge(&verifier, &list(7)), Ok(()));
    assert_eq!(judge(&verifier, &list(8)), Err(NoMatch));
}

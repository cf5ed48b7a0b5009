//! The bytes of an envelope: one byte for the version, eight for the name of the key (zeros where
//! there is none), and the contents, sealed or not.
//!
//! The contents are the SHA-256 of the payload and the delivery's fields, each with its length
//! before it, so that what is sent is what was accepted. What is read is not trusted: whatever could
//! not have been written is an error.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    delivery::{Delivery, DeliveryParts, Payload, Secret, TraceParent, wire},
    endpoint::{Endpoint, EndpointPolicy},
    event::FailReason,
    id::{DeliveryId, RequestId},
};

const VERSION: u8 = 2;
/// Of a failure notice where there was no response.
const NO_STATUS: u16 = 0;
pub(super) const NAME_LEN: usize = 8;
const HASH_LEN: usize = 32;

pub(super) type KeyName = [u8; NAME_LEN];

/// Where no key seals.
pub(super) const NO_KEY: KeyName = [0; NAME_LEN];

/// The envelope with these contents.
pub(super) fn put_together(key: KeyName, contents: &[u8]) -> Bytes {
    [&[VERSION][..], &key, contents].concat().into()
}

/// The name of the key and the contents.
pub(super) fn take_apart(envelope: &[u8]) -> Option<(KeyName, &[u8])> {
    let rest = envelope.strip_prefix(&[VERSION])?;
    let (key, contents) = rest.split_first_chunk()?;
    Some((*key, contents))
}

pub(super) fn key_name(envelope: &[u8]) -> Option<String> {
    let (key, _) = take_apart(envelope)?;
    (key != NO_KEY).then(|| hex::encode(key))
}

/// Everything of a delivery but its payload. Wiped: the secret is in it.
pub(super) fn encode(delivery: &Delivery) -> Zeroizing<Vec<u8>> {
    let endpoint = delivery.endpoint().to_url_string();
    let secret = delivery.secret().map(Secret::expose);
    // Large enough from the start: what grows leaves a copy behind.
    let headers = delivery.headers().iter();
    let headers_len: usize = headers
        .map(|(name, value)| 8 + name.as_str().len() + value.len())
        .sum();
    let mut bytes = Vec::with_capacity(
        HASH_LEN + 256 + endpoint.len() + secret.map_or(0, <[u8]>::len) + headers_len,
    );
    bytes.extend_from_slice(&hash(delivery.payload()));
    let status = delivery
        .status()
        .map_or(NO_STATUS, |status| status.as_u16());
    bytes.extend_from_slice(&status.to_be_bytes());
    put(
        &mut bytes,
        delivery.failure().map_or("", FailReason::name).as_bytes(),
    );
    put(&mut bytes, delivery.request_id().as_bytes());
    put(&mut bytes, endpoint.as_bytes());
    bytes.push(u8::from(secret.is_some()));
    put(&mut bytes, secret.unwrap_or_default());
    let mut text = [0; TraceParent::TEXT_LEN];
    let trace_parent = delivery.trace_parent();
    put(
        &mut bytes,
        trace_parent.map_or(&[], |parent| parent.encode(&mut text)),
    );
    for (name, value) in delivery.headers() {
        put(&mut bytes, name.as_str().as_bytes());
        put(&mut bytes, value.as_bytes());
    }
    Zeroizing::new(bytes)
}

/// `None` for what was not written by [`encode`] for this payload.
pub(super) fn decode(id: DeliveryId, contents: &[u8], payload: &Payload) -> Option<Delivery> {
    let (hashed, rest) = contents.split_first_chunk::<HASH_LEN>()?;
    match *hashed == hash(payload) {
        true => decode_fields(id, rest, payload),
        false => None,
    }
}

/// The same with an empty payload, whatever it was written for: nothing of it may be sent.
pub(super) fn decode_without_payload(id: DeliveryId, contents: &[u8]) -> Option<Delivery> {
    let (_, rest) = contents.split_first_chunk::<HASH_LEN>()?;
    decode_fields(id, rest, &Payload::default())
}

fn decode_fields(id: DeliveryId, mut rest: &[u8], payload: &Payload) -> Option<Delivery> {
    let status = u16::from_be_bytes(take_array(&mut rest)?);
    let failure = take(&mut rest)?;
    let request_id = RequestId::copy_of(take(&mut rest)?)?;
    let endpoint = endpoint_of(take(&mut rest)?)?;
    let has_secret = take_array::<1>(&mut rest)? != [0];
    let secret = take(&mut rest)?;
    let trace_parent = take(&mut rest)?;
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let name = HeaderName::from_bytes(take(&mut rest)?).ok()?;
        let value = HeaderValue::from_bytes(take(&mut rest)?).ok()?;
        if !wire::FORWARDED.contains(&name) {
            return None;
        }
        headers.push((name, value));
    }
    let mut parts = DeliveryParts::new(endpoint, payload.clone());
    parts.id = id;
    parts.request_id = request_id;
    parts.secret = has_secret.then(|| Secret::new(secret));
    parts.trace_parent = match trace_parent {
        [] => None,
        text => Some(TraceParent::read(text)?),
    };
    parts.status = match status {
        NO_STATUS => None,
        status => Some(StatusCode::from_u16(status).ok()?),
    };
    parts.failure = match failure {
        [] => None,
        name => Some(FailReason::from_name(str::from_utf8(name).ok()?)?),
    };
    parts.headers = headers;
    Some(parts.into())
}

/// Reads it only: whether it may be sent to is judged before each attempt.
fn endpoint_of(text: &[u8]) -> Option<Endpoint> {
    EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks()
        .check(str::from_utf8(text).ok()?)
        .ok()
}

fn hash(payload: &Payload) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    for segment in payload.segments() {
        hash.update(segment);
    }
    hash.finalize().into()
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    // Heads of requests and responses are far from 4 GiB.
    let len = u32::try_from(field.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(field);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_be_bytes(take_array(rest)?);
    let (field, left) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = left;
    Some(field)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE};

    use super::*;

    fn delivery() -> Delivery {
        let endpoint = endpoint_of(b"http://127.0.0.1:81/a?token=b").unwrap();
        let mut parts = DeliveryParts::new(endpoint, Payload::from("done"));
        parts.request_id = RequestId::parse("run_1").unwrap();
        parts.status = Some(StatusCode::NOT_FOUND);
        parts.secret = Some(Secret::new([0, 255, 7]));
        parts.trace_parent = TraceParent::new([1; 16], [2; 8], 255);
        parts.headers = vec![
            (CONTENT_TYPE, HeaderValue::from_bytes(b"a\xff\t").unwrap()),
            (CONTENT_LANGUAGE, HeaderValue::from_static("")),
        ];
        parts.into()
    }

    #[test]
    fn a_delivery_comes_back_as_it_was() {
        let delivery = delivery();
        let read = decode(delivery.id(), &encode(&delivery), delivery.payload()).unwrap();
        assert_eq!(read.id(), delivery.id());
        assert_eq!(read.request_id(), delivery.request_id());
        assert_eq!(
            read.endpoint().to_url_string(),
            "http://127.0.0.1:81/a?token=b"
        );
        assert_eq!(read.status(), Some(StatusCode::NOT_FOUND));
        assert_eq!(read.secret().unwrap().expose(), [0, 255, 7]);
        assert_eq!(read.trace_parent(), delivery.trace_parent());
        assert_eq!(read.headers(), delivery.headers());
        assert_eq!(read.payload().to_bytes(), "done");
    }

    #[test]
    fn a_failure_notice_comes_back_as_it_was() {
        for status in [None, Some(StatusCode::OK)] {
            for &failure in FailReason::ALL {
                let payload = Payload::from("{}");
                let mut parts = DeliveryParts::new(delivery().endpoint().clone(), payload);
                parts.status = status;
                parts.failure = Some(failure);
                let delivery = Delivery::from(parts);
                let read = decode(delivery.id(), &encode(&delivery), delivery.payload());
                let read = read.unwrap();
                assert_eq!((read.status(), read.failure()), (status, Some(failure)));
            }
        }
    }

    #[test]
    fn no_secret_is_not_an_empty_one() {
        let mut parts = DeliveryParts::new(delivery().endpoint().clone(), Payload::default());
        for secret in [None, Some(Secret::new(""))] {
            parts.secret = secret;
            let delivery = Delivery::from(parts.clone());
            let read = decode(delivery.id(), &encode(&delivery), delivery.payload()).unwrap();
            assert_eq!(read.secret().is_some(), delivery.secret().is_some());
        }
    }

    #[test]
    fn what_was_cut_or_belongs_to_another_payload_is_not_read() {
        let delivery = delivery();
        let bytes = encode(&delivery);
        // Cut between two headers it would be whole: what is sealed cannot be cut.
        let whole = [bytes.len(), bytes.len() - (4 + 16 + 4)];
        for len in (0..bytes.len()).filter(|len| !whole.contains(len)) {
            let read = decode(delivery.id(), &bytes[..len], delivery.payload());
            let had_headers = read.map(|read| read.headers().len());
            assert!(matches!(had_headers, None | Some(0)), "{len}");
        }
        assert!(decode(delivery.id(), &bytes, &Payload::from("dane")).is_none());
    }

    #[test]
    fn only_headers_that_are_forwarded_are_read() {
        let mut parts = DeliveryParts::new(delivery().endpoint().clone(), Payload::default());
        let cookie = HeaderName::from_static("set-cookie");
        parts.headers = vec![(cookie, HeaderValue::from_static("a=b"))];
        let delivery = Delivery::from(parts);
        assert!(decode(delivery.id(), &encode(&delivery), delivery.payload()).is_none());
    }
}

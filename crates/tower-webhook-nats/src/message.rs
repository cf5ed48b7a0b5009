//! A delivery as a message: the payload raw, all else in headers.
//!
//! What is read is not trusted: what could not have been written is no delivery.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use tower_webhook::{
    DeliveryId, RequestId,
    endpoint::Host,
    event::FailReason,
    outbox::{Envelope, StoredDelivery},
};

/// By which the server drops a message that is published twice.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
const ID: &str = "Webhook-Delivery-Id";
const REQUEST_ID: &str = "Webhook-Request-Id";
const HOST: &str = "Webhook-Host";
const STATUS: &str = "Webhook-Status";
const FAILURE: &str = "Webhook-Failure";
const ACCEPTED_AT: &str = "Webhook-Accepted-At";
const ENVELOPE: &str = "Webhook-Envelope";

/// `None` where the envelope has no bytes, as of an outbox in memory.
pub(crate) fn headers_of(stored: &StoredDelivery) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let id = stored.id.to_string();
    headers.insert(MESSAGE_ID, id.as_str());
    headers.insert(ID, id.as_str());
    headers.insert(REQUEST_ID, stored.request_id.as_str());
    headers.insert(HOST, stored.host.as_str());
    if let Some(status) = stored.status {
        headers.insert(STATUS, status.as_str());
    }
    if let Some(failure) = stored.failure {
        headers.insert(FAILURE, failure.name());
    }
    headers.insert(ACCEPTED_AT, to_ms(stored.accepted_at).to_string());
    let envelope = STANDARD_NO_PAD.encode(stored.envelope.bytes()?);
    headers.insert(ENVELOPE, envelope);
    Some(headers)
}

/// `None` for a message that is no delivery.
pub(crate) fn read(headers: &HeaderMap, payload: &[u8]) -> Option<StoredDelivery> {
    let text = |name: &str| headers.get(name).map(|value| value.as_str());
    let status = match text(STATUS) {
        Some(status) => Some(StatusCode::from_bytes(status.as_bytes()).ok()?),
        None => None,
    };
    let failure = match text(FAILURE) {
        Some(name) => Some(FailReason::from_name(name)?),
        None => None,
    };
    let envelope = STANDARD_NO_PAD.decode(text(ENVELOPE)?).ok()?;
    let mut stored = StoredDelivery::new(
        DeliveryId::parse(text(ID)?)?,
        RequestId::parse(text(REQUEST_ID)?)?,
        Host::from(text(HOST)?),
        status,
        from_ms(text(ACCEPTED_AT)?.parse().ok()?),
        Envelope::from_bytes(envelope),
        // A slice would keep all that was read with it in memory.
        Bytes::copy_from_slice(payload).into(),
    );
    stored.failure = failure;
    Some(stored)
}

/// A time before 1970 reads as 1970.
pub(crate) fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_ms(ms: u64) -> SystemTime {
    let since = Duration::from_millis(ms);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> StoredDelivery {
        let mut stored = StoredDelivery::new(
            DeliveryId::fresh(),
            RequestId::parse("run_1").unwrap(),
            Host::from("a.example"),
            Some(StatusCode::NOT_FOUND),
            from_ms(1_700_000_000_123),
            Envelope::from_bytes(vec![0, 255, 10, 13]),
            Bytes::from_static(b"\0done\r\n").into(),
        );
        stored.failure = Some(FailReason::Interrupted);
        stored
    }

    #[test]
    fn a_delivery_comes_back_as_it_was() {
        let stored = stored();
        let headers = headers_of(&stored).unwrap();
        let read = read(&headers, &stored.payload.to_bytes()).unwrap();
        assert_eq!(read.id, stored.id);
        assert_eq!(read.request_id, stored.request_id);
        assert_eq!(read.host, stored.host);
        assert_eq!(read.status, stored.status);
        assert_eq!(read.failure, stored.failure);
        assert_eq!(read.accepted_at, stored.accepted_at);
        assert_eq!(read.envelope.bytes(), stored.envelope.bytes());
        assert_eq!(read.payload.to_bytes(), stored.payload.to_bytes());
    }

    #[test]
    fn what_is_no_delivery_is_not_read() {
        assert!(read(&HeaderMap::new(), b"").is_none());
        for (name, value) in [
            (ID, "1"),
            (REQUEST_ID, "a b"),
            (STATUS, "9999"),
            (FAILURE, "unknown"),
            (ACCEPTED_AT, "yesterday"),
            (ENVELOPE, "%"),
        ] {
            let mut headers = headers_of(&stored()).unwrap();
            headers.insert(name, value);
            assert!(read(&headers, b"").is_none(), "{name}");
        }
    }
}

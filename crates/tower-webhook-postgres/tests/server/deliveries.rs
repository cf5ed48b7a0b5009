//! Deliveries for tests that call the outbox without a dispatcher.

use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use tower_webhook::{
    DeliveryId, Payload,
    endpoint::Host,
    outbox::{Envelope, Lease, NewDelivery, Outbox, Settlement, StoredDelivery, Verdict},
};

pub(crate) fn new(host: &str, payload: &str, lease: bool) -> NewDelivery {
    let id = DeliveryId::fresh();
    let stored = StoredDelivery::new(
        id,
        id.into(),
        Host::from(host),
        Some(StatusCode::OK),
        SystemTime::now(),
        Envelope::from_bytes(vec![1; 60]),
        Payload::from(Bytes::from(payload.to_owned())),
    );
    NewDelivery::new(stored, lease)
}

/// Inserts one, leased.
pub(crate) async fn put_leased(outbox: &impl Outbox, host: &str, payload: &str) -> Lease {
    let leases = outbox.insert(vec![new(host, payload, true)]).await.unwrap();
    leases[0].unwrap()
}

pub(crate) async fn settle(outbox: &impl Outbox, lease: Lease, verdict: Verdict) {
    let settlement = Settlement::new(lease, verdict, None);
    outbox.settle(vec![settlement]).await.unwrap();
}

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use super::{Envelope, envelope::Contents};
use crate::{
    delivery::{Delivery, Payload},
    endpoint::Host,
    event::FailReason,
    id::{DeliveryId, RequestId},
};

/// A process's right to a stored delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lease {
    /// Whose lease it is.
    pub delivery: DeliveryId,
    /// What the outbox tells leases of one delivery apart by: another one each time.
    pub token: u64,
}

impl Lease {
    /// The lease of this delivery with this token.
    #[must_use]
    pub fn new(delivery: DeliveryId, token: u64) -> Self {
        Self { delivery, token }
    }
}

/// A delivery as an outbox keeps it.
///
/// The [`envelope`](Self::envelope) is all of the delivery but its payload, sealed; the fields beside
/// it are for looking deliveries up and showing them. What is signed and sent comes from the
/// envelope alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredDelivery {
    /// The delivery's id, which is unique.
    pub id: DeliveryId,
    /// The request's id, which is not.
    pub request_id: RequestId,
    /// The endpoint's host.
    pub host: Host,
    /// The status of the response; `None` on a failure notice where there was none.
    pub status: Option<StatusCode>,
    /// Why there is no response to forward: it is a failure notice.
    pub failure: Option<FailReason>,
    /// When it was accepted. It may be kept in whole seconds.
    pub accepted_at: SystemTime,
    /// Everything but the payload.
    pub envelope: Envelope,
    /// The payload.
    pub payload: Payload,
}

impl StoredDelivery {
    /// Puts it together from what an outbox has kept.
    #[must_use]
    pub fn new(
        id: DeliveryId,
        request_id: RequestId,
        host: Host,
        status: Option<StatusCode>,
        accepted_at: SystemTime,
        envelope: Envelope,
        payload: Payload,
    ) -> Self {
        Self {
            id,
            request_id,
            host,
            status,
            failure: None,
            accepted_at,
            envelope,
            payload,
        }
    }

    /// Nobody needs its payload any more.
    pub(super) fn drop_payload(&mut self) {
        self.payload = Payload::default();
        if let Contents::Open(delivery) = &mut self.envelope.0 {
            *delivery = delivery.without_payload();
        }
    }

    /// The bytes of what of it has no other bound.
    pub(super) fn kept_len(&self) -> usize {
        match &self.envelope.0 {
            Contents::Open(delivery) => delivery.kept_len(),
            Contents::Bytes(bytes) => self.payload.len() + bytes.len(),
        }
    }

    pub(crate) fn of(delivery: &Delivery, envelope: Envelope) -> Self {
        Self {
            id: delivery.id(),
            request_id: delivery.request_id().clone(),
            host: delivery.endpoint().host_key().clone(),
            status: delivery.status(),
            failure: delivery.failure(),
            accepted_at: SystemTime::now(),
            envelope,
            payload: delivery.payload().clone(),
        }
    }
}

/// A delivery for [`Outbox::insert`](super::Outbox::insert).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewDelivery {
    /// What is to be kept.
    pub stored: StoredDelivery,
    /// Whether it is to be leased at once.
    pub lease: bool,
}

impl NewDelivery {
    /// One that is leased at once, or not.
    #[must_use]
    pub fn new(stored: StoredDelivery, lease: bool) -> Self {
        Self { stored, lease }
    }
}

/// What the dispatcher has room for: plain data, a copy of what is so at this moment.
///
/// To keep to `deliveries` is a duty: each takes memory. To keep to the hosts' numbers saves work:
/// the dispatcher runs no more attempts of a host than it may however many it is handed; the others
/// wait in memory, leased.
///
/// ```
/// use tower_webhook::{endpoint::Host, outbox::Want};
///
/// let mut want = Want::up_to(100);
/// want.of_host.insert(Host::from("busy.example"), 0);
/// assert_eq!(want.of(&Host::from("busy.example")), 0);
/// assert_eq!(want.of(&Host::from("idle.example")), 100);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Want {
    /// At most so many deliveries.
    pub deliveries: usize,
    /// No further delivery once the payloads of those before it have so many bytes together: the
    /// last one may exceed it, so that any payload is delivered some time.
    pub bytes: usize,
    /// At most so many of each of these endpoint hosts. A host with 0 is saturated.
    pub of_host: HashMap<Host, usize>,
    /// At most so many of each other host.
    pub of_other_hosts: usize,
}

impl Want {
    /// So many, of any host and any size.
    #[must_use]
    pub fn up_to(deliveries: usize) -> Self {
        Self {
            deliveries,
            bytes: usize::MAX,
            of_host: HashMap::new(),
            of_other_hosts: deliveries,
        }
    }

    /// At most so many of this host.
    #[must_use]
    pub fn of(&self, host: &Host) -> usize {
        self.of_host
            .get(host)
            .copied()
            .unwrap_or(self.of_other_hosts)
    }
}

/// What [`Outbox::fetch`](super::Outbox::fetch) has found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DueDeliveries {
    /// The deliveries, leased.
    pub deliveries: Vec<LeasedDelivery>,
    /// Whether there may be more that is due already.
    pub more: bool,
    /// The time until the next delivery is due that is not due yet, where that is known.
    pub next_due: Option<Duration>,
}

/// A delivery that was due, leased to this process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeasedDelivery {
    /// The lease.
    pub lease: Lease,
    /// The attempt that is due, from 1.
    pub attempt: u32,
    /// What was kept.
    pub stored: StoredDelivery,
}

impl LeasedDelivery {
    /// A delivery whose next attempt is this one.
    #[must_use]
    pub fn new(lease: Lease, attempt: u32, stored: StoredDelivery) -> Self {
        Self {
            lease,
            attempt,
            stored,
        }
    }
}

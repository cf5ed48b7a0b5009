use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::scheduler::Due;
use crate::{
    delivery::{Delivery, Payload},
    endpoint::Host,
    error::BoxError,
    id::DeliveryId,
    outbox::{
        Envelope, ErasedOutbox, Lease, LeasedDelivery, Limits, NewDelivery, Outbox, Sealing,
        StoredDelivery, Unreadable,
    },
};

/// An outbox, and how deliveries go into it and come out of it.
pub(super) struct Store {
    pub(super) outbox: Arc<dyn ErasedOutbox>,
    pub(super) limits: Limits,
    sealing: Sealing,
}

/// Which of a dispatcher's outboxes: the one that it was given, or the one in memory for what that
/// does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Given,
    Fallback,
}

impl Which {
    pub(super) const ALL: [Self; 2] = [Self::Given, Self::Fallback];
}

/// A delivery whose attempt is this process's business.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) attempt: u32,
    pub(super) lease: Lease,
    pub(super) which: Which,
    /// `None` for just now.
    pub(super) accepted_at: Option<SystemTime>,
    /// Since when it has been put off instead of attempted.
    pub(super) put_off_since: Option<Instant>,
    /// Since when it waits here to be attempted.
    #[cfg(feature = "metrics")]
    pub(super) due_since: Option<Instant>,
}

impl Store {
    pub(super) fn new(outbox: impl Outbox) -> Self {
        Self {
            limits: outbox.limits(),
            sealing: outbox.sealing(),
            outbox: Arc::new(outbox),
        }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        self.sealing.is_in_memory()
    }

    /// What the outbox is to keep of a delivery.
    pub(super) fn to_new(&self, delivery: &Delivery, lease: bool) -> Result<NewDelivery, BoxError> {
        let envelope = self.sealing.seal(delivery)?;
        Ok(NewDelivery::new(
            StoredDelivery::of(delivery, envelope),
            lease,
        ))
    }

    pub(super) fn read(&self, stored: &StoredDelivery) -> Result<Delivery, Unreadable> {
        self.read_with(stored.id, &stored.envelope, &stored.payload)
    }

    /// All of it but its payload.
    pub(super) fn read_without_payload(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
    ) -> Result<Delivery, Unreadable> {
        self.sealing.open_without_payload(id, envelope)
    }

    pub(super) fn read_with(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
        payload: &Payload,
    ) -> Result<Delivery, Unreadable> {
        self.sealing.open(id, envelope, payload)
    }

    pub(super) fn takes(&self, delivery: &Delivery) -> bool {
        let max = self.limits.max_payload;
        max.is_none_or(|max| delivery.payload().len() <= max)
    }
}

impl Job {
    pub(super) fn new(delivery: Delivery, lease: Lease, which: Which) -> Self {
        Self {
            delivery,
            attempt: 1,
            lease,
            which,
            accepted_at: None,
            put_off_since: None,
            #[cfg(feature = "metrics")]
            due_since: None,
        }
    }

    pub(super) fn fetched(leased: &LeasedDelivery, delivery: Delivery, which: Which) -> Self {
        Self {
            attempt: leased.attempt.max(1),
            accepted_at: Some(leased.stored.accepted_at),
            ..Self::new(delivery, leased.lease, which)
        }
    }
}

impl Due for Job {
    fn host(&self) -> &Host {
        self.delivery.endpoint().host_key()
    }

    /// Of what the given outbox has not taken there is no other copy.
    fn can_go_back(&self) -> bool {
        self.which == Which::Given
    }
}

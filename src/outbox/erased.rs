use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    DeliveryFilter, DeliveryRecord, DueDeliveries, Lease, NewDelivery, Outbox, Page, SettleOutcome,
    Settlement, StoredDelivery, Want,
};
use crate::{
    delivery::Payload,
    error::{BoxError, caught},
    id::DeliveryId,
};

/// A panic of the outbox is an error.
pub(crate) type OutboxFuture<T> = BoxFuture<'static, Result<T, BoxError>>;

/// An [`Outbox`], its type erased: the same, call by call. Its futures own what they need, so that a
/// task can go on with one that somebody else has begun.
pub(crate) trait ErasedOutbox: Send + Sync {
    fn insert(self: Arc<Self>, batch: Vec<NewDelivery>) -> OutboxFuture<Vec<Option<Lease>>>;
    fn begin(self: Arc<Self>, runs: Vec<NewDelivery>) -> OutboxFuture<Vec<Option<Lease>>>;
    fn fetch(self: Arc<Self>, want: Want) -> OutboxFuture<DueDeliveries>;
    fn settle(self: Arc<Self>, batch: Vec<Settlement>) -> OutboxFuture<Vec<SettleOutcome>>;
    fn renew(self: Arc<Self>, leases: Vec<Lease>) -> OutboxFuture<Vec<Lease>>;
    fn close(self: Arc<Self>) -> OutboxFuture<Vec<StoredDelivery>>;
    #[cfg(feature = "metrics")]
    fn oldest_due(self: Arc<Self>) -> OutboxFuture<Option<Duration>>;
    fn list(
        self: Arc<Self>,
        filter: DeliveryFilter,
        page: Page,
    ) -> OutboxFuture<Vec<DeliveryRecord>>;
    fn get(self: Arc<Self>, id: DeliveryId) -> OutboxFuture<Option<DeliveryRecord>>;
    fn payload(self: Arc<Self>, id: DeliveryId) -> OutboxFuture<Option<Payload>>;
    fn redeliver(self: Arc<Self>, filter: DeliveryFilter) -> OutboxFuture<usize>;
    fn cancel(self: Arc<Self>, filter: DeliveryFilter) -> OutboxFuture<usize>;
}

impl<O: Outbox> ErasedOutbox for O {
    fn insert(self: Arc<Self>, batch: Vec<NewDelivery>) -> OutboxFuture<Vec<Option<Lease>>> {
        caught(async move { Outbox::insert(&*self, batch).await })
    }

    fn begin(self: Arc<Self>, runs: Vec<NewDelivery>) -> OutboxFuture<Vec<Option<Lease>>> {
        caught(async move { Outbox::begin(&*self, runs).await })
    }

    fn fetch(self: Arc<Self>, want: Want) -> OutboxFuture<DueDeliveries> {
        caught(async move { Outbox::fetch(&*self, want).await })
    }

    fn settle(self: Arc<Self>, batch: Vec<Settlement>) -> OutboxFuture<Vec<SettleOutcome>> {
        caught(async move { Outbox::settle(&*self, batch).await })
    }

    fn renew(self: Arc<Self>, leases: Vec<Lease>) -> OutboxFuture<Vec<Lease>> {
        caught(async move { Outbox::renew(&*self, leases).await })
    }

    fn close(self: Arc<Self>) -> OutboxFuture<Vec<StoredDelivery>> {
        caught(async move { Outbox::close(&*self).await })
    }

    #[cfg(feature = "metrics")]
    fn oldest_due(self: Arc<Self>) -> OutboxFuture<Option<Duration>> {
        caught(async move { Outbox::oldest_due(&*self).await })
    }

    fn list(
        self: Arc<Self>,
        filter: DeliveryFilter,
        page: Page,
    ) -> OutboxFuture<Vec<DeliveryRecord>> {
        caught(async move { Outbox::list(&*self, filter, page).await })
    }

    fn get(self: Arc<Self>, id: DeliveryId) -> OutboxFuture<Option<DeliveryRecord>> {
        caught(async move { Outbox::get(&*self, id).await })
    }

    fn payload(self: Arc<Self>, id: DeliveryId) -> OutboxFuture<Option<Payload>> {
        caught(async move { Outbox::payload(&*self, id).await })
    }

    fn redeliver(self: Arc<Self>, filter: DeliveryFilter) -> OutboxFuture<usize> {
        caught(async move { Outbox::redeliver(&*self, filter).await })
    }

    fn cancel(self: Arc<Self>, filter: DeliveryFilter) -> OutboxFuture<usize> {
        caught(async move { Outbox::cancel(&*self, filter).await })
    }
}

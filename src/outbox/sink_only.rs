use std::convert::Infallible;

use tower_service::Service;

use super::{
    Accepted, AttemptRecord, Claim, DeliveryFilter, DeliveryRecord, Demand, Ledger, Outbox, Source,
    Verdict,
};
use crate::{BoxError, Delivery};

/// An outbox without a source: something else delivers what the sink accepts.
#[derive(Clone, Copy, Debug)]
pub struct SinkOnly<K>(pub(crate) K);

/// Never hands anything out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoSource;

/// Knows of nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoLedger;

impl Ledger for NoLedger {
    async fn deliveries(&self, _: &DeliveryFilter) -> Result<Vec<DeliveryRecord>, BoxError> {
        Ok(Vec::new())
    }

    async fn redeliver(&self, _: &DeliveryFilter) -> Result<usize, BoxError> {
        Ok(0)
    }
}

impl<K> Outbox for SinkOnly<K>
where
    K: Service<Delivery, Response = Accepted, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Sink = K;
    type Source = NoSource;
    type Ledger = NoLedger;

    fn split(self) -> (K, NoSource, NoLedger) {
        (self.0, NoSource, NoLedger)
    }

    fn delivers(&self) -> bool {
        false
    }
}

impl Source for NoSource {
    type Claim = Infallible;

    async fn next(&mut self, _: Demand<'_>) -> Result<Vec<Infallible>, BoxError> {
        std::future::pending().await
    }
}

impl Claim for Infallible {
    fn delivery(&self) -> &Delivery {
        match *self {}
    }

    fn attempt(&self) -> u32 {
        match *self {}
    }

    async fn settle(self, _: Verdict, _: AttemptRecord) -> Result<(), BoxError> {
        match self {}
    }
}

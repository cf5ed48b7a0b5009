use std::convert::Infallible;

use tower_service::Service;

use super::{Accepted, Claim, Demand, Outbox, Source, Verdict};
use crate::{BoxError, Delivery};

/// An outbox without a source: something else delivers what the sink accepts.
#[derive(Clone, Copy, Debug)]
pub struct SinkOnly<K>(pub(crate) K);

/// Never hands anything out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoSource;

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

    fn split(self) -> (K, NoSource) {
        (self.0, NoSource)
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

    async fn settle(self, _: Verdict) -> Result<(), BoxError> {
        match self {}
    }
}

//! What the outboxes keep: looked at, delivered again, given up.

use std::{cmp::Reverse, sync::Arc};

use http::HeaderMap;
use tokio::time::Instant;

use super::{Dispatcher, store::Which};
use crate::{
    attempt::AttemptStart,
    delivery::Payload,
    error::BoxError,
    id::DeliveryId,
    outbox::{DeliveryFilter, DeliveryRecord, DeliveryState, Page},
};

impl Dispatcher {
    /// The deliveries that the outbox keeps and the filter lets through, newest first.
    ///
    /// What an outbox did not take, and waits in memory, is among them. So is what was delivered, for as
    /// long as the outbox's history has it. Calls that run are there that were promised an answer with a
    /// 202; the others become deliveries with their responses.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read, or cannot list.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        let mut found = Vec::new();
        for which in Which::ALL {
            let outbox = Arc::clone(&self.shared.core.store(which).outbox);
            found.extend(outbox.list(filter.clone(), page).await?);
        }
        found.sort_by_key(|record| Reverse(record.id));
        found.truncate(page.at_most());
        found.iter_mut().for_each(|record| record.envelope = None);
        Ok(found)
    }

    /// What is known of one delivery, for as long as it is kept.
    ///
    /// # Errors
    ///
    /// As of [`deliveries`](Self::deliveries).
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, BoxError> {
        for which in Which::ALL {
            let outbox = Arc::clone(&self.shared.core.store(which).outbox);
            if let Some(mut record) = outbox.get(id).await? {
                record.envelope = None;
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The payload of one delivery, for as long as it is kept.
    ///
    /// # Errors
    ///
    /// As of [`deliveries`](Self::deliveries).
    pub async fn payload(&self, id: DeliveryId) -> Result<Option<Payload>, BoxError> {
        for which in Which::ALL {
            let outbox = Arc::clone(&self.shared.core.store(which).outbox);
            if let Some(payload) = outbox.payload(id).await? {
                return Ok(Some(payload));
            }
        }
        Ok(None)
    }

    /// The headers with which this was last sent to its endpoint, with `***` in place of each signature and of
    /// what the operator [adds](crate::dispatch::DispatcherBuilder::with_header), which may be a password.
    ///
    /// `None` before its first attempt, where the outbox keeps no more than the record, and where what it keeps
    /// is sealed with a key that this process has not. They are those that this dispatcher would send:
    /// without `traceparent`, which is another one each time, and with its own
    /// [brand](crate::dispatch::DispatcherBuilder::with_brand), which may have been another one then.
    ///
    /// ```
    /// use tower_webhook::{DeliveryId, Dispatcher};
    ///
    /// # async fn show(dispatcher: Dispatcher, id: DeliveryId) -> Result<(), tower_webhook::BoxError> {
    /// for (name, value) in dispatcher.headers(id).await?.iter().flatten() {
    ///     println!("{name}: {}", value.to_str()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`deliveries`](Self::deliveries).
    pub async fn headers(&self, id: DeliveryId) -> Result<Option<HeaderMap>, BoxError> {
        let core = &self.shared.core;
        for which in Which::ALL {
            let store = core.store(which);
            let Some(record) = Arc::clone(&store.outbox).get(id).await? else {
                continue;
            };
            let (Some(last), Some(envelope)) = (record.attempts.last(), &record.envelope) else {
                return Ok(None);
            };
            let delivery = store.read_without_payload(id, envelope).ok();
            let begun = AttemptStart::past(last.attempt, last.at);
            return Ok(delivery.map(|delivery| {
                core.post
                    .masked_headers(&delivery, record.payload_len, begun)
            }));
        }
        Ok(None)
    }

    /// Delivers this again, from its first attempt on, and says whether it could: it is a dead letter, or was
    /// delivered and its payload is kept. Its end is reported once more.
    ///
    /// It keeps its id, by which a receiver knows that it is the same. The attempts of before stay in its
    /// record.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written, or cannot do this; with one in memory, after
    /// [`shutdown`](Self::shutdown). It is then kept as it was.
    pub async fn redeliver(&self, id: DeliveryId) -> Result<bool, BoxError> {
        let one = DeliveryFilter::new().with_id(id);
        for state in [
            DeliveryState::Dead,
            DeliveryState::Delivered,
            DeliveryState::Failed,
        ] {
            if self.redeliver_all(&one.clone().with_state(state)).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Delivers all dead letters that the filter lets through again, and says how many they are.
    ///
    /// With a filter for [`Delivered`](DeliveryState::Delivered) or [`Failed`](DeliveryState::Failed) it is
    /// those that are delivered again whose payloads are kept.
    ///
    /// # Errors
    ///
    /// As of [`redeliver`](Self::redeliver).
    pub async fn redeliver_all(&self, filter: &DeliveryFilter) -> Result<usize, BoxError> {
        let core = &self.shared.core;
        let filter = match filter.state() {
            None => filter.clone().with_state(DeliveryState::Dead),
            Some(_) => filter.clone(),
        };
        let mut number = 0;
        for which in Which::ALL {
            let outbox = Arc::clone(&core.store(which).outbox);
            let redelivered = outbox.redeliver(filter.clone()).await?;
            if redelivered > 0 {
                core.enter();
                core.fetch_soon(core.hub(), which, Instant::now());
            }
            number += redelivered;
        }
        Ok(number)
    }

    /// Gives up all deliveries that wait and pass the filter, and says how many they are. Those that have an
    /// attempt under way, or are about to, go on; so do calls that run.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, outbox::DeliveryFilter};
    ///
    /// # async fn give_up(dispatcher: Dispatcher) -> Result<(), tower_webhook::BoxError> {
    /// let of_host = DeliveryFilter::new().with_endpoint_host("gone.example.com");
    /// let number = dispatcher.cancel(&of_host).await?;
    /// println!("{number} are given up");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// One in memory ends as [abandoned](crate::event::EventKind::Abandoned); of one in a durable outbox nothing is
    /// reported.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written, or cannot do this; some may be given up then.
    pub async fn cancel(&self, filter: &DeliveryFilter) -> Result<usize, BoxError> {
        let mut number = 0;
        for which in Which::ALL {
            let outbox = Arc::clone(&self.shared.core.store(which).outbox);
            number += outbox.cancel(filter.clone()).await?;
        }
        Ok(number)
    }
}

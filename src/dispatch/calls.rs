//! What a caller may know of its own call: where it stands, and its result.

use std::sync::Arc;

use super::{Dispatcher, store::Which};
use crate::{
    delivery::Delivery,
    error::BoxError,
    id::RequestId,
    outbox::{DeliveryFilter, DeliveryRecord, Page},
};

/// A call of which somebody may know.
pub(crate) struct Call {
    pub(crate) record: DeliveryRecord,
    which: Which,
}

/// Of calls with the same id, so many of the newest are looked at: whoever uses one again and again hides
/// calls of somebody else no sooner than that.
const MOST: usize = 1_024;
const AT_ONCE: usize = 64;

impl Dispatcher {
    /// The newest call with this id that may be looked at: who asks is judged with the record and, where it
    /// can be read, with the delivery, which has no payload.
    pub(crate) async fn call(
        &self,
        id: &RequestId,
        may_look: impl Fn(&DeliveryRecord, Option<&Delivery>) -> bool,
    ) -> Result<Option<Call>, BoxError> {
        let mut newest: Option<Call> = None;
        for which in Which::ALL {
            let found = self.call_in(which, id, &may_look).await?;
            let is_newer = |found: &Call| {
                newest
                    .as_ref()
                    .is_none_or(|newest| newest.record.id < found.record.id)
            };
            if let Some(found) = found.filter(is_newer) {
                newest = Some(found);
            }
        }
        Ok(newest)
    }

    async fn call_in(
        &self,
        which: Which,
        id: &RequestId,
        may_look: &impl Fn(&DeliveryRecord, Option<&Delivery>) -> bool,
    ) -> Result<Option<Call>, BoxError> {
        let store = self.shared.core.store(which);
        if !store.limits.can_list {
            return Ok(None);
        }
        let filter = DeliveryFilter::new().with_request_id(id.clone());
        let mut page = Page::first(AT_ONCE);
        for _ in 0..MOST / AT_ONCE {
            let outbox = Arc::clone(&store.outbox);
            let records = outbox.list(filter.clone(), page).await?;
            let Some(last) = records.last() else {
                return Ok(None);
            };
            let is_last = records.len() < AT_ONCE;
            page = page.after(last.id);
            for record in records {
                let envelope = record.envelope.as_ref();
                let delivery = envelope
                    .and_then(|envelope| store.read_without_payload(record.id, envelope).ok());
                if may_look(&record, delivery.as_ref()) {
                    return Ok(Some(Call { record, which }));
                }
            }
            if is_last {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// What the endpoint of this call got, or is to get; `None` where it is not kept.
    pub(crate) async fn result(&self, call: &Call) -> Result<Option<Delivery>, BoxError> {
        let store = self.shared.core.store(call.which);
        let id = call.record.id;
        let payload = Arc::clone(&store.outbox).payload(id).await?;
        let (Some(payload), Some(envelope)) = (payload, &call.record.envelope) else {
            return Ok(None);
        };
        // What was changed is not shown.
        Ok(store.read_with(id, envelope, &payload).ok())
    }
}

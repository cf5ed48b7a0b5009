//! Deliveries are published, all at the same time, and each acknowledgement is awaited.
//!
//! A message is nobody's until it is pulled. So what is to be leased at once is pulled back at once: alone
//! on the stream, that brings just these. What comes in their place, because it has waited for longer, is
//! kept for the next fetch; what somebody else has pulled is theirs.

use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use futures_util::future::{join_all, try_join_all};
use tokio::time::timeout;
use tower_webhook::{
    DeliveryId,
    outbox::{Lease, NewDelivery},
};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    attempts::NextAttempt,
    engine::{Engine, Pulling, deadline},
    message,
    pull::Pulled,
    send::publish_error,
};

/// What a batch may take longer for each of its messages, and bytes a second.
const PER_MESSAGE: Duration = Duration::from_millis(5);
const BYTES_A_SECOND: usize = 16 << 20;

/// How long the consumer may take to hear of what was published, and of what was published before
/// something that has come by now.
pub(crate) const HEARD: Duration = Duration::from_millis(50);
const HEARD_LATER: Duration = Duration::from_millis(10);

impl Engine {
    pub(crate) async fn insert(
        &self,
        batch: Vec<NewDelivery>,
    ) -> Result<Vec<Option<Lease>>, JetStreamOutboxError> {
        let wanted = batch.iter().filter(|new| new.lease);
        let wanted = self.expect(wanted.map(|new| new.stored.id));
        let number = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let bytes: usize = batch.iter().map(|new| new.stored.payload.len()).sum();
        let seconds = u64::try_from(bytes / BYTES_A_SECOND).unwrap_or(u64::MAX);
        let time = self.settings.timeout + PER_MESSAGE * number + Duration::from_secs(seconds);
        let published = match timeout(time, self.publish_all(&batch)).await {
            Ok(published) => published,
            Err(_) => Err(Kind::TimedOut.into()),
        };
        self.note_publication();
        if published.is_ok() && !wanted.is_empty() {
            self.pull_back(&wanted).await;
        }
        let mut come = self.end_expecting(&wanted);
        if let Err(error) = published {
            let back = come.into_values();
            let back = back.map(|pulled| self.hint(pulled.reply, AckKind::Nak(None)));
            join_all(back).await;
            self.rebuild_after(&error).await;
            return Err(error);
        }
        let leased = batch.iter().map(|new| come.remove(&new.stored.id));
        let leases = leased.collect::<Vec<_>>().into_iter();
        let leases = leases.map(async |pulled| self.lease_inserted(pulled?).await);
        Ok(join_all(leases).await)
    }

    async fn publish_all(&self, batch: &[NewDelivery]) -> Result<(), JetStreamOutboxError> {
        // What is to be leased comes first, so that the others are not pulled in its place.
        let leased = batch.iter().filter(|new| new.lease);
        let others = batch.iter().filter(|new| !new.lease);
        let mut published = Vec::with_capacity(batch.len());
        for NewDelivery { stored, .. } in leased.chain(others) {
            // Nothing else is known to have no bytes.
            let headers = message::headers_of(stored).ok_or(Kind::Other)?;
            let subject = self.settings.name.subject();
            let payload = stored.payload.to_bytes();
            published.push(self.publish(subject, Some(headers), payload).await?);
        }
        let acknowledged = published.into_iter().map(IntoFuture::into_future);
        try_join_all(acknowledged).await.map_err(publish_error)?;
        Ok(())
    }

    /// As far as that goes quickly: what does not come is left to a fetch.
    async fn pull_back(&self, wanted: &[DeliveryId]) {
        let time = self.settings.timeout / 2;
        let until = deadline(time);
        let Ok(mut pulling) = timeout(time, self.pulling.lock()).await else {
            return;
        };
        let (mut wait, mut in_the_way) = (HEARD, 0);
        loop {
            let missing = wanted.iter().filter(|id| !self.has_come(**id)).count();
            if missing == 0 || pulling.ready.is_full() {
                return;
            }
            let pulled = self.pull_some(missing, Some(wait), until, &mut pulling);
            let Ok((others, is_all)) = pulled.await else {
                return;
            };
            if is_all {
                return;
            }
            if others > 0 {
                // However much is in the way, it takes few questions: as much again, and what is missing.
                in_the_way += others;
                let number = missing + in_the_way;
                let Ok((others, _)) = self.pull_some(number, None, until, &mut pulling).await
                else {
                    return;
                };
                in_the_way += others;
            }
            wait = HEARD_LATER;
        }
    }

    /// Leaves what an insert waits for to that. Says how many others have come, and whether there are no more.
    async fn pull_some(
        &self,
        number: usize,
        wait: Option<Duration>,
        until: Instant,
        pulling: &mut Pulling,
    ) -> Result<(usize, bool), JetStreamOutboxError> {
        let batch = self.pull(number, wait, until).await?;
        let mut others = 0;
        for pulled in batch.messages {
            if let Some(other) = self.leave_for_insert(pulled) {
                pulling.ready.push(other);
                others += 1;
            }
        }
        Ok((others, batch.is_all))
    }

    async fn lease_inserted(&self, pulled: Pulled) -> Option<Lease> {
        // Inserted once more, it may have had attempts.
        let next = match pulled.delivered {
            1 => Ok(NextAttempt::FIRST),
            _ => self.next_attempt(pulled.stored.id).await,
        };
        let back = match next {
            Ok(next) => match next.is_early(self.clock.now()) {
                None => return Some(self.lease(&pulled, next.number)),
                early => early,
            },
            Err(_) => None,
        };
        self.hint(pulled.reply, AckKind::Nak(back)).await;
        None
    }
}

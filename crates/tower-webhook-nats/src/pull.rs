//! One question for messages that wait. It is answered at once: nothing is fetched ahead.

use std::time::{Duration, Instant};

use async_nats::{
    Subject,
    jetstream::{AckKind, Message},
};
use futures_util::StreamExt;
use tokio::time::timeout_at;
use tower_webhook::outbox::StoredDelivery;

use crate::{JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine, message};

/// A message that was pulled. Its lease runs.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) stored: StoredDelivery,
    pub(crate) reply: Subject,
    /// Its number in the stream.
    pub(crate) sequence: u64,
    /// How often it was delivered to anybody, this time included.
    pub(crate) delivered: u64,
    /// When it was asked for: its lease began then, or later.
    pub(crate) at: Instant,
    /// How long it had been in the stream by then.
    pub(crate) age: Duration,
}

/// What one question has brought.
#[derive(Debug, Default)]
pub(crate) struct PulledBatch {
    pub(crate) messages: Vec<Pulled>,
    /// There was no more.
    pub(crate) is_all: bool,
}

/// One question brings no more bytes than this, or one message.
const BYTES: usize = 8 << 20;

impl Engine {
    /// At most so many of the messages that wait. Whoever asks holds the lock of `pulling`.
    ///
    /// A consumer hears of a message a moment after its publisher has its acknowledgement. Who knows that
    /// there must be some has the server wait for so long, or until all have come.
    pub(crate) async fn pull(
        &self,
        at_most: usize,
        wait: Option<Duration>,
        until: Instant,
    ) -> Result<PulledBatch, JetStreamOutboxError> {
        let at = Instant::now();
        let until = tokio::time::Instant::from_std(until);
        let bytes = BYTES.max(self.client.max_payload());
        let consumer = self.consumer();
        let asked = async {
            match wait {
                None => {
                    let fetch = consumer.fetch().max_messages(at_most).max_bytes(bytes);
                    fetch.messages().await
                }
                Some(wait) => {
                    let batch = consumer.batch().max_messages(at_most).max_bytes(bytes);
                    batch.expires(wait).messages().await
                }
            }
        };
        let asked = timeout_at(until, asked).await.map_err(|_| Kind::TimedOut)?;
        let mut answers =
            asked.map_err(|error| JetStreamOutboxError::new(Kind::Other).with_source(error))?;
        let mut batch = PulledBatch::default();
        let mut number = 0;
        while number < at_most {
            match timeout_at(until, answers.next()).await {
                Ok(Some(Ok(message))) => {
                    number += 1;
                    batch.messages.extend(self.read(message, at));
                }
                Ok(None) => {
                    batch.is_all = true;
                    break;
                }
                // It has brought all the bytes that it may.
                Ok(Some(Err(_))) if number > 0 => break,
                Ok(Some(Err(error))) => {
                    let refused = JetStreamOutboxError::new(Kind::Refused);
                    return Err(refused.with_detail(error.to_string()));
                }
                Err(_) if number > 0 => break,
                Err(_) => return Err(Kind::TimedOut.into()),
            }
        }
        Ok(batch)
    }

    /// `None` for what is no delivery: that is buried.
    fn read(&self, message: Message, at: Instant) -> Option<Pulled> {
        let (sequence, delivered, published) = match message.info() {
            Ok(info) => (info.stream_sequence, info.delivered, info.published),
            Err(_) => return None,
        };
        let age = message::to_ms(std::time::SystemTime::now()).saturating_sub(
            u64::try_from(published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
        );
        let message = message.message;
        // A slice would keep all that was read with it in memory, for as long as the lease.
        let reply = Subject::from(message.reply?.as_str().to_owned());
        let headers = message.headers.unwrap_or_default();
        let Some(stored) = message::read(&headers, &message.payload) else {
            self.bury_foreign(sequence, reply);
            return None;
        };
        Some(Pulled {
            stored,
            reply,
            sequence,
            delivered: u64::try_from(delivered).unwrap_or(1),
            at,
            age: Duration::from_millis(age),
        })
    }

    /// What somebody else has put into the stream would come again and again.
    fn bury_foreign(&self, sequence: u64, reply: Subject) {
        tracing::error!(
            sequence,
            "a message in the JetStream outbox is no delivery: it becomes a dead letter"
        );
        let (client, context, name) = (
            self.client.clone(),
            self.context.clone(),
            self.settings.name.clone(),
        );
        tokio::spawn(async move {
            let buried = crate::dead::bury(&context, &name, sequence, None).await;
            match buried {
                Ok(()) => drop(client.publish(reply, AckKind::Ack.into()).await),
                Err(error) => tracing::warn!(%error, "it could not be buried, and comes again"),
            }
        });
    }
}

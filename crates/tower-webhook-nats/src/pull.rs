//! One question for messages that wait. It is answered at once: nothing is fetched ahead.

use std::time::{Duration, Instant};

use async_nats::{
    StatusCode, Subject, Subscriber,
    jetstream::{AckKind, Message, consumer::pull::BatchConfig},
};
use futures_util::StreamExt;
use tokio::time::{timeout, timeout_at};
use tower_webhook::outbox::StoredDelivery;

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine, message,
    send::check_connection,
};

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
/// The server counts a message with its subjects: one that was too large for a question would be in the way of
/// all others for ever.
const SUBJECTS: usize = 64 << 10;

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
        check_connection(&self.client)?;
        let at = Instant::now();
        let until = tokio::time::Instant::from_std(until);
        let mut answers = timeout_at(until, self.ask(at_most, wait))
            .await
            .map_err(|_| Kind::TimedOut)??;
        let mut batch = PulledBatch::default();
        let (mut number, mut expected, mut until) = (0, at_most, until);
        while number < expected {
            let Ok(Some(answer)) = timeout_at(until, answers.next()).await else {
                // What is on its way comes again after its lease.
                match number {
                    0 if !batch.is_all => return Err(Kind::TimedOut.into()),
                    _ => break,
                }
            };
            match answer.status {
                None | Some(StatusCode::OK) => {
                    number += 1;
                    batch.messages.extend(self.read(answer, at));
                }
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(status) if is_end(status) => {
                    batch.is_all = status != COMPLETED;
                    let unknown = if batch.is_all { number } else { at_most };
                    expected = sent(&answer, at_most).unwrap_or(unknown);
                    until = until.min(tokio::time::Instant::now() + OVERTAKEN);
                }
                Some(_) if number > 0 => break,
                Some(status) => {
                    let refused = JetStreamOutboxError::new(Kind::Refused);
                    return Err(refused.with_detail(format!("a pull was answered with {status}")));
                }
            }
        }
        Ok(batch)
    }

    async fn ask(
        &self,
        at_most: usize,
        wait: Option<Duration>,
    ) -> Result<Subscriber, JetStreamOutboxError> {
        let failed = JetStreamOutboxError::new(Kind::Other);
        let inbox = Subject::from(self.client.new_inbox());
        let answers = match self.client.subscribe(inbox.clone()).await {
            Ok(answers) => answers,
            Err(error) => return Err(failed.with_source(error)),
        };
        let question = BatchConfig {
            batch: at_most,
            expires: wait,
            no_wait: wait.is_none(),
            max_bytes: BYTES.max(self.client.max_payload() + SUBJECTS),
            ..BatchConfig::default()
        };
        match self.consumer().request_batch(question, inbox).await {
            Ok(()) => Ok(answers),
            Err(error) => Err(failed.with_source(error)),
        }
    }

    /// `None` for what is no delivery: that is buried.
    fn read(&self, message: async_nats::Message, at: Instant) -> Option<Pulled> {
        let message = Message {
            message,
            context: self.context.clone(),
        };
        let (sequence, delivered, published) = match message.info() {
            Ok(info) => (info.stream_sequence, info.delivered, info.published),
            Err(_) => return None,
        };
        let age = self.clock.now().saturating_sub(
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
        let time = 2 * self.settings.timeout;
        tokio::spawn(async move {
            let buried = async {
                crate::dead::bury(&context, &name, sequence, None).await?;
                let sent = client.publish(reply, AckKind::Ack.into()).await;
                sent.map_err(|error| JetStreamOutboxError::new(Kind::Other).with_source(error))
            };
            let buried = timeout(time, buried).await;
            if let Err(error) = buried.unwrap_or_else(|_| Err(Kind::TimedOut.into())) {
                tracing::warn!(%error, "it could not be buried, and comes again");
            }
        });
    }
}

/// All bytes that were asked for have come, or all messages.
const COMPLETED: StatusCode = StatusCode::REQUEST_TERMINATED;
/// How long a message may come after the end that has overtaken it.
const OVERTAKEN: Duration = Duration::from_secs(1);

fn is_end(status: StatusCode) -> bool {
    [StatusCode::NOT_FOUND, StatusCode::TIMEOUT, COMPLETED].contains(&status)
}

/// How many messages the server has sent before this end. With replicas each of them waits for a quorum,
/// and the end does not.
fn sent(end: &async_nats::Message, asked: usize) -> Option<usize> {
    let left = end.headers.as_ref()?.get("Nats-Pending-Messages")?;
    Some(asked.saturating_sub(left.as_str().parse().ok()?))
}

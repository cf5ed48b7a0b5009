//! Which attempt of a delivery is the next one, and from when on.
//!
//! The server counts how often it has delivered a message, which includes every crash and everything that
//! was handed back, and a message cannot be changed. So the number is a message of its own in another
//! stream, the last one of its subject. The alternative, to publish the delivery anew with the next number,
//! writes the payload once more for each attempt, and for a moment the delivery is there twice.

use std::time::Duration;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use tower_webhook::DeliveryId;

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, clock, engine::Engine,
    send::publish_error,
};

/// The next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextAttempt {
    pub(crate) number: u32,
    /// By the server's clock, in milliseconds since 1970.
    not_before: u64,
}

impl NextAttempt {
    pub(crate) const FIRST: Self = Self {
        number: 1,
        not_before: 0,
    };

    /// The time until it is due; `None` where it is. The server has waited for the same time: less than its
    /// tick, and than what its clock is known to, is no time.
    pub(crate) fn is_early(self, now: u64) -> Option<Duration> {
        let left = self.not_before.saturating_sub(now);
        (left > 50).then(|| Duration::from_millis(left))
    }

    /// What was noted at that time of the server.
    fn decode(text: &[u8], at: u64) -> Option<Self> {
        let (number, delay) = str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self {
            number: number.parse().ok()?,
            not_before: at.saturating_add(delay.parse().ok()?),
        })
    }
}

/// The next attempt after this one, so long after it is noted.
fn encode(after: u32, delay: Duration) -> String {
    format!("{} {}", after.saturating_add(1), delay.as_millis())
}

impl Engine {
    /// Of a delivery that may have had an attempt.
    pub(crate) async fn next_attempt(
        &self,
        id: DeliveryId,
    ) -> Result<NextAttempt, JetStreamOutboxError> {
        let name = &self.settings.name;
        let failed = |kind: Kind| JetStreamOutboxError::new(kind);
        let stream = self
            .context
            .get_stream_no_info(name.attempts_stream())
            .await;
        let stream = stream.map_err(|error| failed(Kind::Other).with_source(error))?;
        // Not by a direct get: a replica that lags would tell an earlier number.
        let subject = name.attempts_subject(id);
        let message = stream.get_last_raw_message_by_subject(&subject);
        match self.in_time(self.settings.timeout, message).await? {
            Ok(message) => {
                let next = NextAttempt::decode(&message.payload, clock::taken_at(&message));
                Ok(next.unwrap_or(NextAttempt::FIRST))
            }
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(NextAttempt::FIRST),
                LastRawMessageErrorKind::JetStream(reason) => {
                    Err(failed(Kind::Refused).with_detail(reason.to_string()))
                }
                // The question was not answered.
                _ => Err(failed(Kind::TimedOut).with_source(error)),
            },
        }
    }

    /// The one after this attempt is due in this time.
    pub(crate) async fn note_attempt(
        &self,
        id: DeliveryId,
        attempt: u32,
        delay: Duration,
    ) -> Result<(), JetStreamOutboxError> {
        let subject = self.settings.name.attempts_subject(id);
        let next = encode(attempt, delay).into();
        let noted = async {
            let published = self.publish(subject, None, next).await?;
            published.await.map_err(publish_error)
        };
        self.in_time(self.settings.timeout, noted).await??;
        Ok(())
    }

    /// Its delivery has ended. What is missed is gone after a month.
    pub(crate) async fn forget_attempt(&self, id: DeliveryId) {
        let name = &self.settings.name;
        let stream = self
            .context
            .get_stream_no_info(name.attempts_stream())
            .await;
        let Ok(stream) = stream else { return };
        let purged = stream.purge().filter(name.attempts_subject(id));
        let purged = self.in_time(self.settings.timeout, purged.into_future());
        if let Ok(Err(error)) = purged.await {
            tracing::debug!(%error, "the number of an attempt stays for a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was() {
        let minute = Duration::from_secs(60);
        let next = NextAttempt::decode(encode(2, minute).as_bytes(), 5_000).unwrap();
        assert_eq!(next.number, 3);
        assert_eq!(next.is_early(5_000), Some(minute));
        assert_eq!(next.is_early(65_000), None);
        let now = NextAttempt::decode(encode(1, Duration::ZERO).as_bytes(), 5_000);
        assert_eq!(now.unwrap().is_early(5_000), None);
        for text in ["", "1", "1 ", "a b", "1 2 3", "-1 2"] {
            assert_eq!(NextAttempt::decode(text.as_bytes(), 0), None, "{text:?}");
        }
    }
}

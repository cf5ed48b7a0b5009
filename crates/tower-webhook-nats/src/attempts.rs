//! Which attempt of a delivery is the next one, and from when on.
//!
//! The server counts how often it has delivered a message, which includes every crash and everything that
//! was handed back, and a message cannot be changed. So the number is a message of its own in another
//! stream, the last one of its subject. The alternative, to publish the delivery anew with the next number,
//! writes the payload once more for each attempt, and for a moment the delivery is there twice.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use tower_webhook::DeliveryId;

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine, message::to_ms,
};

/// The next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextAttempt {
    pub(crate) number: u32,
    /// By the wall clock, in milliseconds since 1970.
    not_before: u64,
}

impl NextAttempt {
    pub(crate) const FIRST: Self = Self {
        number: 1,
        not_before: 0,
    };

    pub(crate) fn after(number: u32, delay: Duration) -> Self {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self {
            number: number.saturating_add(1),
            not_before: to_ms(SystemTime::now()).saturating_add(delay),
        }
    }

    /// The time until it is due; `None` where it is. The server has waited for the same time by a clock of
    /// its own: less than its tick is no time.
    pub(crate) fn is_early(self) -> Option<Duration> {
        let left = self.not_before.saturating_sub(to_ms(SystemTime::now()));
        (left > 20).then(|| Duration::from_millis(left))
    }

    fn encode(self) -> String {
        format!("{} {}", self.number, self.not_before)
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let (number, not_before) = str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self {
            number: number.parse().ok()?,
            not_before: not_before.parse().ok()?,
        })
    }
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
        match stream
            .get_last_raw_message_by_subject(&name.attempts_subject(id))
            .await
        {
            Ok(message) => Ok(NextAttempt::decode(&message.payload).unwrap_or(NextAttempt::FIRST)),
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

    pub(crate) async fn note_attempt(
        &self,
        id: DeliveryId,
        next: NextAttempt,
    ) -> Result<(), JetStreamOutboxError> {
        let subject = self.settings.name.attempts_subject(id);
        let published = self.publish(subject, None, next.encode().into()).await?;
        self.acknowledged(published).await
    }

    /// Its delivery has ended. What is missed is gone after a month.
    pub(crate) async fn forget_attempt(&self, id: DeliveryId) {
        let name = &self.settings.name;
        let stream = self
            .context
            .get_stream_no_info(name.attempts_stream())
            .await;
        let Ok(stream) = stream else { return };
        let purged = stream.purge().filter(name.attempts_subject(id)).await;
        if let Err(error) = purged {
            tracing::debug!(%error, "the number of an attempt stays for a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was() {
        let next = NextAttempt::after(2, Duration::from_secs(60));
        assert_eq!(next.number, 3);
        assert_eq!(NextAttempt::decode(next.encode().as_bytes()), Some(next));
        let left = next.is_early().unwrap();
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30));
        assert_eq!(NextAttempt::after(1, Duration::ZERO).is_early(), None);
        for text in ["", "1", "1 ", "a b", "1 2 3", "-1 2"] {
            assert_eq!(NextAttempt::decode(text.as_bytes()), None, "{text:?}");
        }
    }
}

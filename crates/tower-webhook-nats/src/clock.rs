//! What is due is so by the server's clock: those of the processes may differ.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use tower_webhook::DeliveryId;

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine, message::to_ms,
};

/// How often it is looked at what the server's clock says: this process's may be set, or drift.
pub(crate) const LOOK: Duration = Duration::from_secs(60);

/// By how many milliseconds the server's clock is ahead of this process's.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(AtomicI64);

impl ServerClock {
    /// In milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        to_ms(SystemTime::now()).saturating_add_signed(self.0.load(Ordering::Relaxed))
    }

    /// At some time between these two the server's clock said this.
    fn set(&self, before: u64, after: u64, said: u64) {
        let here = before.midpoint(after);
        let ahead = i128::from(said) - i128::from(here);
        let ahead = i64::try_from(ahead).unwrap_or(0);
        self.0.store(ahead, Ordering::Relaxed);
    }
}

impl Engine {
    /// A message has the time in it at which the server has taken it, and no other answer has one. It is as
    /// the next attempt of a delivery that nobody has.
    pub(crate) async fn look_at_the_clock(&self) -> Result<(), JetStreamOutboxError> {
        let (name, id) = (&self.settings.name, DeliveryId::fresh());
        let before = to_ms(SystemTime::now());
        let published = self
            .publish(name.attempts_subject(id), None, Bytes::new())
            .await?;
        let sequence = self.acknowledged(published).await?;
        let after = to_ms(SystemTime::now());
        let stream = self
            .context
            .get_stream_no_info(name.attempts_stream())
            .await;
        let stream =
            stream.map_err(|error| JetStreamOutboxError::new(Kind::Other).with_source(error))?;
        let message = stream.get_raw_message(sequence).await;
        let message =
            message.map_err(|error| JetStreamOutboxError::new(Kind::Refused).with_source(error))?;
        self.clock.set(before, after, taken_at(&message));
        self.forget_attempt(id).await;
        Ok(())
    }
}

/// When the server has taken it, in milliseconds since 1970.
pub(crate) fn taken_at(message: &StreamMessage) -> u64 {
    let ms = message.time.unix_timestamp_nanos() / 1_000_000;
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_the_server_said() {
        let clock = ServerClock::default();
        let here = to_ms(SystemTime::now());
        for said in [here + 3_600_000, here - 3_600_000, here] {
            let now = to_ms(SystemTime::now());
            clock.set(now, now, said);
            assert!((said..said + 1_000).contains(&clock.now()));
        }
    }
}

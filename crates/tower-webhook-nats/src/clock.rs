//! What is due is so by the server's clock: those of the processes may differ.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use async_nats::{
    datetime::{DateTime, parse_rfc3339},
    jetstream::message::StreamMessage,
};
use serde_json::Value;

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
    /// What the server says of a stream has the time in it. Nothing is written: there may be no room.
    pub(crate) async fn look_at_the_clock(&self) -> Result<(), JetStreamOutboxError> {
        let subject = format!("STREAM.INFO.{}", self.settings.name.attempts_stream());
        let before = to_ms(SystemTime::now());
        let asked = self.context.request(subject, &());
        let answer: Value = match self.in_time(self.settings.timeout, asked).await? {
            Ok(answer) => answer,
            Err(error) => return Err(JetStreamOutboxError::new(Kind::TimedOut).with_source(error)),
        };
        let after = to_ms(SystemTime::now());
        let said = answer["ts"].as_str();
        let said = said.and_then(|text| parse_rfc3339(text).ok());
        let said = said.ok_or(Kind::Refused)?;
        self.clock.set(before, after, ms_of(said));
        Ok(())
    }
}

/// When the server has taken it, in milliseconds since 1970.
pub(crate) fn taken_at(message: &StreamMessage) -> u64 {
    ms_of(message.time)
}

fn ms_of(time: DateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
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

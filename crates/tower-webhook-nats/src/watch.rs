//! Whether pulling still works. Consumers have been seen that give nothing though messages wait, after a
//! server has left its cluster: then everything is opened anew.

use std::time::{Duration, Instant};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    engine::{Engine, is_time},
    send::check_connection,
    streams,
};

/// How often it is looked whether messages wait where none come.
const LOOK: Duration = Duration::from_secs(10);
/// How often the streams and the consumer are looked for where something fails.
const REBUILD: Duration = Duration::from_secs(1);

pub(crate) struct Watch {
    looked: Instant,
    /// Messages waited the last time, too.
    is_suspicious: bool,
    /// Since when each pull has failed.
    failing_since: Option<Instant>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            looked: Instant::now(),
            is_suspicious: false,
            failing_since: None,
        }
    }

    /// Whether pulls have failed for two looks on end.
    fn has_failed_for_long(&mut self, has_failed: bool, now: Instant) -> bool {
        if !has_failed {
            self.failing_since = None;
            return false;
        }
        let since = *self.failing_since.get_or_insert(now);
        let is_long = now - since >= 2 * LOOK;
        if is_long {
            self.failing_since = None;
        }
        is_long
    }
}

impl Engine {
    /// After each question: whether nothing has come, and whether it has failed.
    pub(crate) async fn watch(&self, watch: &mut Watch, is_empty: bool, has_failed: bool) {
        // Without a connection, the client is about to open one.
        let is_connected = check_connection(&self.client).is_ok();
        if watch.has_failed_for_long(has_failed && is_connected, Instant::now()) {
            tracing::error!("the JetStream outbox cannot be pulled from: it connects anew");
            self.connect_anew().await;
        } else if has_failed {
            self.rebuild().await;
        }
        if !is_empty {
            watch.is_suspicious &= has_failed;
            return;
        }
        if watch.looked.elapsed() < LOOK {
            return;
        }
        watch.looked = Instant::now();
        let consumer = self.consumer();
        let asked = self.in_time(self.settings.timeout, consumer.get_info());
        let Ok(Ok(info)) = asked.await else {
            return;
        };
        let was_suspicious = std::mem::replace(&mut watch.is_suspicious, info.num_pending > 0);
        if was_suspicious && watch.is_suspicious {
            watch.is_suspicious = false;
            tracing::error!(
                waiting = info.num_pending,
                "deliveries wait in the JetStream outbox and none come: it connects anew"
            );
            self.connect_anew().await;
        }
    }

    async fn connect_anew(&self) {
        if let Err(error) = self.client.force_reconnect().await {
            tracing::warn!(%error, "the JetStream outbox cannot connect anew");
        }
        self.rebuild().await;
    }

    /// Where the server refuses, a stream may be gone, and nobody else creates it.
    pub(crate) async fn rebuild_after(&self, error: &JetStreamOutboxError) {
        if error.kind() == Kind::Refused {
            self.rebuild().await;
        }
    }

    /// Looks for the streams and the consumer, and creates what is missing.
    async fn rebuild(&self) {
        if !is_time(&self.rebuilt, REBUILD) {
            return;
        }
        let set_up = streams::set_up(&self.context, &self.settings);
        match self.in_time(4 * self.settings.timeout, set_up).await {
            Ok(Ok(consumer)) => self.replace_consumer(consumer),
            Ok(Err(error)) | Err(error) => {
                tracing::warn!(%error, "the streams of the JetStream outbox are not as they have to be")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_that_fail_for_two_looks_on_end_are_noticed() {
        let (mut watch, now) = (Watch::new(), Instant::now());
        assert!(!watch.has_failed_for_long(true, now));
        assert!(!watch.has_failed_for_long(true, now + LOOK));
        assert!(watch.has_failed_for_long(true, now + 2 * LOOK));
        // Then once more as long.
        let later = now + 2 * LOOK;
        assert!(!watch.has_failed_for_long(true, later));
        assert!(!watch.has_failed_for_long(false, later + LOOK));
        assert!(!watch.has_failed_for_long(true, later + 2 * LOOK));
        assert!(!watch.has_failed_for_long(true, later + 3 * LOOK));
    }
}

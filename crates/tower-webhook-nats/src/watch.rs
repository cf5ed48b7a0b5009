//! Whether pulling still works. Consumers have been seen that give nothing though messages wait, after a
//! server has left its cluster: then everything is opened anew.

use std::time::{Duration, Instant};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    engine::{Engine, is_time},
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
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            looked: Instant::now(),
            is_suspicious: false,
        }
    }
}

impl Engine {
    /// After each question: whether nothing has come, and whether it has failed.
    pub(crate) async fn watch(&self, watch: &mut Watch, is_empty: bool, has_failed: bool) {
        if has_failed {
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
            if let Err(error) = self.client.force_reconnect().await {
                tracing::warn!(%error, "the JetStream outbox cannot connect anew");
            }
            self.rebuild().await;
        }
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

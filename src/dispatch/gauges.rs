//! What is so at this moment, for metrics.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Dispatcher, core::Core, hub::Hub, store::Which};
use crate::{error::BoxError, event::metrics::Gauges};

/// How long an outbox may take to say what has been due the longest: whoever asks for metrics waits for
/// it, most often ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

impl Dispatcher {
    /// Writes the gauges, where the dispatcher has
    /// [metrics](super::DispatcherBuilder::with_metrics): what is under way at this moment, and for how long
    /// the oldest has waited. For an exporter, before it renders its page; one that renders by itself finds
    /// gauges that are as old as the last call of this, so call it every 15 seconds or so.
    ///
    /// It asks the outbox one question, and waits for the answer for 3 seconds at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_webhook::Dispatcher;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let dispatcher = Dispatcher::builder().with_metrics().build();
    /// let handle = dispatcher.clone();
    /// let recording = tokio::spawn(async move {
    ///     let mut ticks = tokio::time::interval(Duration::from_secs(15));
    ///     loop {
    ///         ticks.tick().await;
    ///         handle.record_gauges().await;
    ///     }
    /// });
    /// # recording.abort();
    /// # }
    /// ```
    pub async fn record_gauges(&self) {
        let core = &self.shared.core;
        let Some(metrics) = core.events.metrics() else {
            return;
        };
        let of_outboxes = core.oldest_due().await;
        let in_hub = InHub::of(&core.hub(), Instant::now());
        metrics.record_gauges(Gauges {
            pending: core.admission.pending(),
            waiting: in_hub.waiting,
            attempting: in_hub.attempting,
            settling: in_hub.settling,
            oldest: of_outboxes.ok().map(|oldest| oldest.max(in_hub.oldest)),
            reserved_bytes: core.admission.reserved_bytes(),
            leases: in_hub.leases,
            client: core.post.in_use(),
        });
    }
}

/// What the hub knows, in one look.
struct InHub {
    waiting: usize,
    leases: usize,
    attempting: usize,
    settling: usize,
    oldest: Duration,
}

impl InHub {
    fn of(hub: &Hub, now: Instant) -> Self {
        let since = hub.scheduler.waiting().filter_map(|job| job.due_since);
        let since = since.min();
        Self {
            waiting: hub.scheduler.waiting().count(),
            leases: hub.given.held() + hub.given.runs(),
            attempting: hub.scheduler.running(),
            settling: hub.given.unsettled + hub.fallback.unsettled,
            oldest: since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        }
    }
}

impl Core {
    /// For how long the oldest has been due that an outbox has leased to nobody.
    async fn oldest_due(&self) -> Result<Duration, BoxError> {
        let mut oldest = Duration::ZERO;
        for which in Which::ALL {
            let asked = Arc::clone(&self.store(which).outbox).oldest_due();
            let age = timeout(PATIENCE, asked).await??;
            oldest = oldest.max(age.unwrap_or_default());
        }
        Ok(oldest)
    }
}

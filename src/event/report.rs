use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{Level, level_filters::LevelFilter};

use super::{AttemptError, Counts, Event, EventKind, Metrics, Outcome, Refusal};
use crate::{
    endpoint::{Endpoint, Host},
    id::{DeliveryId, RequestId},
};

pub(crate) type Subscriber = Box<dyn Fn(&Event) + Send + Sync>;

/// Where events go: the counts, the metrics, the log, and the user's subscribers. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Events {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    subscribers: Vec<Subscriber>,
    metrics: Option<Metrics>,
    refused: AtomicU64,
    accepted: AtomicU64,
    handed_over: AtomicU64,
    delivered: AtomicU64,
    dead: AtomicU64,
    noticed: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    outbox_failed: AtomicU64,
}

impl Events {
    pub(crate) fn new(subscribers: Vec<Subscriber>, metrics: Option<Metrics>) -> Self {
        Self {
            inner: Arc::new(Inner {
                subscribers,
                metrics,
                ..Inner::default()
            }),
        }
    }

    /// Where they are asked for.
    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.inner.metrics.as_ref()
    }

    /// `reason` is a static sentence: which rule it was.
    pub(crate) fn refused(
        &self,
        endpoint: Option<&Endpoint>,
        refusal: Refusal,
        reason: &'static str,
    ) {
        if Level::INFO <= LevelFilter::current() {
            let endpoint = endpoint.map(tracing::field::debug);
            tracing::info!(endpoint, ?refusal, reason, "webhook refused");
        }
        let host = endpoint.map(Endpoint::host_key);
        self.send(None, None, host, EventKind::Refused(refusal));
    }

    pub(crate) fn of(
        &self,
        id: DeliveryId,
        request_id: &RequestId,
        endpoint: &Endpoint,
        kind: EventKind,
    ) {
        self.of_attempt(id, request_id, endpoint, kind, false);
    }

    /// Of a host that fails again and again: failures are logged quietly.
    pub(crate) fn of_attempt(
        &self,
        id: DeliveryId,
        request_id: &RequestId,
        endpoint: &Endpoint,
        kind: EventKind,
        is_quiet: bool,
    ) {
        match is_quiet {
            true => tracing::debug!(%id, request_id = request_id.as_str(), ?endpoint, ?kind),
            false => log(id, request_id, endpoint, &kind),
        }
        self.send(Some(id), Some(request_id), Some(endpoint.host_key()), kind);
    }

    /// A stored delivery of which no more is known than this ends as dead.
    pub(crate) fn unreadable(
        &self,
        id: DeliveryId,
        request_id: &RequestId,
        host: &Host,
        attempts: u32,
        reason: &dyn fmt::Display,
    ) {
        tracing::error!(%id, %reason, "a stored delivery cannot be read");
        let last = Outcome::Failed(AttemptError::Unreadable);
        let kind = EventKind::Dead { attempts, last };
        self.send(Some(id), Some(request_id), Some(host), kind);
    }

    fn send(
        &self,
        delivery_id: Option<DeliveryId>,
        request_id: Option<&RequestId>,
        host: Option<&Host>,
        kind: EventKind,
    ) {
        self.count(&kind);
        if let Some(metrics) = &self.inner.metrics {
            metrics.happened(delivery_id, &kind);
        }
        if self.inner.subscribers.is_empty() {
            return;
        }
        let event = Event {
            delivery_id,
            request_id: request_id.cloned(),
            host: host.map(|host| host.name().clone()),
            kind,
        };
        for subscriber in &self.inner.subscribers {
            if catch_unwind(AssertUnwindSafe(|| subscriber(&event))).is_err() {
                tracing::error!("a subscriber to events panicked");
            }
        }
    }

    fn count(&self, kind: &EventKind) {
        let counter = match kind {
            EventKind::Refused(_) => &self.inner.refused,
            EventKind::Accepted => &self.inner.accepted,
            EventKind::HandedOver => &self.inner.handed_over,
            EventKind::Delivered { .. } => &self.inner.delivered,
            EventKind::Dead { .. } => &self.inner.dead,
            EventKind::Noticed(_) => &self.inner.noticed,
            EventKind::Failed(_) => &self.inner.failed,
            EventKind::Abandoned => &self.inner.abandoned,
            EventKind::OutboxFailed => &self.inner.outbox_failed,
            EventKind::Queued { .. } | EventKind::Attempted { .. } => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            refused: read(&self.inner.refused),
            accepted: read(&self.inner.accepted),
            handed_over: read(&self.inner.handed_over),
            delivered: read(&self.inner.delivered),
            dead: read(&self.inner.dead),
            noticed: read(&self.inner.noticed),
            failed: read(&self.inner.failed),
            abandoned: read(&self.inner.abandoned),
            outbox_failed: read(&self.inner.outbox_failed),
        }
    }
}

/// How much of this is logged; most is not, and is not even put together.
fn level(kind: &EventKind) -> Level {
    match kind {
        EventKind::Accepted
        | EventKind::Queued { .. }
        | EventKind::HandedOver
        | EventKind::OutboxFailed
        | EventKind::Attempted { again_in: None, .. } => Level::DEBUG,
        EventKind::Refused(_) | EventKind::Delivered { .. } => Level::INFO,
        // How the notice ends is told as well.
        EventKind::Attempted { .. } | EventKind::Noticed(_) => Level::WARN,
        EventKind::Dead { .. } | EventKind::Failed(_) | EventKind::Abandoned => Level::ERROR,
    }
}

fn log(id: DeliveryId, request_id: &RequestId, endpoint: &Endpoint, kind: &EventKind) {
    if level(kind) > LevelFilter::current() {
        return;
    }
    let id = tracing::field::display(id);
    let request_id = request_id.as_str();
    let endpoint = tracing::field::debug(endpoint);
    match kind {
        // Logged with its reason where it is sent.
        EventKind::Refused(_) => {}
        EventKind::Accepted => tracing::debug!(id, request_id, endpoint, "webhook accepted"),
        EventKind::Queued { durability } => {
            tracing::debug!(id, request_id, endpoint, ?durability, "delivery queued");
        }
        EventKind::HandedOver => tracing::debug!(id, request_id, endpoint, "delivery handed over"),
        // Whoever saw it fail has logged why.
        EventKind::OutboxFailed => {}
        EventKind::Attempted {
            attempt,
            outcome,
            took,
            again_in: Some(again_in),
        } => tracing::warn!(
            id, request_id, endpoint, attempt, %outcome, ?took, ?again_in, "attempt failed, will try again"
        ),
        EventKind::Attempted {
            attempt,
            outcome,
            took,
            again_in: None,
        } => {
            tracing::debug!(id, request_id, endpoint, attempt, %outcome, ?took, "last attempt ended")
        }
        EventKind::Delivered { attempts } => {
            tracing::info!(id, request_id, endpoint, attempts, "delivered")
        }
        EventKind::Dead { attempts, last } => {
            tracing::error!(id, request_id, endpoint, attempts, %last, "delivery failed for good");
        }
        EventKind::Noticed(reason) => {
            tracing::warn!(
                id,
                request_id,
                endpoint,
                ?reason,
                "no delivery, a failure notice instead"
            );
        }
        EventKind::Failed(reason) => {
            tracing::error!(id, request_id, endpoint, ?reason, "no delivery");
        }
        EventKind::Abandoned => tracing::error!(id, request_id, endpoint, "webhook abandoned"),
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

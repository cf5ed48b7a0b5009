use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{Level, level_filters::LevelFilter};

use super::{Counts, Event, EventKind, Refusal};
use crate::{Endpoint, RequestId};

pub(crate) type Hook = dyn Fn(&Event) + Send + Sync;

/// Where events go: the counts, the log, and the user's hook. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Events {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    hook: Option<Box<Hook>>,
    refused: AtomicU64,
    accepted: AtomicU64,
    handed_over: AtomicU64,
    delivered: AtomicU64,
    dead: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

impl Events {
    pub(crate) fn new(hook: Option<Box<Hook>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                hook,
                ..Inner::default()
            }),
        }
    }

    pub(crate) fn refused(&self, endpoint: Option<&Endpoint>, refusal: Refusal) {
        self.send(None, endpoint, EventKind::Refused(refusal));
    }

    pub(crate) fn of(&self, id: &RequestId, endpoint: &Endpoint, kind: EventKind) {
        self.send(Some(id), Some(endpoint), kind);
    }

    fn send(&self, id: Option<&RequestId>, endpoint: Option<&Endpoint>, kind: EventKind) {
        log(id, endpoint, &kind);
        self.count(&kind);
        let Some(hook) = &self.inner.hook else { return };
        let event = Event {
            id: id.cloned(),
            host: endpoint.map(|endpoint| endpoint.host_key().name().clone()),
            kind,
        };
        if catch_unwind(AssertUnwindSafe(|| hook(&event))).is_err() {
            tracing::error!("the on_event hook panicked");
        }
    }

    fn count(&self, kind: &EventKind) {
        let counter = match kind {
            EventKind::Refused(_) => &self.inner.refused,
            EventKind::Accepted => &self.inner.accepted,
            EventKind::HandedOver => &self.inner.handed_over,
            EventKind::Delivered { .. } => &self.inner.delivered,
            EventKind::Dead { .. } => &self.inner.dead,
            EventKind::Failed(_) => &self.inner.failed,
            EventKind::Abandoned => &self.inner.abandoned,
            EventKind::Queued { .. } | EventKind::OutboxFailed | EventKind::Attempted { .. } => {
                return;
            }
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
            failed: read(&self.inner.failed),
            abandoned: read(&self.inner.abandoned),
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
        EventKind::Attempted { .. } => Level::WARN,
        EventKind::Dead { .. } | EventKind::Failed(_) | EventKind::Abandoned => Level::ERROR,
    }
}

fn log(id: Option<&RequestId>, endpoint: Option<&Endpoint>, kind: &EventKind) {
    if level(kind) > LevelFilter::current() {
        return;
    }
    let id = id.map(RequestId::as_str);
    let endpoint = endpoint.map(tracing::field::debug);
    match kind {
        EventKind::Refused(refusal) => {
            tracing::info!(endpoint, ?refusal, "webhook refused");
        }
        EventKind::Accepted => tracing::debug!(id, endpoint, "webhook accepted"),
        EventKind::Queued {
            durability,
            duplicate,
        } => tracing::debug!(id, endpoint, ?durability, duplicate, "delivery queued"),
        EventKind::HandedOver => tracing::debug!(id, endpoint, "delivery handed over"),
        // Whoever saw it fail has logged why.
        EventKind::OutboxFailed => {}
        EventKind::Attempted {
            attempt,
            outcome,
            took,
            again_in: Some(again_in),
        } => tracing::warn!(
            id, endpoint, attempt, %outcome, ?took, ?again_in, "attempt failed, will try again"
        ),
        EventKind::Attempted {
            attempt,
            outcome,
            took,
            again_in: None,
        } => tracing::debug!(id, endpoint, attempt, %outcome, ?took, "last attempt ended"),
        EventKind::Delivered { attempts } => tracing::info!(id, endpoint, attempts, "delivered"),
        EventKind::Dead { attempts, last } => {
            tracing::error!(id, endpoint, attempts, %last, "delivery failed for good");
        }
        EventKind::Failed(reason) => {
            tracing::error!(id, endpoint, ?reason, "no delivery");
        }
        EventKind::Abandoned => tracing::error!(id, endpoint, "webhook abandoned"),
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

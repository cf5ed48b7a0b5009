//! What happened to a webhook, for code and for logs.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;

use crate::{Endpoint, RequestId, outbox::Durability};

/// One step of one webhook, as [`on_event`] sees it.
///
/// It names the endpoint by its host only: a URL's path and query, the secret and the payload are
/// in no event.
///
/// Every webhook that was [accepted](EventKind::Accepted) ends in exactly one event for which
/// [`is_final`](Self::is_final) is true.
///
/// [`on_event`]: crate::DispatcherBuilder::on_event
///
/// ```
/// use tower_webhook::{Dispatcher, EventKind};
///
/// let dispatcher = Dispatcher::builder()
///     .on_event(|event| {
///         if let EventKind::Dead { attempts, last } = event.kind() {
///             eprintln!("gave up on {:?} after {attempts}: {last}", event.id());
///         }
///     })
///     .build();
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    id: Option<RequestId>,
    host: Option<Arc<str>>,
    kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A request asked for a webhook and was answered with 400, 503 or 508 instead.
    Refused(Refusal),
    /// There is room for the webhook; the handler runs.
    Accepted,
    /// The response was complete, and the outbox has it.
    Queued {
        /// What the delivery survives from now on.
        durability: Durability,
        /// The outbox had a delivery with this id already, and keeps that one.
        duplicate: bool,
    },
    /// The outbox did not take the delivery, or not in time.
    OutboxFailed,
    /// One attempt has ended.
    Attempted {
        /// Which attempt, from 1.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
        /// The time until the next attempt, when there is one.
        again_in: Option<Duration>,
    },
    /// Final: a [sink](crate::DispatcherBuilder::with_sink) took the delivery, and delivers it by
    /// itself.
    HandedOver,
    /// Final: the endpoint took the delivery.
    Delivered {
        /// The number of attempts.
        attempts: u32,
    },
    /// Final: the last attempt failed.
    Dead {
        /// The number of attempts.
        attempts: u32,
        /// How the last attempt ended.
        last: Outcome,
    },
    /// Final: the response never became a delivery.
    Failed(FailReason),
    /// Final: the process, its runtime or its dispatcher ended first.
    Abandoned,
}

/// Why a request was answered without running the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the endpoint or the secret is not acceptable as written.
    BadRequest,
    /// 503: there is no room for another webhook.
    NoRoom,
    /// 503: there is no room for another webhook to this endpoint's host.
    NoRoomForHost,
    /// 508: the request is itself a delivery.
    Loop,
}

/// Why a response did not become a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailReason {
    /// The body is over the limit. A cut body is never sent.
    BodyTooLarge,
    /// The body ended with an error.
    BodyFailed,
    /// The body was longer or shorter than the length it declared.
    LengthMismatch,
    /// The wrapped service answered with an error of its own.
    ServiceFailed,
    /// The wrapped service, or the response's body, panicked.
    Panicked,
    /// The caller left, and the layer was told to
    /// [cancel](crate::WebhookLayer::with_cancel_on_disconnect) then.
    CallerLeft,
    /// The connection was upgraded: there is no body to forward.
    Upgraded,
    /// The response's status is not one that is
    /// [forwarded](crate::WebhookLayer::with_forwarded_statuses).
    StatusNotForwarded,
    /// The outbox did not take the delivery.
    OutboxFailed,
}

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint answered, whatever it said.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, when it was a number of seconds.
        retry_after: Option<Duration>,
    },
    /// There was no complete answer.
    Failed(AttemptError),
}

/// Why an attempt had no complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The endpoint's name could not be resolved.
    Resolve,
    /// The endpoint, or the address its name now resolves to, is not permitted.
    Forbidden,
    /// No connection could be opened.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The attempt's time was over.
    TimedOut,
    /// The connection ended before the answer did, or the answer was not HTTP.
    ConnectionLost,
    /// The client failed in a way of its own.
    Client,
    /// The client panicked.
    Panicked,
    /// What the outbox wrote down cannot be read any more: its secret's key is gone, or its
    /// file was changed. Nothing was sent.
    Unreadable,
}

impl Event {
    /// The id of the request; `None` when it was refused before it had one.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The endpoint's host; `None` when there is no acceptable endpoint.
    #[must_use]
    pub fn endpoint_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &EventKind {
        &self.kind
    }

    /// Whether this is the one event in which an accepted webhook ends.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self.kind,
            EventKind::HandedOver
                | EventKind::Delivered { .. }
                | EventKind::Dead { .. }
                | EventKind::Failed(_)
                | EventKind::Abandoned
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, .. } => write!(f, "answered {}", status.as_u16()),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the name could not be resolved",
            Self::Forbidden => "the endpoint is not permitted",
            Self::Connect => "could not connect",
            Self::Tls => "the TLS handshake failed",
            Self::TimedOut => "timed out",
            Self::ConnectionLost => "the connection was lost",
            Self::Client => "the client failed",
            Self::Panicked => "the client panicked",
            Self::Unreadable => "the stored delivery cannot be read",
        })
    }
}

impl std::error::Error for AttemptError {}

/// How many webhooks have come to which end, since the dispatcher was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests answered with 400, 503 or 508.
    pub refused: u64,
    /// Requests that there was room for.
    pub accepted: u64,
    /// Deliveries that a sink took, to deliver them by itself.
    pub handed_over: u64,
    /// Deliveries that their endpoint took.
    pub delivered: u64,
    /// Deliveries whose last attempt failed.
    pub dead: u64,
    /// Responses that never became a delivery.
    pub failed: u64,
    /// Webhooks whose process, runtime or dispatcher ended first.
    pub abandoned: u64,
}

impl Counts {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            refused: self.refused - earlier.refused,
            accepted: self.accepted - earlier.accepted,
            handed_over: self.handed_over - earlier.handed_over,
            delivered: self.delivered - earlier.delivered,
            dead: self.dead - earlier.dead,
            failed: self.failed - earlier.failed,
            abandoned: self.abandoned - earlier.abandoned,
        }
    }
}

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
            host: endpoint.map(|endpoint| endpoint.host_key().clone()),
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

fn log(id: Option<&RequestId>, endpoint: Option<&Endpoint>, kind: &EventKind) {
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
        EventKind::OutboxFailed => {
            tracing::error!(id, endpoint, "the outbox did not take a delivery");
        }
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

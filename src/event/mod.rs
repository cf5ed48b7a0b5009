//! What happened to a webhook, for code, for logs and for metrics.
//!
//! Everything above reports here; an event knows ids and a host, and nothing of how a delivery is
//! kept or sent.

mod counts;
mod durability;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
mod no_metrics;
mod outbox_call;
mod outcome;
mod report;

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "metrics")]
pub(crate) use self::metrics::Metrics;
#[cfg(not(feature = "metrics"))]
pub(crate) use self::no_metrics::Metrics;
pub use self::{
    counts::Counts,
    durability::Durability,
    outcome::{AttemptError, Outcome},
};
pub(crate) use self::{
    outbox_call::OutboxCall,
    report::{Events, Subscriber},
};
use crate::id::{DeliveryId, RequestId};

/// One step of one webhook, as [`on_event`] sees it.
///
/// It names the endpoint by its host only: a URL's path and query, the secret and the payload are
/// in no event.
///
/// Every webhook that was [accepted](EventKind::Accepted) ends in exactly one event for which
/// [`is_final`](Self::is_final) is true.
///
/// [`on_event`]: crate::dispatch::DispatcherBuilder::on_event
///
/// ```
/// use tower_webhook::{Dispatcher, EventKind};
///
/// let dispatcher = Dispatcher::builder()
///     .on_event(|event| {
///         if let EventKind::Dead { attempts, last } = event.kind() {
///             eprintln!("gave up on {:?} after {attempts}: {last}", event.delivery_id());
///         }
///     })
///     .build();
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    delivery_id: Option<DeliveryId>,
    request_id: Option<RequestId>,
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
    },
    /// The outbox did not take the delivery, or not in time: a durable one is stood in for by memory,
    /// and the delivery is lost if the process ends first.
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
    /// Final: a [sink](crate::dispatch::DispatcherBuilder::with_sink) took the delivery, and delivers it by
    /// itself.
    HandedOver,
    /// Final: the endpoint took the delivery.
    Delivered {
        /// The number of attempts.
        attempts: u32,
    },
    /// Final: the last attempt failed, or there can be none.
    Dead {
        /// The number of attempts; 0 where nothing was sent.
        attempts: u32,
        /// How the last attempt ended, or why there was none.
        last: Outcome,
    },
    /// The response never becomes a delivery. A failure notice goes to the endpoint in its place, and ends
    /// as a delivery does.
    Noticed(FailReason),
    /// Final: the response never became a delivery, and nothing is sent.
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
    /// 503: there is no room for another webhook of this
    /// [caller](crate::layer::WebhookLayer::with_caller_key).
    NoRoomForCaller,
    /// 503: the outbox takes nothing, and the dispatcher was
    /// [told](crate::dispatch::DispatcherBuilder::with_required_durability) to accept nothing then.
    OutboxAway,
    /// 508: the request is itself a delivery.
    Loop,
}

impl Refusal {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::NoRoom,
        Self::NoRoomForHost,
        Self::NoRoomForCaller,
        Self::OutboxAway,
        Self::Loop,
    ];

    /// A short name that stays as it is, for metrics.
    ///
    /// ```
    /// use tower_webhook::event::Refusal;
    ///
    /// assert_eq!(Refusal::NoRoomForHost.name(), "no-room-for-host");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NoRoom => "no-room",
            Self::NoRoomForHost => "no-room-for-host",
            Self::NoRoomForCaller => "no-room-for-caller",
            Self::OutboxAway => "outbox-away",
            Self::Loop => "loop",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "the endpoint or the secret is not acceptable",
            Self::NoRoom => "there is no room for another webhook",
            Self::NoRoomForHost => "there is no room for another webhook to this host",
            Self::NoRoomForCaller => "there is no room for another webhook of this caller",
            Self::OutboxAway => "the outbox takes nothing",
            Self::Loop => "the request is itself a delivery",
        })
    }
}

impl std::error::Error for Refusal {}

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
    /// [cancel](crate::layer::WebhookLayer::with_cancel_on_disconnect) then.
    CallerLeft,
    /// The connection was upgraded: there is no body to forward.
    Upgraded,
    /// The response's status is not one that is
    /// [forwarded](crate::layer::WebhookLayer::with_forwarded_statuses).
    StatusNotForwarded,
    /// The outbox did not take the delivery.
    OutboxFailed,
    /// Nobody waited for the response any more, and it took longer than the layer's
    /// [run limit](crate::layer::WebhookLayer::with_run_limit).
    TimedOut,
    /// The process ended while the call ran, which had been promised an answer with a 202.
    Interrupted,
    /// The body outgrew its reservation, and there was no room for more of it. Or nobody waited for
    /// the response any more, and it had to make room: such calls hold half of all room at most.
    NoRoom,
}

impl FailReason {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::BodyTooLarge,
        Self::BodyFailed,
        Self::LengthMismatch,
        Self::ServiceFailed,
        Self::Panicked,
        Self::CallerLeft,
        Self::Upgraded,
        Self::StatusNotForwarded,
        Self::OutboxFailed,
        Self::TimedOut,
        Self::NoRoom,
        Self::Interrupted,
    ];

    /// A short name that stays as it is, for outboxes, metrics and failure notices.
    ///
    /// ```
    /// use tower_webhook::event::FailReason;
    ///
    /// for &reason in FailReason::ALL {
    ///     assert_eq!(FailReason::from_name(reason.name()), Some(reason));
    /// }
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "body-too-large",
            Self::BodyFailed => "body-failed",
            Self::LengthMismatch => "length-mismatch",
            Self::ServiceFailed => "service-failed",
            Self::Panicked => "panicked",
            Self::CallerLeft => "caller-left",
            Self::Upgraded => "upgraded",
            Self::StatusNotForwarded => "status-not-forwarded",
            Self::OutboxFailed => "outbox-failed",
            Self::TimedOut => "timed-out",
            Self::NoRoom => "no-room",
            Self::Interrupted => "interrupted",
        }
    }

    /// The reason of this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.name() == name)
    }

    /// Whether the endpoint is told of it by a failure notice, where those are
    /// [sent](crate::layer::WebhookLayer::without_failure_notices). It is not where the operator has
    /// chosen that nothing is sent, where nothing is amiss, and where nothing could be kept.
    #[must_use]
    pub const fn is_told(self) -> bool {
        match self {
            Self::BodyTooLarge
            | Self::BodyFailed
            | Self::LengthMismatch
            | Self::ServiceFailed
            | Self::Panicked
            | Self::TimedOut
            | Self::NoRoom
            | Self::Interrupted => true,
            Self::CallerLeft | Self::Upgraded | Self::StatusNotForwarded | Self::OutboxFailed => {
                false
            }
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BodyTooLarge => "the response is larger than what is forwarded",
            Self::BodyFailed => "the response broke off",
            Self::LengthMismatch => "the response has another length than it declared",
            Self::ServiceFailed => "the service failed",
            Self::Panicked => "the service panicked",
            Self::CallerLeft => "the caller left",
            Self::Upgraded => "the connection was upgraded",
            Self::StatusNotForwarded => "a response with this status is not forwarded",
            Self::OutboxFailed => "the delivery could not be kept",
            Self::TimedOut => "the call took too long",
            Self::NoRoom => "there was no room for the call or its response",
            Self::Interrupted => "the service ended before the call did",
        })
    }
}

impl Event {
    /// The id of the delivery; `None` when the request was refused before it had one.
    #[must_use]
    pub fn delivery_id(&self) -> Option<DeliveryId> {
        self.delivery_id
    }

    /// The id of the request; `None` when it was refused before it had one.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
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

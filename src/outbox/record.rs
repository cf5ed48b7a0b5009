use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::Envelope;
use crate::{
    endpoint::Host,
    event::{FailReason, Outcome},
    id::{DeliveryId, RequestId},
};

/// What an outbox knows of one delivery. There is neither its secret nor its payload in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryRecord {
    /// The delivery's id.
    pub id: DeliveryId,
    /// The request's id.
    pub request_id: RequestId,
    /// The endpoint's host.
    pub host: Host,
    /// The status of the response; `None` on a failure notice where there was none.
    pub status: Option<StatusCode>,
    /// Why there is no response to forward: what is delivered is a failure notice, or nothing is.
    pub failure: Option<FailReason>,
    /// The payload's length in bytes, be it kept or not.
    pub payload_len: usize,
    /// When it was accepted: that of the [`StoredDelivery`](super::StoredDelivery).
    pub accepted_at: SystemTime,
    /// Where it stands.
    pub state: DeliveryState,
    /// Its attempts so far, the first one first. A redelivery has the same id: its attempts follow upon
    /// those before it, and count from 1 again.
    pub attempts: Vec<AttemptRecord>,
    /// For the dispatcher alone, which has to know whose it is.
    pub(crate) envelope: Option<Envelope>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryState {
    /// Its call runs, which was promised an answer with a 202: there is no response yet.
    Running,
    /// It waits for its next attempt, or has one under way.
    Waiting,
    /// Its last attempt failed.
    Dead,
    /// The endpoint took the response. Outboxes keep [a history](super::MemoryOutbox::with_max_history) of
    /// these.
    Delivered,
    /// There never was a response to deliver: the endpoint took a
    /// [failure notice](DeliveryRecord::failure) in its place, or the call had been promised an answer with
    /// a 202 and nothing is sent. Kept as those that were delivered are.
    Failed,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Running,
        Self::Waiting,
        Self::Dead,
        Self::Delivered,
        Self::Failed,
    ];

    /// A short name that stays as it is, for metrics and the [status](crate::status()) of a call.
    ///
    /// ```
    /// use tower_webhook::outbox::DeliveryState;
    ///
    /// assert_eq!(DeliveryState::Delivered.name(), "delivered");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Of what has ended well: with a failure notice, or without one.
    pub(crate) fn of_ended(failure: Option<FailReason>) -> Self {
        match failure {
            Some(_) => Self::Failed,
            None => Self::Delivered,
        }
    }
}

/// One attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// Which attempt, from 1. A redelivery counts anew.
    pub attempt: u32,
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

impl DeliveryRecord {
    /// A delivery that waits and has had no attempt.
    #[must_use]
    pub fn new(
        id: DeliveryId,
        request_id: RequestId,
        host: Host,
        status: Option<StatusCode>,
        payload_len: usize,
        accepted_at: SystemTime,
    ) -> Self {
        Self {
            id,
            request_id,
            host,
            status,
            failure: None,
            payload_len,
            accepted_at,
            state: DeliveryState::Waiting,
            attempts: Vec::new(),
            envelope: None,
        }
    }

    /// With the envelope that the outbox keeps of it. The [status](crate::status()) of a call needs it, to
    /// know who may look; nobody else gets to see it.
    #[must_use]
    pub fn with_envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = Some(envelope);
        self
    }
}

impl AttemptRecord {
    /// An attempt that has ended.
    #[must_use]
    pub fn new(attempt: u32, at: SystemTime, took: Duration, outcome: Outcome) -> Self {
        Self {
            attempt,
            at,
            took,
            outcome,
        }
    }
}

/// Which deliveries are meant. Default: all.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_webhook::{Dispatcher, outbox::{DeliveryFilter, DeliveryState, Page}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::BoxError> {
/// let dispatcher = Dispatcher::new();
/// let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
/// let lost = DeliveryFilter::new()
///     .with_state(DeliveryState::Dead)
///     .with_endpoint_host("hooks.example.com")
///     .accepted_since(hour_ago);
/// for record in dispatcher.deliveries(&lost, Page::first(100)).await? {
///     println!("{}: {} attempts", record.id, record.attempts.len());
/// }
/// dispatcher.redeliver_all(&lost).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DeliveryFilter {
    id: Option<DeliveryId>,
    request_id: Option<RequestId>,
    state: Option<DeliveryState>,
    host: Option<String>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl DeliveryFilter {
    /// Lets everything through.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the delivery of this id.
    pub fn with_id(mut self, id: DeliveryId) -> Self {
        self.id = Some(id);
        self
    }

    /// Only those of requests with this id, which may be several.
    pub fn with_request_id(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Only those in this state.
    pub fn with_state(mut self, state: DeliveryState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only those to this host, which is in lower case and has no dot at its end.
    pub fn with_endpoint_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Only those accepted then or later.
    pub fn accepted_since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Only those accepted before then.
    pub fn accepted_before(mut self, time: SystemTime) -> Self {
        self.until = Some(time);
        self
    }

    /// The delivery that it is about, if it is about one.
    #[must_use]
    pub fn id(&self) -> Option<DeliveryId> {
        self.id
    }

    /// The request that it is about, if it is about one.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }

    /// The state that it is about, if it is about one.
    #[must_use]
    pub fn state(&self) -> Option<DeliveryState> {
        self.state
    }

    /// The host that it is about, if it is about one.
    #[must_use]
    pub fn endpoint_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The earliest time of acceptance.
    #[must_use]
    pub fn since(&self) -> Option<SystemTime> {
        self.since
    }

    /// The latest time of acceptance, itself excluded.
    #[must_use]
    pub fn before(&self) -> Option<SystemTime> {
        self.until
    }

    /// Whether it lets this delivery through.
    #[must_use]
    pub fn lets_through(&self, record: &DeliveryRecord) -> bool {
        let is = |wanted: Option<bool>| wanted.unwrap_or(true);
        is(self.id.map(|id| id == record.id))
            && is(self.request_id.as_ref().map(|id| *id == record.request_id))
            && is(self.state.map(|state| state == record.state))
            && is(self.host.as_ref().map(|host| host == record.host.as_str()))
            && is(self.since.map(|since| record.accepted_at >= since))
            && is(self.until.map(|until| record.accepted_at < until))
    }
}

/// One page of a list that is newest first.
///
/// ```
/// # use tower_webhook::{BoxError, Dispatcher, outbox::{DeliveryFilter, Page}};
/// # async fn list(dispatcher: Dispatcher) -> Result<(), BoxError> {
/// let mut page = Page::first(50);
/// loop {
///     let records = dispatcher.deliveries(&DeliveryFilter::new(), page).await?;
///     let Some(last) = records.last() else { break };
///     page = page.after(last.id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Page {
    at_most: usize,
    before: Option<DeliveryId>,
}

impl Page {
    /// The first so many.
    pub const fn first(at_most: usize) -> Self {
        Self {
            at_most,
            before: None,
        }
    }

    /// The page that follows upon this delivery.
    pub fn after(mut self, last: DeliveryId) -> Self {
        self.before = Some(last);
        self
    }

    /// The most that there are on it.
    #[must_use]
    pub fn at_most(&self) -> usize {
        self.at_most
    }

    /// The delivery below whose id it begins.
    #[must_use]
    pub fn before(&self) -> Option<DeliveryId> {
        self.before
    }
}

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use crate::{BoxError, Endpoint, RequestId, event::Outcome};

/// Looks at the deliveries that an outbox keeps, and brings dead letters back.
pub trait Ledger: Send + Sync + 'static {
    /// The deliveries that the filter lets through, the latest first.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    fn deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> impl Future<Output = Result<Vec<DeliveryRecord>, BoxError>> + Send;

    /// Makes the dead letters that the filter lets through due at once, as a first attempt, and
    /// says how many they were. Their earlier attempts stay in their record.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written.
    fn redeliver(
        &self,
        filter: &DeliveryFilter,
    ) -> impl Future<Output = Result<usize, BoxError>> + Send;
}

/// What an outbox knows of one delivery. There is neither its secret nor its payload in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryRecord {
    /// The request's id.
    pub id: RequestId,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The status of the response that is forwarded.
    pub status: StatusCode,
    /// The payload's length in bytes.
    pub payload_len: usize,
    /// When the outbox took it.
    pub accepted_at: SystemTime,
    /// Where it stands.
    pub state: DeliveryState,
    /// Its attempts so far, the first one first.
    pub attempts: Vec<AttemptRecord>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryState {
    /// It waits for its next attempt, or has one under way.
    Waiting,
    /// Its last attempt failed.
    Dead,
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
        id: RequestId,
        endpoint: Endpoint,
        status: StatusCode,
        payload_len: usize,
        accepted_at: SystemTime,
    ) -> Self {
        Self {
            id,
            endpoint,
            status,
            payload_len,
            accepted_at,
            state: DeliveryState::Waiting,
            attempts: Vec::new(),
        }
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

/// Which deliveries to look at, or to deliver again. Default: all, at most 100.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_webhook::{Dispatcher, outbox::{DeliveryFilter, DeliveryState}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::BoxError> {
/// let dispatcher = Dispatcher::new();
/// let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
/// let lost = DeliveryFilter::new()
///     .with_state(DeliveryState::Dead)
///     .with_endpoint_host("hooks.example.com")
///     .accepted_since(hour_ago);
/// for record in dispatcher.deliveries(&lost).await? {
///     println!("{}: {} attempts", record.id, record.attempts.len());
/// }
/// dispatcher.redeliver_all(&lost).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DeliveryFilter {
    id: Option<RequestId>,
    state: Option<DeliveryState>,
    host: Option<String>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    at_most: usize,
}

impl DeliveryFilter {
    /// Lets everything through, at most 100.
    pub fn new() -> Self {
        Self {
            id: None,
            state: None,
            host: None,
            since: None,
            until: None,
            at_most: 100,
        }
    }

    /// Only the delivery of this id.
    pub fn with_id(mut self, id: RequestId) -> Self {
        self.id = Some(id);
        self
    }

    /// Only those that stand there.
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

    /// At most so many. Default: 100.
    pub fn at_most(mut self, number: usize) -> Self {
        self.at_most = number;
        self
    }

    /// The id it is about, if it is about one.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The state it is about, if it is about one.
    #[must_use]
    pub fn state(&self) -> Option<DeliveryState> {
        self.state
    }

    /// The host it is about, if it is about one.
    #[must_use]
    pub fn endpoint_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The earliest and the latest time of acceptance, the latter excluded.
    #[must_use]
    pub fn accepted(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        (self.since, self.until)
    }

    /// The most that it lets through.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.at_most
    }
}

impl Default for DeliveryFilter {
    fn default() -> Self {
        Self::new()
    }
}

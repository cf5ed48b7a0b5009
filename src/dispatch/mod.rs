mod accepting;
mod builder;
mod cooling;
mod engine;
mod lanes;
mod places;
mod retry;
mod worker;

use std::{fmt, sync::Arc, task::Context, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

pub(crate) use self::accepting::Accepting;
pub use self::{builder::DispatcherBuilder, retry::RetryPolicy};
use self::{cooling::Cooling, engine::Engine, worker::Stop};
use crate::{
    BoxError, Delivery, Endpoint, EndpointError, EndpointPolicy, RequestId,
    admission::{Admission, OfHost, Room},
    attempt,
    endpoint::RecentEndpoints,
    event::{Counts, EventKind, Events, Refusal},
    outbox::{Accepted, DeliveryFilter, DeliveryRecord, DeliveryState, Durability},
};

/// Accepts deliveries, runs their attempts, and drains: one handle, cheap to clone.
///
/// A layer made with [`WebhookLayer::new`](crate::WebhookLayer::new) has one of its own with every
/// default. Build one to change a setting, to share it among several layers, and to
/// [shut it down](Self::shutdown).
///
/// It needs no runtime to be built: its worker starts on the Tokio runtime in which the first
/// webhook is accepted, which must have its I/O and its timers enabled, as `#[tokio::main]` has. It ends by itself once the last handle is gone and nothing is left to do.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use tower_webhook::{Dispatcher, WebhookLayer};
///
/// # async fn serve(_: Router) {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let dispatcher = Dispatcher::builder()
///     .with_attempt_timeout(Duration::from_secs(30))
///     .build();
/// let app = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));
///
/// serve(app).await; // with axum's graceful shutdown
///
/// let report = dispatcher.shutdown(Duration::from_secs(30)).await;
/// assert!(report.abandoned.is_empty());
/// # }
/// ```
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    admission: Arc<Admission>,
    cooling: Arc<Cooling>,
    policy: EndpointPolicy,
    recent_endpoints: RecentEndpoints<Destination>,
    events: Events,
    engine: Box<dyn Engine>,
    /// In memory, for when the outbox does not take a delivery.
    fallback: Box<dyn Engine>,
    body_limit: usize,
    accept_timeout: Duration,
}

/// A permitted endpoint, and what its host has taken of the room.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) endpoint: Endpoint,
    pub(crate) of_host: OfHost,
}

/// What [`Dispatcher::shutdown`] has to say.
#[derive(Debug)]
#[non_exhaustive]
pub struct Shutdown {
    /// What happened while it shut down.
    pub counts: Counts,
    /// The deliveries that had to be given up, with their bytes.
    pub abandoned: Vec<Delivery>,
    /// The requests whose handler had not ended in time. They run on, but what they answer is
    /// not delivered any more.
    pub unfinished: usize,
}

impl Dispatcher {
    /// A dispatcher with every default.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A builder with every default.
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::new()
    }

    /// Starts the worker now instead of with the first webhook: what a durable outbox kept from
    /// an earlier run is then delivered without waiting for one.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(&self) {
        self.shared.engine.start(&Handle::current());
    }

    /// How many webhooks have come to which end since the dispatcher was built.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.events.counts()
    }

    /// How many webhooks take room at this moment: requests that are handled, and deliveries in
    /// memory.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.admission.taken()
    }

    /// Accepts nothing new, and lets what is under way come to its end for at most this time.
    ///
    /// From now on a request that asks for a webhook is answered with 503. Handlers that run for
    /// one are waited for, so are attempts under way and, with an outbox in memory, deliveries
    /// that wait for their next attempt. What is still there when the time is over is given up,
    /// reported as [abandoned](EventKind::Abandoned), and returned.
    ///
    /// With a durable outbox deliveries that wait are not waited for and not given up: they stay
    /// for the next start. Dead letters that are being redelivered from memory are not waited for,
    /// but are given up.
    pub async fn shutdown(&self, within: Duration) -> Shutdown {
        let Shared {
            admission,
            cooling,
            engine,
            fallback,
            events,
            ..
        } = &*self.shared;
        let before = events.counts();
        let deadline = attempt::deadline(Instant::now(), within);
        admission.close();
        cooling.close();
        let _ = timeout_at(deadline, admission.all_given_back()).await;
        let mut abandoned = Vec::new();
        for engine in [engine, fallback] {
            engine.stop(Stop::AfterAttempts);
        }
        for engine in [engine, fallback] {
            if timeout_at(deadline, engine.ended()).await.is_err() {
                engine.stop(Stop::Now);
                engine.ended().await;
            }
            abandoned.extend(engine.drain());
        }
        for delivery in &abandoned {
            self.abandon(delivery);
        }
        Shutdown {
            counts: events.counts().since(before),
            unfinished: admission
                .taken()
                .saturating_sub(abandoned.iter().filter(|one| one.has_room()).count()),
            abandoned,
        }
    }

    /// The deliveries that the outbox keeps and the filter lets through, the latest first.
    ///
    /// An outbox in memory lists dead letters only; a durable one also what waits.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        let mut found = self.shared.engine.deliveries(filter).await?;
        found.extend(self.shared.fallback.deliveries(filter).await?);
        found.truncate(filter.limit());
        Ok(found)
    }

    /// Delivers the dead letter of this id again, from its first attempt on, and says whether
    /// there is one. Its end is reported once more.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written; with one in memory, after [`shutdown`](Self::shutdown).
    /// The dead letter is then kept.
    pub async fn redeliver(&self, id: &RequestId) -> Result<bool, BoxError> {
        let one = DeliveryFilter::new().with_id(id.clone());
        Ok(self.redeliver_all(&one).await? > 0)
    }

    /// Delivers the dead letters that the filter lets through again, and says how many they are.
    ///
    /// # Errors
    ///
    /// As of [`redeliver`](Self::redeliver).
    pub async fn redeliver_all(&self, filter: &DeliveryFilter) -> Result<usize, BoxError> {
        let Shared {
            engine, fallback, ..
        } = &*self.shared;
        let dead = filter.clone().with_state(DeliveryState::Dead);
        let mut number = engine.redeliver(&dead).await?;
        number += fallback.redeliver(&dead).await?;
        if let Ok(runtime) = Handle::try_current() {
            engine.start(&runtime);
            fallback.start(&runtime);
        }
        Ok(number)
    }

    pub(crate) fn recent_endpoints(&self) -> &RecentEndpoints<Destination> {
        &self.shared.recent_endpoints
    }

    /// Where an endpoint leads that a caller has written.
    pub(crate) fn destination(&self, endpoint: &str) -> Result<Destination, EndpointError> {
        let endpoint = self.shared.policy.check(endpoint)?;
        let of_host = self.shared.admission.of_host(endpoint.host_key());
        Ok(Destination { endpoint, of_host })
    }

    /// Takes room for a webhook to a host, if there is any.
    pub(crate) fn admit(&self, of_host: OfHost) -> Result<Room, Refusal> {
        self.shared.cooling.release_due();
        self.shared.admission.try_admit(of_host)
    }

    pub(crate) fn events(&self) -> &Events {
        &self.shared.events
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.shared.body_limit
    }

    /// Hands a delivery to the outbox; `None` when there is nothing to wait for.
    pub(crate) fn accept(&self, delivery: Delivery, cx: &mut Context<'_>) -> Option<Accepting> {
        Accepting::begin(self, delivery, cx)
    }

    fn queued(&self, delivery: &Delivery, accepted: Accepted) {
        let Accepted {
            durability,
            duplicate,
            ..
        } = accepted;
        if durability != Durability::Memory {
            delivery.settle();
        }
        self.report(
            delivery,
            EventKind::Queued {
                durability,
                duplicate,
            },
        );
    }

    /// Once: what is accepted while the worker ends is found by both.
    fn abandon(&self, delivery: &Delivery) {
        if delivery.settle() {
            self.report(delivery, EventKind::Abandoned);
        }
    }

    fn report(&self, delivery: &Delivery, kind: EventKind) {
        let events = &self.shared.events;
        events.of(delivery.id(), delivery.endpoint(), kind);
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("outstanding", &self.outstanding())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

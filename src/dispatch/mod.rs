//! The dispatcher: from a complete delivery to its end.
//!
//! The scheduler decides what is attempted next, workers attempt it, and a keeper for each runtime
//! looks after what time brings. `accept` takes what is complete; `insert` and `settle` are the ways
//! into a durable outbox. How a POST is made, how a delivery is kept, and how a call becomes a
//! delivery are not known here.

mod accept;
mod attempt_span;
mod away;
mod begin;
mod builder;
mod calls;
mod core;
#[cfg(feature = "openapi")]
mod describe;
mod forward;
#[cfg(feature = "metrics")]
mod gauges;
mod group;
mod held;
mod hub;
mod insert;
mod keeper;
mod propagator;
mod quarantine;
mod records;
mod retry;
mod scheduler;
mod settle;
mod shutdown;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::{fmt, sync::Arc, task::Context};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

pub(crate) use self::accept::AcceptFuture;
use self::{accept::Sink, core::Core, store::Which};
pub use self::{
    builder::DispatcherBuilder,
    propagator::TracePropagator,
    retry::{RetryPolicy, RetryPolicyBuilder},
    shutdown::Shutdown,
};
use crate::{
    admission::{Reservation, SharedTally},
    delivery::{Delivery, DeliveryParts, Payload, TraceParent, wire},
    endpoint::{Endpoint, EndpointError, EndpointPolicy, RecentEndpoints},
    error::BoxError,
    event::{Counts, EventKind, Events, FailReason, Refusal},
    id::DeliveryId,
};

/// Accepts deliveries, runs their attempts, and drains: one handle, cheap to clone.
///
/// A layer made with [`WebhookLayer::new`](crate::layer::WebhookLayer::new) has one of its own with every
/// default. Build one to change a setting, to share it among several layers, and to
/// [shut it down](Self::shutdown).
///
/// It needs no runtime to be built. It works in every Tokio runtime in which it is used, for as long
/// as that lives, which must have its I/O and its timers enabled, as `#[tokio::main]` has. What a
/// runtime that ends has left is done in another one, or in the next. It ends by itself once the last
/// handle is gone and nothing is left to do in memory.
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

/// What all handles have. Dropped with the last of them.
struct Shared {
    core: Arc<Core>,
    policy: EndpointPolicy,
    recent_endpoints: RecentEndpoints<Destination>,
    sink: Option<Arc<Sink>>,
    body_limit: usize,
    #[cfg(feature = "openapi")]
    names: self::describe::Names,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.handles_are_gone();
    }
}

/// A permitted endpoint, and what its host has taken of the room.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) endpoint: Endpoint,
    pub(crate) of_host: SharedTally,
}

impl Dispatcher {
    /// A dispatcher with every default.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A builder with every default.
    #[cfg(feature = "client")]
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::new()
    }

    /// A builder with every default but the client: what
    /// [`with_client`](DispatcherBuilder::with_client) sets. It is there without the feature
    /// `client`, too.
    pub fn builder_with_client<C, B>(client: C) -> DispatcherBuilder
    where
        C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        DispatcherBuilder::without_client().with_client(client)
    }

    /// A builder with every default but the far end: what
    /// [`with_sink`](DispatcherBuilder::with_sink) sets. It is there without the feature `client`,
    /// too.
    pub fn builder_with_sink<K>(sink: K) -> DispatcherBuilder
    where
        K: Service<Delivery, Response = (), Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        DispatcherBuilder::without_client().with_sink(sink)
    }

    /// Starts now instead of with the first webhook: what a durable outbox kept from an earlier run
    /// is then delivered without waiting for one.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(&self) {
        tokio::runtime::Handle::current();
        self.shared.core.enter();
    }

    /// Delivers this, without a call and its layer: the parts are those of any delivery.
    ///
    /// Resolves once the delivery is as safe as the outbox makes it. Of its headers those travel that
    /// a response's would: `Content-Type`, `Content-Encoding`, `Content-Language`, `grpc-status` and
    /// `grpc-message`.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, EndpointPolicy, Payload, delivery::DeliveryParts};
    ///
    /// # async fn tell(dispatcher: Dispatcher) -> Result<(), Box<dyn std::error::Error>> {
    /// let endpoint = EndpointPolicy::public().check("https://example.com/hook")?;
    /// let parts = DeliveryParts::new(endpoint, Payload::from("it is done"));
    /// let id = dispatcher.deliver(parts).await?;
    /// println!("{id} is on its way");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason for which there is no room, or nothing is accepted, as for a call.
    pub async fn deliver(&self, mut parts: DeliveryParts) -> Result<DeliveryId, Refusal> {
        let core = &self.shared.core;
        let of_host = core.admission.of_host(parts.endpoint.host_key());
        let len = parts.payload.len();
        let reservation = core
            .reserve(of_host, None)
            .and_then(|mut reservation| match reservation.grow_to(len, len) {
                true => Ok(reservation),
                false => Err(Refusal::NoRoom),
            });
        let reservation = reservation.inspect_err(|refusal| {
            let reason = match refusal {
                Refusal::OutboxAway => "the outbox takes nothing",
                _ => "no room for another webhook",
            };
            core.events.refused(Some(&parts.endpoint), *refusal, reason);
        })?;
        parts
            .headers
            .retain(|(name, _)| wire::FORWARDED.contains(name));
        parts.trace_parent = parts.trace_parent.or_else(|| self.trace_of_call(None));
        let delivery = Delivery::reserved(parts, reservation);
        let id = delivery.id();
        delivery.report(EventKind::Accepted);
        let accepting =
            std::future::poll_fn(|cx| std::task::Poll::Ready(self.accept(delivery.clone(), cx)));
        if let Some(accepting) = accepting.await {
            accepting.await;
        }
        Ok(id)
    }

    /// How many webhooks have come to which end since the dispatcher was built.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.core.events.counts()
    }

    /// How many webhooks hold a reservation at this moment: requests that are handled, and deliveries that no
    /// durable outbox has yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.core.admission.taken()
    }

    /// Whether a durable outbox is known to take nothing: for as long as a response may
    /// [wait](DispatcherBuilder::with_accept_timeout) it took no delivery, and has taken none since.
    ///
    /// Only a delivery finds out that it is back. A readiness check that keeps calls away while this is so has
    /// to let some through again after a while. An outbox in memory, or a sink, is never away.
    ///
    /// ```
    /// use tower_webhook::Dispatcher;
    ///
    /// fn health(dispatcher: &Dispatcher) -> &'static str {
    ///     match dispatcher.is_outbox_away() {
    ///         true => "webhooks are in memory alone",
    ///         false => "ok",
    ///     }
    /// }
    ///
    /// assert_eq!(health(&Dispatcher::new()), "ok");
    /// ```
    #[must_use]
    pub fn is_outbox_away(&self) -> bool {
        self.shared.core.away.is_away()
    }

    /// Whether the outbox can [list](crate::outbox::Limits::can_list) what it keeps. Where it cannot,
    /// [`deliveries`](Self::deliveries), [`redeliver`](Self::redeliver) and the like are errors.
    ///
    /// ```
    /// use tower_webhook::Dispatcher;
    ///
    /// assert!(Dispatcher::new().can_list());
    /// ```
    #[must_use]
    pub fn can_list(&self) -> bool {
        self.shared.core.can_list()
    }

    /// The public keys of those that [sign](DispatcherBuilder::with_signing_key) every delivery, in the order
    /// of their signatures.
    #[cfg(feature = "ed25519")]
    #[must_use]
    pub fn public_keys(&self) -> Vec<crate::delivery::PublicKey> {
        let keys = self.shared.core.post.signing_keys().iter();
        keys.map(crate::delivery::SigningKey::public_key).collect()
    }

    pub(crate) fn recent_endpoints(&self) -> &RecentEndpoints<Destination> {
        &self.shared.recent_endpoints
    }

    /// Where an endpoint leads that a caller has written.
    pub(crate) fn destination(&self, endpoint: &str) -> Result<Destination, EndpointError> {
        let endpoint = self.shared.policy.check(endpoint)?;
        let admission = &self.shared.core.admission;
        let of_host = admission.of_host(endpoint.host_key());
        Ok(Destination { endpoint, of_host })
    }

    /// Where a call leads whose caller looks its result up; `None` where nothing can be looked up.
    pub(crate) fn polling(&self) -> Option<Destination> {
        let core = &self.shared.core;
        let is_kept = self.shared.sink.is_none() && core.far.is_none() && core.can_list();
        is_kept.then(|| {
            let endpoint = Endpoint::of_polling();
            let of_host = core.admission.of_host(endpoint.host_key());
            Destination { endpoint, of_host }
        })
    }

    /// Takes a reservation for a webhook to a host, and of a caller where they are told apart.
    pub(crate) fn reserve(
        &self,
        of_host: SharedTally,
        caller: Option<&str>,
    ) -> Result<Reservation, Refusal> {
        self.shared.core.reserve(of_host, caller)
    }

    pub(crate) fn events(&self) -> &Events {
        &self.shared.core.events
    }

    /// Where in a trace the attempts of a call belong that has sent this.
    pub(crate) fn trace_of_call(&self, sent: Option<TraceParent>) -> Option<TraceParent> {
        self.shared.core.propagation.of_call(sent)
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.shared.body_limit
    }

    /// Whether the end of a response is held back until its delivery is safe.
    pub(crate) fn holds_responses_back(&self) -> bool {
        let given = self.shared.core.store(Which::Given);
        self.shared.sink.is_some() || given.limits.is_durable()
    }

    /// Records that a call runs which was promised an answer. This is what its endpoint is told where the
    /// process ends before the run does.
    pub(crate) fn begin(&self, notice: Delivery) -> BoxFuture<'static, ()> {
        match self.shared.sink {
            Some(_) => Box::pin(std::future::ready(())),
            None => Box::pin(begin::begin(Arc::clone(&self.shared.core), notice)),
        }
    }

    /// A call that was promised an answer has failed, and nothing is sent.
    pub(crate) fn end_run(&self, id: DeliveryId, reason: FailReason) {
        let core = &self.shared.core;
        if let Some(link) = core.enter() {
            core.end_run(&link, id, Some(reason));
        }
    }

    pub(crate) fn hand_back_run(&self, id: DeliveryId) {
        let core = &self.shared.core;
        if let Some(link) = core.enter() {
            core.hand_back_run(&link, id);
        }
    }

    /// Hands a delivery to the outbox; `None` when there is nothing to wait for.
    pub(crate) fn accept(&self, delivery: Delivery, cx: &mut Context<'_>) -> Option<AcceptFuture> {
        let Shared { core, sink, .. } = &*self.shared;
        AcceptFuture::begin(core, sink.as_ref(), delivery, cx)
    }
}

#[cfg(feature = "client")]
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

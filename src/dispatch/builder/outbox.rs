//! Where deliveries are kept, or handed over.

use std::{sync::Arc, time::Duration};

use tower::ServiceExt;
use tower_service::Service;

use super::{DispatcherBuilder, FarOutbox, Store};
use crate::{
    delivery::Delivery,
    error::{BoxError, caught},
    outbox::Outbox,
};

impl DispatcherBuilder {
    /// Where accepted deliveries are kept. Default: [in memory](crate::outbox::MemoryOutbox).
    ///
    /// # Panics
    ///
    /// When the outbox says that its deliveries do not outlive the process, and seals them as if they
    /// did: [`Durability::Memory`](crate::outbox::Durability::Memory) goes with
    /// [`Sealing::in_memory`](crate::outbox::Sealing::in_memory) alone.
    #[track_caller]
    pub fn with_outbox(mut self, outbox: impl Outbox) -> Self {
        self.store = Store::new(outbox);
        assert!(
            self.store.limits.is_durable() || self.store.is_in_memory(),
            "an outbox with Durability::Memory has to seal with Sealing::in_memory()"
        );
        self.sink = None;
        self
    }

    /// Hands deliveries to this service and does not deliver them itself: for a queue that
    /// another process reads, or for a test.
    ///
    /// A delivery keeps its reservation until the service has dropped it.
    ///
    /// ```
    /// use tower::service_fn;
    /// use tower_webhook::{BoxError, Delivery, Dispatcher};
    ///
    /// let dispatcher = Dispatcher::builder()
    ///     .with_sink(service_fn(|delivery: Delivery| async move {
    ///         println!("{}: {} bytes", delivery.id(), delivery.payload().len());
    ///         Ok::<_, BoxError>(())
    ///     }))
    ///     .build();
    /// ```
    pub fn with_sink<K>(mut self, sink: K) -> Self
    where
        K: Service<Delivery, Response = (), Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let sink = Arc::new(sink);
        self.sink = Some(Arc::new(move |delivery| {
            let sink = Arc::clone(&sink);
            // Cloned and called within the future, so that a panic is caught.
            let handing_over = async move {
                let handed_over = K::clone(&sink).oneshot(delivery).await;
                handed_over.map_err(Into::into)
            };
            caught(handing_over)
        }));
        self
    }

    /// How long the end of a response is held back for a durable outbox to take the delivery.
    /// Default: 5 seconds. An outbox in memory takes it at once. A response that is read outside a
    /// Tokio runtime is held back for as long as it takes: there is no timer.
    ///
    /// An outbox that fails is asked again until that time is over. What it has not taken then is
    /// reported as [`OutboxFailed`](crate::event::EventKind::OutboxFailed), counted, and delivered from
    /// memory: it is lost if the process ends first. From then on the outbox is known to be *away*,
    /// until it takes something: it is still asked for each delivery, but once only, and no response
    /// waits for it to come back.
    pub fn with_accept_timeout(mut self, timeout: Duration) -> Self {
        self.accept_timeout = timeout;
        self
    }

    /// Accepts nothing while a durable outbox is known to be
    /// [away](Self::with_accept_timeout): a request that asks for a webhook is then answered with 503
    /// and `Retry-After` before its handler runs. Default: such a request is handled, and its webhook
    /// delivered from memory.
    ///
    /// One request a second is let through, to see whether the outbox is back: the first delivery that
    /// it takes ends this. Nobody can know beforehand that an outbox is about to fail. Those requests,
    /// and whatever was being handled when the outbox failed, are delivered from memory where it does
    /// not take them; so is a payload that is [too large](crate::outbox::Limits::max_payload) for it.
    /// Each is [reported and counted](crate::event::Counts::outbox_failed).
    ///
    /// An outbox in memory, or a sink, is never away.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, outbox::Outbox};
    ///
    /// fn dispatcher(outbox: impl Outbox) -> Dispatcher {
    ///     Dispatcher::builder()
    ///         .with_outbox(outbox)
    ///         .with_required_durability()
    ///         .build()
    /// }
    /// ```
    pub fn with_required_durability(mut self) -> Self {
        self.requires_durability = true;
        self
    }

    /// Puts deliveries into another outbox instead of attempting them: store and forward. Default: they
    /// are attempted.
    ///
    /// What is accepted waits in the outbox of this dispatcher, where a response waits for it as always,
    /// and goes on from there to this one, which other processes deliver from. However long that is away,
    /// no call waits for it, and what waits is put there once it is back: at least once, as the same
    /// delivery. An insert may take 5 seconds; then it is tried again. What is
    /// [too large](crate::outbox::Limits::max_payload) for it, which no body is, is a dead letter here.
    ///
    /// What it has taken is reported as [`HandedOver`](crate::event::EventKind::HandedOver). Deliveries
    /// and the [status](crate::status()) of calls are looked up where they have gone. Endpoint policy,
    /// retries, signing keys and headers are those of the process that attempts them.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, outbox::Outbox};
    ///
    /// fn api(near: impl Outbox, far: impl Outbox) -> Dispatcher {
    ///     Dispatcher::builder()
    ///         .with_outbox(near)
    ///         .with_forwarding(far)
    ///         .build()
    /// }
    /// ```
    pub fn with_forwarding(mut self, outbox: impl Outbox) -> Self {
        self.far = Some(FarOutbox::new(Store::new(outbox)));
        self
    }

    /// Accepts, and leaves the attempts to other processes that have the same outbox open: an API whose
    /// webhooks workers deliver. Default: this process makes attempts.
    ///
    /// Deliveries are inserted as always, and leased to nobody. Of the outbox this process holds only
    /// the [runs](Outbox::begin) of its calls. What a durable outbox does not take is still delivered
    /// from the memory of this process: with [required durability](Self::with_required_durability) only
    /// until the outbox is known to be away.
    ///
    /// The other side is a dispatcher with the same outbox that is
    /// [started](crate::Dispatcher::start), and the layer of no service:
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, WebhookLayer, outbox::Outbox};
    ///
    /// fn api(outbox: impl Outbox) -> WebhookLayer {
    ///     let dispatcher = Dispatcher::builder()
    ///         .with_outbox(outbox)
    ///         .without_attempts()
    ///         .build();
    ///     WebhookLayer::new().with_dispatcher(dispatcher)
    /// }
    ///
    /// fn worker(outbox: impl Outbox) -> Dispatcher {
    ///     let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
    ///     dispatcher.start();
    ///     dispatcher
    /// }
    /// ```
    pub fn without_attempts(mut self) -> Self {
        self.makes_attempts = false;
        self
    }
}

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, TryFutureExt};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use tower::ServiceExt;
use tower_service::Service;

use super::{
    Dispatcher, Shared,
    accept::Sink,
    core::{Core, CoreSettings},
    propagator::{Propagation, TracePropagator},
    retry::{PolicyOfHost, RetryPolicies, RetryPolicy},
    scheduler::SchedulerLimits,
    store::Store,
};
#[cfg(feature = "client")]
use crate::attempt::{GuardedSettings, InvalidCertificate, Resolve};
use crate::{
    admission::{Admission, Limits},
    attempt::{Client, FixedHeaders, Post, ReservedHeader},
    delivery::{Brand, Delivery, Payload, SigningKey},
    endpoint::{EndpointPolicy, RecentEndpoints},
    error::BoxError,
    event::{Event, Events, Subscriber},
    outbox::{MemoryOutbox, Outbox},
};

/// Settings of a [`Dispatcher`].
///
/// | setting | default | where it comes from |
/// | --- | --- | --- |
/// | [outbox](Self::with_outbox) | in memory | |
/// | [while it is away](Self::with_required_durability) | delivered from memory | |
/// | [endpoints](Self::with_endpoint_policy) | https, public addresses | |
/// | [retries](Self::with_retry_policy) | 3 attempts, at most 5 s between two | Cerebrium |
/// | [attempt's time](Self::with_attempt_timeout) | 15 s | Standard Webhooks: 15 to 30 s |
/// | [brand](Self::with_brand) | `Cerebrium` | Cerebrium |
/// | [Standard Webhooks headers](Self::without_standard_headers) | sent | |
/// | key of the service's own (`with_signing_key`, feature `ed25519`) | none | |
/// | [fixed headers](Self::with_header) | none | |
/// | [trace context](Self::with_trace_propagator) | as the call had it | W3C Trace Context |
/// | [body](Self::with_body_limit) | 4 MiB | |
/// | [memory for payloads](Self::with_memory_budget) | 1 GiB, a host at most 7/8 of it | 256 bodies of the largest size |
/// | [memory for what comes out of an outbox](Self::with_payload_memory) | 256 MiB | |
/// | [webhooks under way](Self::with_max_outstanding) | 4,096 | |
/// | [of one endpoint host](Self::with_max_outstanding_per_host) | 1,024 | |
/// | [of one caller](Self::with_max_outstanding_per_caller), where they are told apart | 512 | |
/// | [attempts under way](Self::with_max_attempts) | 512, and half of the sockets at most | |
/// | [of one endpoint host](Self::with_max_attempts_per_host) | 64 | |
/// | [sockets](Self::with_max_sockets) | half of the limit of open files, 1,536 at most | `RLIMIT_NOFILE`, the soft limit |
#[must_use = "a builder does nothing until it is built"]
pub struct DispatcherBuilder {
    store: Store,
    sink: Option<Arc<Sink>>,
    policy: EndpointPolicy,
    retry: RetryPolicy,
    retry_of_host: Option<Box<PolicyOfHost>>,
    brand: Brand,
    standard_headers: bool,
    signing_keys: Vec<SigningKey>,
    fixed_headers: FixedHeaders,
    propagation: Propagation,
    limits: Limits,
    attempts: SchedulerLimits,
    payload_memory: usize,
    accept_timeout: Duration,
    requires_durability: bool,
    subscribers: Vec<Subscriber>,
    client: Option<Client>,
    #[cfg(feature = "client")]
    guarded: GuardedSettings,
}

impl DispatcherBuilder {
    #[cfg(feature = "client")]
    pub(super) fn new() -> Self {
        Self::without_client()
    }

    pub(super) fn without_client() -> Self {
        Self {
            store: Store::new(MemoryOutbox::new()),
            sink: None,
            policy: EndpointPolicy::public(),
            retry: RetryPolicy::cerebrium(),
            retry_of_host: None,
            brand: Brand::default(),
            standard_headers: true,
            signing_keys: Vec::new(),
            fixed_headers: FixedHeaders::default(),
            propagation: Propagation::default(),
            limits: Limits {
                outstanding: 4_096,
                outstanding_per_host: 1_024,
                outstanding_per_caller: 512,
                body: 4 << 20,
                reserved_body: 256 << 10,
                memory: 1 << 30,
            },
            attempts: SchedulerLimits {
                attempts: 512,
                per_host: 64,
                time: Duration::from_secs(15),
            },
            payload_memory: 256 << 20,
            accept_timeout: Duration::from_secs(5),
            requires_durability: false,
            subscribers: Vec::new(),
            client: None,
            #[cfg(feature = "client")]
            guarded: GuardedSettings::default(),
        }
    }

    /// Where accepted deliveries are kept. Default: [in memory](MemoryOutbox).
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
        self.sink = Some(Arc::new(move |delivery| {
            let handing_over = sink.clone().oneshot(delivery);
            handing_over.map_err(Into::into).boxed()
        }));
        self
    }

    /// Which endpoints a caller may name, and which addresses are connected to. Default:
    /// [`EndpointPolicy::public`].
    pub fn with_endpoint_policy(mut self, policy: EndpointPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// When a delivery is tried again. Default: [`RetryPolicy::cerebrium`].
    pub fn with_retry_policy(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The retry policy of some endpoint hosts; `None` for those that have that of
    /// [all](Self::with_retry_policy). Default: all have that one.
    ///
    /// The function is asked after each failed attempt, with the host as it is in the URL: in lower case,
    /// without a port. It must not block.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, RetryPolicy};
    ///
    /// let dispatcher = Dispatcher::builder()
    ///     .with_retry_policy_of_host(|host| {
    ///         let is_ours = host.ends_with(".example.com");
    ///         is_ours.then(RetryPolicy::patient)
    ///     })
    ///     .build();
    /// ```
    pub fn with_retry_policy_of_host(
        mut self,
        policy: impl Fn(&str) -> Option<RetryPolicy> + Send + Sync + 'static,
    ) -> Self {
        self.retry_of_host = Some(Box::new(policy));
        self
    }

    /// The brand in the names of the signature's headers. Default: `Cerebrium`, for
    /// `X-Cerebrium-Webhook-Signature`.
    pub fn with_brand(mut self, brand: Brand) -> Self {
        self.brand = brand;
        self
    }

    /// Leaves out `webhook-id`, `webhook-timestamp` and `webhook-signature`, the headers of the
    /// Standard Webhooks specification. Default: they are sent. With a key of the service's own
    /// (`with_signing_key`) they are sent all the same, since it signs this form alone.
    pub fn without_standard_headers(mut self) -> Self {
        self.standard_headers = false;
        self
    }

    /// Signs every delivery with this key of the service's own, too, failure notices among them.
    /// Default: the caller's secret alone signs, where there is one.
    ///
    /// `webhook-signature` then has `v1a,` and the base64 of an Ed25519 signature over the same text that
    /// a secret signs, `{webhook-id}.{timestamp}.{body}`: after a space where there is a secret's
    /// signature, and alone where there is none. Receivers verify it with the
    /// [public key](SigningKey::public_key), which [`keys`](crate::keys()) publishes;
    /// [`Verifier::from_public_key`](crate::Verifier::from_public_key) does it.
    ///
    /// Called again, it adds a key: each of them signs. To change the key, add the new one beside the old
    /// one, and leave the old one out once receivers know the new one: those that read
    /// [`keys`](crate::keys()) do after an hour. Every key costs a receiver that tries them all some time,
    /// so let there be two at most.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, delivery::SigningKey};
    ///
    /// # let (new, old) = ([7; 32], [3; 32]);
    /// let dispatcher = Dispatcher::builder()
    ///     .with_signing_key(SigningKey::from_bytes(new))
    ///     .with_signing_key(SigningKey::from_bytes(old))
    ///     .build();
    /// assert_eq!(dispatcher.public_keys().len(), 2);
    /// ```
    #[cfg(feature = "ed25519")]
    pub fn with_signing_key(mut self, key: SigningKey) -> Self {
        let is_this = |known: &SigningKey| known.public_key() == key.public_key();
        if !self.signing_keys.iter().any(is_this) {
            self.signing_keys.push(key);
        }
        self
    }

    /// Adds a header to every delivery, beside those that it has anyway. Default: none. A name that is
    /// given again is sent again.
    ///
    /// Callers name the endpoint, so whatever is in it is told to anybody who can make a call: it is no
    /// place for a credential, unless the [endpoint policy](Self::with_endpoint_policy) lets through
    /// nothing but hosts that may know it. A value that is
    /// [marked as sensitive](HeaderValue::set_sensitive) remains so, and is in no `Debug` output. What
    /// goes to a [sink](Self::with_sink) has no headers yet.
    ///
    /// ```
    /// use http::{HeaderName, HeaderValue};
    /// use tower_webhook::Dispatcher;
    ///
    /// let region = HeaderName::from_static("x-acme-region");
    /// let dispatcher = Dispatcher::builder()
    ///     .with_header(region, HeaderValue::from_static("eu-1"))?
    ///     .build();
    ///
    /// let length = Dispatcher::builder()
    ///     .with_header(http::header::CONTENT_LENGTH, HeaderValue::from_static("7"));
    /// assert!(length.is_err());
    /// # Ok::<(), tower_webhook::attempt::ReservedHeader>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReservedHeader`] for a name
    /// - that deliveries have or may have of themselves: `X-Request-Id`, `X-Webhook-Attempt`,
    ///   `X-Webhook-Response-Status`, `X-Webhook-Failure`, `X-Webhook-Loop`, `webhook-id`,
    ///   `webhook-timestamp`, `webhook-signature`, the timestamp and signature of any [`Brand`],
    ///   `User-Agent`, `Content-Type`, `Content-Encoding`, `Content-Language`, `grpc-status` and
    ///   `grpc-message`;
    /// - that is about the message or its connection: `Host`, `Content-Length`, `Transfer-Encoding`,
    ///   `TE`, `Trailer`, `Connection`, `Keep-Alive`, `Proxy-Connection`, `Proxy-Authenticate`,
    ///   `Proxy-Authorization`, `Upgrade`, `HTTP2-Settings`, `Expect` and `Accept-Encoding`;
    /// - of trace context: `traceparent`, `tracestate` and `baggage`.
    pub fn with_header(
        mut self,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<Self, ReservedHeader> {
        self.fixed_headers.add(name, value)?;
        Ok(self)
    }

    /// Puts attempts into the traces that the process records. Default: every attempt sends the
    /// `traceparent` of the call as the caller sent it, where there is a valid one; see
    /// [`TracePropagator`].
    ///
    /// Each attempt is a `tracing` span of its own, with or without this: `attempt`, at level `INFO`.
    /// It has no parent, and the fields `otel.kind` (`client`), `id`, `request_id`, `endpoint`,
    /// `attempt`, `http.request.method`, `server.address` and `server.port`. When the attempt has ended
    /// it has `http.response.status_code` where there was an answer, and where it has failed
    /// `error.type` (the status, or the [error's name](crate::event::AttemptError::name)) and
    /// `otel.status_code` (`ERROR`).
    pub fn with_trace_propagator(mut self, propagator: impl TracePropagator) -> Self {
        self.propagation = Propagation::new(propagator);
        self
    }

    /// How long one attempt may take, from resolving the name to the end of the answer. Default:
    /// 15 seconds.
    ///
    /// A third of it is for connecting, shared out among the addresses of the name: one that is
    /// silent leaves time for the next one.
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempts.time = timeout;
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

    /// The largest body that is forwarded, in bytes. Default: 4 MiB.
    ///
    /// The response of a request whose body is larger goes to the caller as always; its webhook
    /// ends as [failed](crate::event::FailReason::BodyTooLarge). A cut body is never sent.
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.limits.body = bytes;
        self
    }

    /// The bytes that all payloads under way may take together. Default: 1 GiB.
    ///
    /// Each request that asks for a webhook first takes [256 KiB](Self::with_reserved_body) out of it.
    /// What its response needs beyond that is taken as the body grows, and what it did not need is
    /// given back as soon as that is known. A single endpoint host has at most seven eighths of it, and
    /// so has a single caller: some is left for others however slow a host is. More than 4 TiB counts
    /// as 4 TiB.
    ///
    /// A payload, and the headers that are kept of its response, 8 KiB at most, count. Besides those a
    /// webhook under way takes less than 5 KiB, and an attempt under way less than 128 KiB. Connections
    /// that are kept for later attempts do not come on top of that: with those in use they are at most
    /// as many as attempts may be under way, and each takes less.
    /// [Dead letters in memory](MemoryOutbox::with_max_dead_letter_bytes) have payloads and headers of
    /// 64 MiB, and take as much besides as webhooks under way. With every default that is a bound of
    /// 1,177 MiB.
    ///
    /// With a durable outbox that is the bound of what it does not have yet, or could not take. What
    /// it has and is being delivered has a bound of [its own](Self::with_payload_memory).
    pub fn with_memory_budget(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// What of a body is reserved before the handler runs, in bytes. Default: 256 KiB, as most responses
    /// are smaller, and most handlers run longer than their response takes.
    ///
    /// A larger response takes more as it grows. Where there is no more, the caller gets its response as
    /// always, and the webhook ends as [failed](crate::event::FailReason::NoRoom). With the [body
    /// limit](Self::with_body_limit) no webhook that was accepted ends so; the [memory
    /// budget](Self::with_memory_budget) divided by it is then the number of calls that can be handled
    /// at once.
    pub fn with_reserved_body(mut self, bytes: usize) -> Self {
        self.limits.reserved_body = bytes;
        self
    }

    /// The bytes of all payloads of a durable outbox that are in memory at the same time: being
    /// attempted, or waiting for their turn. Default: 256 MiB, and one payload more. Beyond it a
    /// delivery stays in the outbox until there is room.
    pub fn with_payload_memory(mut self, bytes: usize) -> Self {
        self.payload_memory = bytes;
        self
    }

    /// How many webhooks may be under way, from before the handler runs until the delivery is
    /// settled, or safe in a durable outbox. Default: 4,096: at 256 KiB each that is the default
    /// [memory budget](Self::with_memory_budget). Beyond that a request that asks for one is answered
    /// with 503.
    pub fn with_max_outstanding(mut self, number: usize) -> Self {
        self.limits.outstanding = number;
        self
    }

    /// How many of these one endpoint host may have. Default: 1,024, a quarter of all.
    pub fn with_max_outstanding_per_host(mut self, number: usize) -> Self {
        self.limits.outstanding_per_host = number;
        self
    }

    /// How many of these one caller may have, where the layer [tells callers
    /// apart](crate::layer::WebhookLayer::with_caller_key). Default: 512, an eighth of all: a caller
    /// may name any number of hosts.
    pub fn with_max_outstanding_per_caller(mut self, number: usize) -> Self {
        self.limits.outstanding_per_caller = number;
        self
    }

    /// How many attempts may be under way, at least one. Default: 512. With the crate's own client they
    /// are never more than half of the [sockets](Self::with_max_sockets) that it may open. At most as
    /// many connections are open, those that are kept for later attempts included; only while one is
    /// being opened may a second address be tried beside it.
    ///
    /// Hosts that are not known to answer share at most half of them: however many hosts stall,
    /// those that answer are attempted.
    ///
    /// However many hosts lead to one IP address (of IPv6, to one /64), three quarters of the
    /// attempts at most wait for a first answer from it. Where it has not answered for a minute that
    /// is a quarter, and for one port of it as many as [one
    /// host](Self::with_max_attempts_per_host) may have. An attempt for which there is no room is put
    /// off, for up to the time of an attempt, and then
    /// [fails](crate::event::AttemptError::Crowded).
    pub fn with_max_attempts(mut self, number: usize) -> Self {
        self.attempts.attempts = number.max(1);
        self
    }

    /// How many attempts one endpoint host may have under way, at least one. Default: 64.
    ///
    /// A host that has not answered yet, or has failed to answer its last attempt, has at most 4.
    /// One answer gives it its whole limit. After 8 failures in a row a host pauses between its
    /// attempts, for longer each time, up to one second.
    pub fn with_max_attempts_per_host(mut self, number: usize) -> Self {
        self.attempts.per_host = number.max(1);
        self
    }

    /// Tells this function everything that happens to a webhook, beside all others that are told.
    /// Default: nobody is told; what happens is also in the log, through [`tracing`].
    ///
    /// It runs on the way of requests and deliveries: it must not block. When it panics, that is
    /// logged, and nothing else changes.
    pub fn on_event(mut self, subscriber: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.subscribers.push(Box::new(subscriber));
        self
    }

    /// Sends with this client instead of the crate's own: for mutual TLS, an egress proxy, or a
    /// test.
    ///
    /// What it is given is complete and signed. The dispatcher keeps the attempt's time and reads
    /// the answer. A client must follow no redirects. **It does not have the crate's guard**: the
    /// endpoint's URL was judged, but it is the client's business which addresses its name is
    /// resolved to and connected to.
    pub fn with_client<C, B>(mut self, client: C) -> Self
    where
        C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.client = Some(Client::of(client));
        self
    }

    /// Resolves endpoint names with this instead of the system's name servers. What it answers is
    /// judged all the same. Without effect on a [client of one's own](Self::with_client).
    #[cfg(feature = "client")]
    pub fn with_resolver(mut self, resolver: impl Resolve) -> Self {
        self.guarded.resolver = Some(Arc::new(resolver));
        self
    }

    /// How many sockets the crate's own client may have open, at least 8. Default: half of the files
    /// that this process may open (the soft limit `RLIMIT_NOFILE` when the dispatcher is built, or
    /// 1,024 on systems without one), but not more than 1,536, or three for each attempt that may be
    /// under way. The other half is the service's own.
    ///
    /// Every socket counts. A half of them is for connections, those that are kept for later attempts
    /// included; a quarter for second addresses, which are tried beside one that is silent; and a
    /// quarter for look-ups, of which each takes up to four, and 80 at most are under way. Where there
    /// is no room the oldest connection that is kept is closed, a second address waits for the first
    /// one, and a name waits for its turn.
    ///
    /// What a [resolver](Self::with_resolver) or a [client](Self::with_client) of one's own opens is
    /// not counted.
    ///
    /// ```
    /// use tower_webhook::Dispatcher;
    ///
    /// // 100 attempts at the same time, in a process that has other use for its files.
    /// let dispatcher = Dispatcher::builder().with_max_sockets(200).build();
    /// ```
    #[cfg(feature = "client")]
    pub fn with_max_sockets(mut self, number: usize) -> Self {
        self.guarded.max_sockets = Some(number);
        self
    }

    /// Trusts the certificates of this PEM text as well as the public roots. Without effect on a
    /// [client of one's own](Self::with_client).
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that cannot be read.
    #[cfg(feature = "client")]
    pub fn with_root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificate> {
        self.guarded.add_roots(pem)?;
        Ok(self)
    }

    /// The dispatcher. Nothing runs yet: it starts with the first webhook.
    #[must_use]
    #[cfg_attr(not(feature = "client"), allow(unused_mut))]
    pub fn build(mut self) -> Dispatcher {
        let events = Events::new(self.subscribers);
        let admission = Arc::new(Admission::new(&self.limits, events.clone()));
        #[cfg(feature = "client")]
        let client = self.client.unwrap_or_else(|| {
            let sockets = self.guarded.sockets(self.attempts.attempts);
            self.attempts.attempts = sockets.attempts;
            Client::guarded(
                &self.policy,
                self.guarded,
                sockets,
                self.attempts.time,
                self.attempts.per_host,
            )
        });
        #[cfg(not(feature = "client"))]
        let client = self.client.unwrap_or_else(Client::none);
        let post = Post::new(
            client,
            self.policy.clone(),
            &self.brand,
            self.standard_headers,
            self.signing_keys,
            &self.fixed_headers,
            self.attempts.time,
        );
        Dispatcher {
            shared: Arc::new(Shared {
                core: Arc::new(Core::new(CoreSettings {
                    given: self.store,
                    post,
                    retry: RetryPolicies {
                        of_all: self.retry,
                        of_host: self.retry_of_host,
                    },
                    propagation: self.propagation,
                    events,
                    admission,
                    accept_timeout: self.accept_timeout,
                    requires_durability: self.requires_durability,
                    limits: self.attempts,
                    payload_memory: self.payload_memory,
                })),
                policy: self.policy,
                recent_endpoints: RecentEndpoints::new(),
                sink: self.sink,
                body_limit: self.limits.body,
                #[cfg(feature = "openapi")]
                names: super::describe::Names {
                    brand: self.brand,
                    standard_headers: self.standard_headers,
                },
            }),
        }
    }
}

impl fmt::Debug for DispatcherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherBuilder")
            .field("policy", &self.policy)
            .field("retry", &self.retry)
            .field("attempt_timeout", &self.attempts.time)
            .finish_non_exhaustive()
    }
}

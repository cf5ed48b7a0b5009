use std::{fmt, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Dispatcher, Shared, cooling::Cooling, engine::OutboxEngine, places::Places, retry::RetryPolicy,
    worker::Attempts,
};
use crate::{
    BoxError, Brand, Delivery, EndpointPolicy, Payload,
    admission::{Admission, Limits},
    attempt::{self, Client, InvalidCertificate, Post, Resolve},
    endpoint::RecentEndpoints,
    event::{Event, Events, Hook},
    outbox::{Accepted, MemoryOutbox, Outbox, SinkOnly},
};

/// Settings of a [`Dispatcher`].
///
/// | setting | default | where it comes from |
/// | --- | --- | --- |
/// | [outbox](Self::with_outbox) | in memory | |
/// | [endpoints](Self::with_endpoint_policy) | https, public addresses | |
/// | [retries](Self::with_retry_policy) | 3 attempts, at most 5 s between two | Cerebrium |
/// | [attempt's time](Self::with_attempt_timeout) | 15 s | Standard Webhooks: 15 to 30 s |
/// | [brand](Self::with_brand) | `Cerebrium` | Cerebrium |
/// | [Standard Webhooks headers](Self::without_standard_headers) | sent | |
/// | [body](Self::with_body_limit) | 4 MiB | |
/// | [memory for payloads](Self::with_memory_budget) | 1 GiB, a host at most 7/8 of it | 256 bodies of the largest size |
/// | [webhooks under way](Self::with_max_outstanding) | 1,024, and 256 for each host | |
/// | [attempts under way](Self::with_max_attempts) | 512, and 64 for each host | half of what a process may open by default on Linux |
#[must_use = "a builder does nothing until it is built"]
pub struct DispatcherBuilder<O = MemoryOutbox> {
    outbox: O,
    policy: EndpointPolicy,
    retry: RetryPolicy,
    brand: Brand,
    standard_headers: bool,
    limits: Limits,
    attempts: (usize, usize),
    attempt_timeout: Duration,
    accept_timeout: Duration,
    hook: Option<Box<Hook>>,
    client: Option<Client>,
    guarded: attempt::GuardedSettings,
}

impl DispatcherBuilder {
    pub(super) fn new() -> Self {
        Self {
            outbox: MemoryOutbox::new(),
            policy: EndpointPolicy::public(),
            retry: RetryPolicy::cerebrium(),
            brand: Brand::default(),
            standard_headers: true,
            limits: Limits {
                outstanding: 1_024,
                outstanding_per_host: 256,
                body: 4 << 20,
                memory: 1 << 30,
            },
            attempts: (512, 64),
            attempt_timeout: Duration::from_secs(15),
            accept_timeout: Duration::from_secs(5),
            hook: None,
            client: None,
            guarded: attempt::GuardedSettings::default(),
        }
    }
}

impl<O> DispatcherBuilder<O> {
    /// Where accepted deliveries wait. Default: [in memory](MemoryOutbox).
    pub fn with_outbox<P: Outbox>(self, outbox: P) -> DispatcherBuilder<P> {
        DispatcherBuilder {
            outbox,
            policy: self.policy,
            retry: self.retry,
            brand: self.brand,
            standard_headers: self.standard_headers,
            limits: self.limits,
            attempts: self.attempts,
            attempt_timeout: self.attempt_timeout,
            accept_timeout: self.accept_timeout,
            hook: self.hook,
            client: self.client,
            guarded: self.guarded,
        }
    }

    /// Hands deliveries to this service and does not deliver them itself: for a queue that
    /// another process reads, or for a test.
    ///
    /// A delivery keeps the room that it takes until the service has dropped it.
    pub fn with_sink<K>(self, sink: K) -> DispatcherBuilder<SinkOnly<K>>
    where
        K: Service<Delivery, Response = Accepted, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.with_outbox(SinkOnly(sink))
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

    /// The brand in the names of the signature's headers. Default: `Cerebrium`, for
    /// `X-Cerebrium-Webhook-Signature`.
    pub fn with_brand(mut self, brand: Brand) -> Self {
        self.brand = brand;
        self
    }

    /// Leaves out `webhook-id`, `webhook-timestamp` and `webhook-signature`, the headers of the
    /// Standard Webhooks specification. Default: they are sent.
    pub fn without_standard_headers(mut self) -> Self {
        self.standard_headers = false;
        self
    }

    /// How long one attempt may take, from resolving the name to the end of the answer. Default:
    /// 15 seconds.
    ///
    /// A third of it is for connecting, shared out among the addresses of the name: one that is
    /// silent leaves time for the next one.
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long the end of a response is held back for a durable outbox to take the delivery.
    /// Default: 5 seconds. An outbox in memory takes it at once. A response that is read outside a
    /// Tokio runtime is held back for as long as it takes: there is no timer.
    pub fn with_accept_timeout(mut self, timeout: Duration) -> Self {
        self.accept_timeout = timeout;
        self
    }

    /// The largest body that is forwarded, in bytes. Default: 4 MiB.
    ///
    /// The response of a request whose body is larger goes to the caller as always; its webhook
    /// ends as [failed](crate::FailReason::BodyTooLarge). A cut body is never sent.
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.limits.body = bytes;
        self
    }

    /// The bytes that all payloads under way may take together. Default: 1 GiB.
    ///
    /// Each request that asks for a webhook first takes the whole [body
    /// limit](Self::with_body_limit) out of it, and gives back what its body did not need as soon
    /// as that is known: budget / limit is the number of such requests that can be handled at
    /// once. A single endpoint host has at most seven eighths of it, so that some is left for
    /// others however slow that host is. More than 4 TiB counts as 4 TiB.
    ///
    /// Besides its payload a webhook under way takes less than 5 KiB, and an attempt under way less
    /// than 128 KiB. Connections that are kept for later attempts do not come on top of that: with
    /// those in use they are at most as many as attempts may be under way, and each takes less.
    /// [Dead letters in memory](MemoryOutbox::with_dead_letters) have payloads of 64 MiB, and take
    /// as much besides as webhooks under way. With every default that is a bound of 1,162 MiB.
    ///
    /// With a SQLite outbox that is the bound of what is not in its file yet, or could not be
    /// written. To deliver from the file takes as much again as its `with_payload_memory` says,
    /// 256 MiB by default, and 16 MiB for the file's pages.
    pub fn with_memory_budget(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// How many webhooks may be under way, from before the handler runs until the delivery is
    /// safe: in all, and for each endpoint host. Default: 1,024 and 256. Beyond that a request
    /// that asks for one is answered with 503.
    pub fn with_max_outstanding(mut self, in_all: usize, per_host: usize) -> Self {
        self.limits.outstanding = in_all;
        self.limits.outstanding_per_host = per_host;
        self
    }

    /// How many attempts may be under way, at least one: in all, and for each endpoint host.
    /// Default: 512 and 64. At most as many connections are open, those that are kept for later
    /// attempts included; only while one is being opened may a second address be tried beside it.
    ///
    /// A host begins with at most 4 and has one more for each of its answers, until none of its
    /// attempts is under way any more; and it never gets more than half of what is free. So it
    /// takes well over a hundred hosts that stall until another one has to wait.
    pub fn with_max_attempts(mut self, in_all: usize, per_host: usize) -> Self {
        self.attempts = (in_all.max(1), per_host.max(1));
        self
    }

    /// Tells this function everything that happens to a webhook. Default: nobody is told; what
    /// happens is also in the log, through [`tracing`].
    ///
    /// It runs on the way of requests and deliveries: it must not block. When it panics, that is
    /// logged, and nothing else changes.
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(hook));
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
    pub fn with_resolver(mut self, resolver: impl Resolve) -> Self {
        self.guarded.resolver = Some(Arc::new(resolver));
        self
    }

    /// Trusts the certificates of this PEM text as well as the public roots. Without effect on a
    /// [client of one's own](Self::with_client).
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that cannot be read.
    pub fn with_root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificate> {
        self.guarded.add_roots(pem)?;
        Ok(self)
    }
}

impl<O: Outbox + 'static> DispatcherBuilder<O> {
    /// The dispatcher. Nothing runs yet: its worker starts with the first webhook.
    #[must_use]
    pub fn build(self) -> Dispatcher {
        let events = Events::new(self.hook);
        let admission = Arc::new(Admission::new(&self.limits, events.clone()));
        let cooling = Arc::<Cooling>::default();
        let client = self.client.unwrap_or_else(|| {
            Client::guarded(
                &self.policy,
                self.guarded,
                self.attempt_timeout,
                self.attempts,
            )
        });
        let attempts = Arc::new(Attempts {
            far_end: Post::new(
                client,
                self.policy.clone(),
                &self.brand,
                self.standard_headers,
                self.attempt_timeout,
            ),
            retry: self.retry,
            events: events.clone(),
            admission: Arc::clone(&admission),
            cooling: Arc::clone(&cooling),
            places: Places::new(self.attempts.0, self.attempts.1),
        });
        Dispatcher {
            shared: Arc::new(Shared {
                admission,
                cooling,
                policy: self.policy,
                recent_endpoints: RecentEndpoints::new(),
                events,
                engine: Box::new(OutboxEngine::new(self.outbox, Arc::clone(&attempts))),
                fallback: Box::new(OutboxEngine::new(MemoryOutbox::new(), attempts)),
                body_limit: self.limits.body,
                accept_timeout: self.accept_timeout,
            }),
        }
    }
}

impl<O> fmt::Debug for DispatcherBuilder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherBuilder")
            .field("policy", &self.policy)
            .field("retry", &self.retry)
            .field("attempt_timeout", &self.attempt_timeout)
            .finish_non_exhaustive()
    }
}

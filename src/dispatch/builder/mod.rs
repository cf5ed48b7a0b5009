mod client;
mod limits;
mod message;
mod outbox;

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Dispatcher, Shared,
    accept::Sink,
    core::{Core, CoreSettings},
    forward::FarOutbox,
    propagator::Propagation,
    retry::{PolicyOfHost, RetryPolicies, RetryPolicy},
    scheduler::SchedulerLimits,
    store::Store,
};
#[cfg(feature = "client")]
use crate::attempt::GuardedSettings;
#[cfg(feature = "metrics")]
use crate::event::Metrics;
use crate::{
    admission::{Admission, Limits},
    attempt::{Client, FixedHeaders, Post},
    delivery::{Brand, SigningKey},
    endpoint::{EndpointPolicy, RecentEndpoints},
    event::{Event, Events, Subscriber},
    outbox::MemoryOutbox,
};

/// Settings of a [`Dispatcher`].
///
/// | setting | default | where it comes from |
/// | --- | --- | --- |
/// | [outbox](Self::with_outbox) | in memory | |
/// | [while it is away](Self::with_required_durability) | delivered from memory | |
/// | [where deliveries go on to](Self::with_forwarding) | they are attempted | |
/// | [who delivers](Self::without_attempts) | this process, and whoever has the outbox open | |
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
/// | metrics (`with_metrics`, feature `metrics`) | none | |
/// | [sockets](Self::with_max_sockets) | half of the limit of open files, 1,536 at most | `RLIMIT_NOFILE`, the soft limit |
#[must_use = "a builder does nothing until it is built"]
pub struct DispatcherBuilder {
    store: Store,
    far: Option<FarOutbox>,
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
    makes_attempts: bool,
    subscribers: Vec<Subscriber>,
    #[cfg(feature = "metrics")]
    has_metrics: bool,
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
            far: None,
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
            makes_attempts: true,
            subscribers: Vec::new(),
            #[cfg(feature = "metrics")]
            has_metrics: false,
            client: None,
            #[cfg(feature = "client")]
            guarded: GuardedSettings::default(),
        }
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

    /// How long one attempt may take, from resolving the name to the end of the answer. Default:
    /// 15 seconds.
    ///
    /// A third of it is for connecting, shared out among the addresses of the name: one that is
    /// silent leaves time for the next one.
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempts.time = timeout;
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

    /// Counts and times what happens, for the recorder of the `metrics` facade. Default: nothing is recorded.
    ///
    /// Install the recorder before the dispatcher is [built](Self::build): counters that are registered without
    /// one are never recorded.
    ///
    /// What there is, with names, units and labels: [`event::metrics`](crate::event::metrics). Gauges are
    /// written by [`Dispatcher::record_gauges`].
    #[cfg(feature = "metrics")]
    pub fn with_metrics(mut self) -> Self {
        self.has_metrics = true;
        self
    }

    /// The dispatcher. Nothing runs yet: it starts with the first webhook.
    ///
    /// # Panics
    ///
    /// When it is to be [without attempts](Self::without_attempts), and what it accepts goes to an outbox
    /// in memory, where no other process finds it. When the outbox that deliveries are to be
    /// [forwarded](Self::with_forwarding) to is in memory, or does not take payloads as large as
    /// [bodies](Self::with_body_limit) may be.
    #[must_use]
    #[track_caller]
    #[cfg_attr(not(feature = "client"), allow(unused_mut))]
    pub fn build(mut self) -> Dispatcher {
        assert!(
            self.makes_attempts || self.sink.is_some() || self.store.limits.is_durable(),
            "without attempts, what is in memory is never delivered: it takes a durable outbox"
        );
        if let Some(far) = &self.far {
            assert!(
                far.is_durable(),
                "deliveries are forwarded to a durable outbox"
            );
            assert!(
                far.max_payload().is_none_or(|max| max >= self.limits.body),
                "the outbox that deliveries are forwarded to does not take the largest body"
            );
        }
        #[cfg(feature = "metrics")]
        let metrics = self.has_metrics.then(Metrics::new);
        #[cfg(not(feature = "metrics"))]
        let metrics = None;
        let events = Events::new(self.subscribers, metrics);
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
        #[cfg(feature = "openapi")]
        let names = super::describe::Names {
            brand: self.brand.clone(),
            standard_headers: self.standard_headers,
            has_signing_key: !self.signing_keys.is_empty(),
            fixed: self
                .fixed_headers
                .names()
                .fold(Vec::new(), |mut names, name| {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                    names
                }),
        };
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
                    far: self.far,
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
                    makes_attempts: self.makes_attempts,
                    limits: self.attempts,
                    payload_memory: self.payload_memory,
                })),
                policy: self.policy,
                recent_endpoints: RecentEndpoints::new(),
                sink: self.sink,
                body_limit: self.limits.body,
                #[cfg(feature = "openapi")]
                names,
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

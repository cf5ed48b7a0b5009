//! The way of a request: the layer, its service, and what a caller gets.
//!
//! What a request says is read in `ask`, what becomes of its response in `response`; how a delivery
//! goes on is the dispatcher's.

mod body;
mod calls;
mod config;
#[cfg(feature = "openapi")]
mod describe;
mod future;
mod receipt;
mod service;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderName, StatusCode, request};
use tower_layer::Layer;

use self::config::{CallerKey, Config};
pub use self::{body::ResponseBody, future::ResponseFuture, service::Webhook};
use crate::{
    ask::{Parameter, Reader},
    dispatch::Dispatcher,
    response::{Disconnect, Wishes},
};

/// Cerebrium's grace period.
const RUN_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Gives every call of a service webhook forwarding.
///
/// A caller that adds `?webhookEndpoint=https://…` gets its response as always, and the same bytes
/// are POSTed to that endpoint, signed with its `X-Webhook-Secret` and retried. Nothing happens
/// to any other call.
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_webhook::WebhookLayer;
///
/// let app: Router = Router::new()
///     .route("/run", post(|| async { "done" }))
///     .layer(WebhookLayer::new());
/// ```
///
/// With settings of its own:
///
/// ```
/// use axum::{Router, routing::post};
/// use http::HeaderName;
/// use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer};
///
/// let policy = EndpointPolicy::public().with_denied_host("*.mycompany.com")?;
/// let dispatcher = Dispatcher::builder().with_endpoint_policy(policy).build();
/// let layer = WebhookLayer::new()
///     .with_dispatcher(dispatcher)
///     .with_endpoint_header(HeaderName::from_static("x-webhook-endpoint"))
///     .with_required_secret();
/// let app: Router = Router::new().route("/run", post(|| async { "done" })).layer(layer);
/// # Ok::<(), tower_webhook::endpoint::EndpointError>(())
/// ```
///
/// # Where to put it
///
/// The endpoint gets what passes through this layer. *Inside* a compression layer it gets plain
/// bytes, *outside* one it gets what the caller got. Put it inside layers that may refuse a call,
/// such as authentication: whoever can reach it can make the service POST. A layer that gives up
/// on a call, such as a timeout, belongs inside: outside, it drops the call as a caller does that
/// hangs up, and the call runs on.
///
/// So does what a handler needs around it. A call whose caller has left runs on in a task of its own,
/// without what the layers outside put around it: a handler that reads a `task_local!` of an outer layer
/// panics then, its log lines are in no span of an outer `TraceLayer`, and an outer limit on calls
/// under way counts it no more. What is in the request's extensions stays.
///
/// # Deployment caveat
///
/// The endpoint is an address that a stranger chose. The [`EndpointPolicy`](crate::endpoint::EndpointPolicy)
/// sees to it that only public addresses are connected to; that is defence in depth and no
/// substitute for egress rules. Put the names under which your own services are publicly known on
/// the deny list. For an API that browsers call with cookies, turn on
/// [`with_required_secret`](Self::with_required_secret).
#[derive(Clone, Debug)]
pub struct WebhookLayer {
    config: Arc<Config>,
}

impl WebhookLayer {
    /// Every default, and a [`Dispatcher`] of its own with every default.
    ///
    /// It needs no running runtime; the first webhook does.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn new() -> Self {
        Self::for_dispatcher(Dispatcher::new())
    }

    /// Every default, and this dispatcher. It is there without the feature `client`, too.
    #[must_use]
    pub fn for_dispatcher(dispatcher: Dispatcher) -> Self {
        Self {
            config: Arc::new(Config {
                reader: Reader {
                    endpoint_parameter: Parameter::new("webhookEndpoint"),
                    endpoint_header: None,
                    secret_header: HeaderName::from_static("x-webhook-secret"),
                    secret_required: false,
                },
                dispatcher,
                disconnect: Disconnect::RunOn,
                wishes: Arc::new(Wishes {
                    tells_failures: true,
                    shows_id: false,
                    run_limit: RUN_LIMIT,
                }),
                hides_request: false,
                caller_key: None,
                promises: None,
                status_location: None,
                forwards: |_| true,
            }),
        }
    }

    /// Hands deliveries to this dispatcher. Default: one of its own.
    #[must_use]
    pub fn with_dispatcher(mut self, dispatcher: Dispatcher) -> Self {
        self.config_mut().dispatcher = dispatcher;
        self
    }

    /// The query parameter that names the endpoint. Default: `webhookEndpoint`, as Cerebrium's.
    #[must_use]
    pub fn with_endpoint_parameter(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.config_mut().reader.endpoint_parameter = Parameter::new(name);
        self
    }

    /// A header that can name the endpoint as well, for callers who cannot set a query, such as
    /// gRPC clients. Default: none.
    #[must_use]
    pub fn with_endpoint_header(mut self, name: HeaderName) -> Self {
        self.config_mut().reader.endpoint_header = Some(name);
        self
    }

    /// The header whose raw bytes are the key that deliveries are signed with. Default:
    /// `X-Webhook-Secret`, as Cerebrium's.
    #[must_use]
    pub fn with_secret_header(mut self, name: HeaderName) -> Self {
        self.config_mut().reader.secret_header = name;
        self
    }

    /// Answers a request that asks for a webhook without a secret with 400. Default: its delivery
    /// goes out unsigned.
    ///
    /// Turn it on for an API that browsers call with cookies: a foreign page can make a browser
    /// send a query, but a header of its own needs the API's consent first (CORS preflight).
    #[must_use]
    pub fn with_required_secret(mut self) -> Self {
        self.config_mut().reader.secret_required = true;
        self
    }

    /// Sends no failure notices. Default: an accepted webhook whose response never becomes a delivery tells
    /// its endpoint so.
    ///
    /// A notice is a delivery like any other, with its ids, signatures and retries. It has
    /// `X-Webhook-Failure` with the [name](crate::event::FailReason::name) of the reason, and a problem
    /// (RFC 9457, `application/problem+json`) as its payload:
    /// `{"type":"urn:tower-webhook:failure:timed-out","title":"the call took too long","run_id":"…"}`.
    /// Its `X-Webhook-Response-Status` is missing where there was no response.
    /// [`FailReason::is_told`](crate::event::FailReason::is_told) says of which failures nothing is sent.
    #[must_use]
    pub fn without_failure_notices(mut self) -> Self {
        self.wishes_mut().tells_failures = false;
        self
    }

    /// Tells callers apart by what this function makes of a request, such as the tenant that
    /// authentication has found. Default: callers are not told apart.
    ///
    /// One caller has [512](crate::dispatch::DispatcherBuilder::with_max_outstanding_per_caller) webhooks
    /// under way at most: whoever names many hosts cannot shut out all others. It is called only for
    /// requests that ask for a webhook or a [202](Self::with_async_requests); `None` is for whoever has no
    /// limit of its own.
    ///
    /// ```
    /// use tower_webhook::WebhookLayer;
    ///
    /// #[derive(Clone)]
    /// struct Tenant(String);
    ///
    /// // A layer outside of this one has put it there.
    /// let layer = WebhookLayer::new().with_caller_key(|request| {
    ///     let tenant = request.extensions.get::<Tenant>()?;
    ///     Some(tenant.0.clone())
    /// });
    /// ```
    #[must_use]
    pub fn with_caller_key(
        mut self,
        key: impl Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.config_mut().caller_key = Some(CallerKey(Arc::new(key)));
        self
    }

    /// Forwards only responses with these statuses. Default: all, so that a caller also learns
    /// that its call has failed.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_webhook::WebhookLayer;
    ///
    /// let layer = WebhookLayer::new().with_forwarded_statuses(|status| status.is_success());
    /// ```
    #[must_use]
    pub fn with_forwarded_statuses(mut self, forwards: fn(StatusCode) -> bool) -> Self {
        self.config_mut().forwards = forwards;
        self
    }

    fn wishes_mut(&mut self) -> &mut Wishes {
        Arc::make_mut(&mut self.config_mut().wishes)
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

#[cfg(feature = "client")]
impl Default for WebhookLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for WebhookLayer {
    type Service = Webhook<S>;

    fn layer(&self, inner: S) -> Webhook<S> {
        Webhook::new(inner, Arc::clone(&self.config))
    }
}

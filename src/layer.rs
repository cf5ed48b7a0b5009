use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use crate::{
    Dispatcher, Kept, ResponseBody, Webhook, Wrapped,
    config::Config,
    detach::Disconnect,
    request::{Parameter, Reader},
};

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
/// # Ok::<(), tower_webhook::EndpointError>(())
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
/// # Deployment caveat
///
/// The endpoint is an address that a stranger chose. The [`EndpointPolicy`](crate::EndpointPolicy)
/// sees to it that only public addresses are connected to; that is defence in depth and no
/// substitute for egress rules. Put the names under which your own services are publicly known on
/// the deny list. For an API that browsers call with cookies, turn on
/// [`with_required_secret`](Self::with_required_secret).
#[derive(Clone, Debug)]
pub struct WebhookLayer<T = Wrapped> {
    config: Arc<Config>,
    body_type: T,
}

impl WebhookLayer {
    /// Every default, and a [`Dispatcher`] of its own with every default.
    ///
    /// It needs no running runtime; the first webhook does.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config {
                reader: Reader {
                    endpoint_parameter: Parameter::new("webhookEndpoint"),
                    endpoint_header: None,
                    secret_header: HeaderName::from_static("x-webhook-secret"),
                    secret_required: false,
                },
                dispatcher: Dispatcher::new(),
                disconnect: Disconnect::RunOn,
                forwards: |_| true,
            }),
            body_type: Wrapped,
        }
    }
}

impl<T> WebhookLayer<T> {
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

    /// Ends a request whose caller has left, as it would end without a webhook; its webhook ends
    /// as [failed](crate::FailReason::CallerLeft). Default: the request runs on, and its response
    /// is delivered.
    #[must_use]
    pub fn with_cancel_on_disconnect(mut self) -> Self {
        self.config_mut().disconnect = Disconnect::Cancel;
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

    /// Gives responses the type of body that the service has, instead of a [`ResponseBody`] around
    /// it. Default: a [`ResponseBody`].
    ///
    /// A response whose webhook nobody asked for is given as it is; of another one, `make` turns
    /// the watched body into the service's type. For a type that can hold any body, such as those of
    /// axum and tonic, it is the type's own `new`.
    ///
    /// With it the layer can be put around an axum app as a whole, which costs a call less than
    /// a layer of the router does and applies to the router's own answers as well, such as 404:
    ///
    /// ```
    /// use axum::{Router, ServiceExt, body::Body, extract::Request, routing::post};
    /// use tower::Layer;
    /// use tower_webhook::WebhookLayer;
    ///
    /// # async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// let app: Router = Router::new().route("/run", post(|| async { "done" }));
    /// let app = WebhookLayer::new().with_kept_body(Body::new).layer(app);
    /// axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await
    /// # }
    /// ```
    #[must_use]
    pub fn with_kept_body<B>(self, make: fn(ResponseBody<B>) -> B) -> WebhookLayer<Kept<B>> {
        WebhookLayer {
            config: self.config,
            body_type: Kept::new(make),
        }
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl Default for WebhookLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, T: Copy> Layer<S> for WebhookLayer<T> {
    type Service = Webhook<S, T>;

    fn layer(&self, inner: S) -> Webhook<S, T> {
        Webhook::new(inner, Arc::clone(&self.config), self.body_type)
    }
}

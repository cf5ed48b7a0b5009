use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::ServiceExt;
use tower_service::Service;

use super::{
    answer,
    error::{ConnectError, classify},
    guard::Guard,
    hold::Hold,
    resolver::{JudgingResolver, Resolve, SystemResolver},
    roots::{self, InvalidCertificate},
};
use crate::{
    BoxError, EndpointPolicy, Payload,
    event::{AttemptError, Outcome},
};

/// What posts: the crate's own client, or the user's.
pub(crate) enum Client {
    Guarded(Box<GuardedClient>),
    Own(Arc<dyn Exchange>),
}

/// hyper-util's client behind the guard.
pub(crate) struct GuardedClient {
    client: legacy::Client<Deadline, Payload>,
}

/// What the guarded client can be told.
#[derive(Default)]
pub(crate) struct GuardedSettings {
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    more_roots: Option<RootCertStore>,
}

/// An idle connection is closed after this time; most receivers keep one for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of an answer: bytes, and headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

impl GuardedSettings {
    pub(crate) fn add_roots(&mut self, pem: &[u8]) -> Result<(), InvalidCertificate> {
        roots::add(self.more_roots.get_or_insert_with(roots::public), pem)
    }
}

impl Client {
    pub(crate) fn of<C, B>(client: C) -> Self
    where
        C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self::Own(Arc::new(client))
    }

    /// `max_attempts` is also how many connections are kept open for a later attempt.
    pub(crate) fn guarded(
        policy: &EndpointPolicy,
        settings: GuardedSettings,
        connect_timeout: Duration,
        max_attempts: (usize, usize),
    ) -> Self {
        let (in_all, per_host) = max_attempts;
        let resolver = settings
            .resolver
            .unwrap_or_else(|| Arc::new(SystemResolver::default()));
        let resolver = JudgingResolver::new(resolver, policy.clone());
        let guard = Guard::new(resolver, policy.clone(), in_all);
        let connector = Deadline {
            connector: tls(guard, settings.more_roots.unwrap_or_else(roots::public)),
            timeout: connect_timeout,
        };
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(per_host)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .build(connector);
        Self::Guarded(Box::new(GuardedClient { client }))
    }

    pub(crate) async fn post(&self, request: Request<Payload>) -> Result<Outcome, AttemptError> {
        match self {
            Self::Guarded(client) => client.post(request).await,
            Self::Own(client) => client.exchange(request).await,
        }
    }
}

impl GuardedClient {
    async fn post(&self, mut request: Request<Payload>) -> Result<Outcome, AttemptError> {
        let mut hold = Hold::on(&mut request);
        match self.client.request(request).await {
            Ok(response) => {
                hold.is_answered();
                answer::read(response).await
            }
            Err(error) => Err(classify(&error)),
        }
    }
}

fn tls(guard: Guard, roots: RootCertStore) -> HttpsConnector<Guard> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(guard)
}

/// Ends connecting, the TLS handshake included. hyper-util goes on connecting in the background
/// when an attempt found another connection or was given up: without this it could go on for
/// ever.
#[derive(Clone)]
pub(crate) struct Deadline {
    connector: HttpsConnector<Guard>,
    timeout: Duration,
}

impl Service<Uri> for Deadline {
    type Response = <HttpsConnector<Guard> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let connecting = self.connector.call(endpoint);
        let timeout = self.timeout;
        Box::pin(async move {
            tokio::time::timeout(timeout, connecting)
                .await
                .map_err(|_elapsed| ConnectError::TimedOut)?
        })
    }
}

/// A client of the user's, its types erased.
pub(crate) trait Exchange: Send + Sync {
    fn exchange(&self, request: Request<Payload>) -> Exchanging;
}

type Exchanging = Pin<Box<dyn Future<Output = Result<Outcome, AttemptError>> + Send>>;

impl<C, B> Exchange for C
where
    C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
    C::Future: Send,
    C::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn exchange(&self, request: Request<Payload>) -> Exchanging {
        let exchanging = self.clone().oneshot(request);
        Box::pin(async {
            let response = exchanging.await.map_err(|error| classify(&*error.into()))?;
            answer::read(response).await
        })
    }
}

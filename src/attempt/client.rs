use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::Either;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::ServiceExt;
use tower_service::Service;

use super::{
    answer,
    connection::Connection,
    error::{classify, classify_connecting},
    guard::Guard,
    pool::Pool,
    resolver::{JudgingResolver, Resolve},
    roots::{self, InvalidCertificate},
    system_resolver::SystemResolver,
};
use crate::{
    BoxError, Endpoint, EndpointPolicy, Payload,
    event::{AttemptError, Outcome},
};

/// What posts: the crate's own client, or the user's.
pub(crate) enum Client {
    Guarded(Box<GuardedClient>),
    Own(Arc<dyn Exchange>),
}

/// hyper's connections behind the guard.
pub(crate) struct GuardedClient {
    connector: HttpsConnector<Guard>,
    attempt_timeout: Duration,
    pool: Pool,
}

/// What the guarded client can be told.
#[derive(Default)]
pub(crate) struct GuardedSettings {
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    more_roots: Option<RootCertStore>,
}

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

    /// `max_attempts` is also how many connections are open, those kept for a later attempt
    /// included.
    pub(crate) fn guarded(
        policy: &EndpointPolicy,
        settings: GuardedSettings,
        attempt_timeout: Duration,
        max_attempts: (usize, usize),
    ) -> Self {
        let (in_all, per_host) = max_attempts;
        let resolver = settings
            .resolver
            .unwrap_or_else(|| Arc::new(SystemResolver::default()));
        let resolver = JudgingResolver::new(resolver, policy.clone());
        let guard = Guard::new(resolver, policy.clone(), attempt_timeout);
        let roots = settings.more_roots.unwrap_or_else(roots::public);
        Self::Guarded(Box::new(GuardedClient {
            connector: tls(guard, roots),
            attempt_timeout,
            pool: Pool::new(in_all, per_host),
        }))
    }

    /// Whether its requests have to bring their `Host`: a client of one's own sets it by itself.
    pub(crate) fn wants_host(&self) -> bool {
        matches!(self, Self::Guarded(_))
    }

    /// What its requests name: a client of one's own wants the whole endpoint.
    pub(crate) fn target(&self, endpoint: &Endpoint) -> Uri {
        match self {
            Self::Guarded(_) => endpoint.origin_form(),
            Self::Own(_) => endpoint.uri().clone(),
        }
    }

    /// Posts a request; made anew, it is the same.
    ///
    /// `answered` is set as soon as there is an outcome, while what becomes of the connection may
    /// still be open.
    pub(crate) fn post<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        request: impl Fn() -> Request<Payload> + Send + 'a,
        answered: &'a OnceLock<Outcome>,
    ) -> impl Future<Output = Result<Outcome, AttemptError>> + 'a {
        match self {
            Self::Guarded(client) => Either::Left(client.post(endpoint, request, answered)),
            Self::Own(client) => Either::Right(client.exchange(request())),
        }
    }
}

impl GuardedClient {
    async fn post(
        &self,
        endpoint: &Endpoint,
        request: impl Fn() -> Request<Payload>,
        answered: &OnceLock<Outcome>,
    ) -> Result<Outcome, AttemptError> {
        let origin = endpoint.origin();
        loop {
            let kept = self.pool.take(origin);
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Box::pin(self.connect(endpoint)).await?,
            };
            match connection.send(&request).await {
                Ok(response) => {
                    let answer = connection.read(response).await?;
                    let _ = answered.set(answer.outcome);
                    if answer.whole && connection.is_free().await {
                        self.pool.put(origin, connection);
                    }
                    return Ok(answer.outcome);
                }
                // The receiver has closed it meanwhile.
                Err(error) if was_kept && error.is_canceled() => {}
                Err(error) => return Err(classify(&error)),
            }
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, AttemptError> {
        let uri = endpoint.uri().clone();
        let counted = self.pool.count(endpoint.origin());
        Connection::open(self.connector.clone(), uri, self.attempt_timeout, counted)
            .await
            .map_err(|error| classify_connecting(&*error))
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
            Ok(answer::read(response).await?.outcome)
        })
    }
}

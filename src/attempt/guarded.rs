use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Request;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::{
    answer,
    connection::Connection,
    counted_runtime::SOCKETS_OF_A_LOOKUP,
    error::{classify, classify_connecting},
    guard::Guard,
    lookups::MAX_LOOKUPS,
    pool::Pool,
    resolver::{JudgingResolver, Resolve},
    roots::{self, InvalidCertificate},
    sockets::{SocketShares, default_max_sockets},
    system_resolver::SystemResolver,
};
use crate::{
    delivery::Payload,
    endpoint::{Endpoint, EndpointPolicy},
    event::{AttemptError, Outcome},
};

/// The crate's own client: hyper's connections behind the guard.
pub(crate) struct GuardedClient {
    connector: HttpsConnector<Guard>,
    attempt_timeout: Duration,
    pool: Pool<Connection>,
    #[cfg(feature = "metrics")]
    resolver: JudgingResolver,
}

/// The settings of the guarded client.
#[derive(Default)]
pub(crate) struct GuardedSettings {
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) max_sockets: Option<usize>,
    more_roots: Option<RootCertStore>,
}

impl GuardedSettings {
    /// What the sockets are for that may be open, where so many attempts are asked for.
    pub(crate) fn sockets(&self, attempts: usize) -> SocketShares {
        let sockets = self.max_sockets;
        let sockets = sockets.unwrap_or_else(|| default_max_sockets(attempts));
        SocketShares::of(sockets).for_attempts(attempts)
    }

    pub(crate) fn add_roots(&mut self, pem: &[u8]) -> Result<(), InvalidCertificate> {
        roots::add(self.more_roots.get_or_insert_with(roots::public), pem)
    }
}

impl GuardedClient {
    /// As many connections are open as there are sockets for attempts, including those kept for a
    /// later attempt, and as many are kept to each origin as one host may have attempts.
    pub(super) fn new(
        policy: &EndpointPolicy,
        settings: GuardedSettings,
        sockets: SocketShares,
        attempt_timeout: Duration,
        attempts_per_host: usize,
    ) -> Self {
        let resolver = settings
            .resolver
            .unwrap_or_else(|| Arc::new(SystemResolver::new(sockets.lookups)));
        let most_lookups = (sockets.lookups / SOCKETS_OF_A_LOOKUP).min(MAX_LOOKUPS);
        let resolver = JudgingResolver::new(resolver, policy.clone(), most_lookups);
        let guard = Guard::new(
            resolver.clone(),
            policy.clone(),
            attempt_timeout,
            sockets,
            attempts_per_host,
        );
        let roots = settings.more_roots.unwrap_or_else(roots::public);
        Self {
            connector: tls(guard, roots),
            attempt_timeout,
            pool: Pool::new(sockets.attempts, attempts_per_host),
            #[cfg(feature = "metrics")]
            resolver,
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) fn in_use(&self) -> crate::event::metrics::ClientUse {
        crate::event::metrics::ClientUse {
            connections: self.pool.open(),
            lookups: self.resolver.lookups_under_way(),
        }
    }

    pub(super) async fn post(
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
                    connection.has_answered();
                    let outcome = answer::outcome(&response);
                    let _ = answered.set(outcome);
                    if connection.finish(response).await {
                        self.pool.put(origin, connection);
                    }
                    return Ok(outcome);
                }
                // The receiver closed it while it was idle, and has seen nothing of the request.
                Err(error) if was_kept && error.is_canceled() => {}
                Err(error) => {
                    let outcome = Box::pin(connection.last_words()).await;
                    return outcome.ok_or_else(|| classify(&error));
                }
            }
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, AttemptError> {
        let uri = endpoint.uri().clone();
        let counted = self.pool.room(endpoint.origin()).await;
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

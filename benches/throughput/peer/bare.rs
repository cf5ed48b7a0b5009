//! hyper-util's client in a loop: what HTTP itself allows.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
    vec::IntoIter,
};

use bytes::Bytes;
use futures::{FutureExt, future::LocalBoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::task::JoinSet;
use tower::service_fn;
use tower_webhook::Payload;

use super::{
    super::endpoints::{Loopback, dispatcher},
    AT_ONCE, Layered, Load, Peer, plain, timed,
};

pub(crate) struct Bare<C> {
    client: Client<C, Payload>,
    /// Signed, complete, and byte for byte what the dispatcher posts.
    prepared: Vec<Request<Payload>>,
}

impl<C: Connect + Clone + Send + Sync + 'static> Bare<C> {
    async fn with(connector: C, number: usize, endpoints: &[String]) -> Self {
        Self {
            client: client(connector),
            prepared: prepare(number, endpoints).await,
        }
    }
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Payload> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(AT_ONCE)
        .build(connector)
}

/// The client by itself, over plain HTTP, for a dispatcher to post with.
pub(crate) fn unguarded() -> Client<impl Connect + Clone + Send + Sync + 'static, Payload> {
    client(connector())
}

/// Over plain HTTP.
pub(crate) async fn http(number: usize, endpoints: &[String]) -> impl Peer + use<> {
    Bare::with(connector(), number, endpoints).await
}

/// Over TLS, set up as the dispatcher's own client.
pub(crate) async fn https(
    number: usize,
    endpoints: &[String],
    authority: &str,
) -> impl Peer + use<> {
    let mut roots = RootCertStore::empty();
    CertificateDer::from_pem_slice(authority.as_bytes())
        .map_err(|_| rustls::Error::NoCertificatesPresented)
        .and_then(|authority| roots.add(authority))
        .expect("the receiver's authority has a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = connector();
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Bare::with(connector, number, endpoints).await
}

fn connector() -> HttpConnector<Loopback> {
    let mut connector = HttpConnector::new_with_resolver(Loopback);
    connector.set_nodelay(true);
    connector
}

/// Lets a dispatcher make the requests, and keeps them instead of sending them.
async fn prepare(number: usize, endpoints: &[String]) -> Vec<Request<Payload>> {
    let prepared = Arc::new(Mutex::new(Vec::with_capacity(number)));
    let keeping = Arc::clone(&prepared);
    let keep = service_fn(move |request: Request<Payload>| {
        keeping.lock().expect("nobody panics with it").push(request);
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut layered = Layered::new(dispatcher().with_client(keep), endpoints.to_vec(), plain);
    let outstanding = AT_ONCE;
    layered
        .run(Load {
            number,
            outstanding,
        })
        .await;
    let mut prepared = prepared.lock().expect("nobody panics with it");
    std::mem::take(&mut *prepared)
}

impl<C> Peer for Bare<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        "hyper-util"
    }

    fn run(&mut self, load: Load) -> LocalBoxFuture<'_, Duration> {
        let requests = self.prepared.iter().cycle().take(load.number).cloned();
        let requests: Vec<_> = requests.collect();
        let requests = Arc::new(Mutex::new(requests.into_iter()));
        let loops = load.outstanding.min(AT_ONCE);
        let client = self.client.clone();
        timed(async move {
            let mut posting = JoinSet::new();
            for _ in 0..loops {
                posting.spawn(post(client.clone(), Arc::clone(&requests)));
            }
            while let Some(ended) = posting.join_next().await {
                ended.expect("every request is answered");
            }
        })
        .boxed_local()
    }
}

/// Posts one request after the other until none is left, and reads each answer to its end.
async fn post<C>(client: Client<C, Payload>, requests: Arc<Mutex<IntoIter<Request<Payload>>>>)
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let next = || requests.lock().expect("nobody panics with it").next();
    while let Some(request) = next() {
        let answer = client.request(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("the answer has an end");
        }
    }
}
